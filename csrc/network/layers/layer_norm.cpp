#include "network/layer.hpp"

namespace lamina {

namespace {

// Rows normalized by their own moments, then times gamma plus beta.
template <class T>
class LayerNorm final : public Layer<T> {
 public:
  using Layer<T>::outputs, Layer<T>::parameters;

  LayerNorm(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, inputs), epsilon_(static_cast<T>(settings.number("epsilon"))) {
    this->sizes = {inputs, inputs};
    this->work = 4 * inputs;
  }

  // Mean and inverse deviation of each row.
  std::size_t saves(std::size_t rows) const override { return 2 * rows; }

  const T* forward(const Batch& batch, const T* x, T* y, T* saved) const override {
    const Kernels<T>& k = kernels<T>();
    parallel_rows(batch.rows, outputs, cycles_of<T>(0.4),
                  [&](std::size_t first, std::size_t count) {
                    const std::size_t at = first * outputs;
                    k.layer_norm(x + at, parameters, parameters + outputs, epsilon_,
                                 y + at, saved ? saved + 2 * first : nullptr, count,
                                 outputs);
                  });
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T*, const T* saved, T* dy, T* dx,
              T* gradient) const override {
    const Kernels<T>& k = kernels<T>();
    if (gradient)
      parallel_columns(batch.rows, outputs, cycles_of<T>(0.3),
                       [&](std::size_t first, std::size_t count) {
                         k.layer_norm_gradients(
                             dy + first, x + first, saved, gradient + first,
                             gradient + outputs + first, batch.rows, count, outputs);
                       });
    if (dx)
      parallel_rows(batch.rows, outputs, cycles_of<T>(0.5),
                    [&](std::size_t first, std::size_t count) {
                      const std::size_t at = first * outputs;
                      k.layer_norm_backward(dy + at, x + at, parameters,
                                            saved + 2 * first, dy + at, count, outputs);
                    });
    return dy;
  }

 private:
  const T epsilon_;
};

const Register<LayerNorm> layer_norm_kind{"layer_norm"};

}  // namespace

}  // namespace lamina
