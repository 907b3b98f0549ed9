#include "network/layer.hpp"

namespace lamina {

namespace {

// y = clip((x - mean) / scale), by what was learnt before; without centring, the mean
// is 0.
template <class T>
class Standardize final : public Layer<T> {
 public:
  Standardize(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, inputs),
        mean_(settings.array("mean", inputs)),
        scale_(settings.array("scale", inputs)),
        center_(settings.flag("center")),
        clip_(settings.activation("clip")) {}

  const T* forward(const Batch& batch, const T* x, T* y, T*) const override {
    T* out = y;
    for (std::size_t row = 0; row < batch.rows; ++row)
      for (std::size_t j = 0; j < this->outputs; ++j, ++x, ++out)
        *out = (*x - mean_[j]) / scale_[j];
    if (!clip_.is_identity())
      apply<T>(clip_, Pass::forward, y, nullptr, y, batch.rows, this->outputs);
    return y;
  }

  T* backward(const Batch& batch, const T*, const T* y, const T*, T* dy, T*,
              T*) const override {
    if (!clip_.is_identity())
      apply<T>(clip_, Pass::backward, dy, y, dy, batch.rows, this->outputs);
    T* out = dy;
    for (std::size_t row = 0; row < batch.rows; ++row)
      for (std::size_t j = 0; j < this->outputs; ++j, ++out) *out /= scale_[j];
    return dy;
  }

  typename Layer<T>::Sparse sparse() const override {
    return center_ ? Layer<T>::Sparse::none : Layer<T>::Sparse::keeps;
  }

  void change(const Batch&, const Taken<T>& x) const override {
    for (std::size_t e = 0; e < x.starts[x.rows]; ++e)
      x.values[e] /= scale_[x.columns[e]];
  }

 private:
  const T *mean_, *scale_;
  const bool center_;
  const ActivationChoice clip_;  // whose backward reads y
};

const Register<Standardize> standardize_kind{"standardize"};

}  // namespace

}  // namespace lamina
