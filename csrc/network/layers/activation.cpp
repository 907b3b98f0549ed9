#include "network/layer.hpp"

namespace lamina {

namespace {

template <class T>
class Activation final : public Layer<T> {
 public:
  Activation(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, inputs), choice_(settings.activation("activation")) {}

  const T* forward(const Batch& batch, const T* x, T* y, T*) const override {
    if (batch.bare) return x;
    apply(Pass::forward, batch, x, nullptr, y);
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T* y, const T*, T* dy, T*,
              T*) const override {
    if (!batch.bare)
      apply(Pass::backward, batch, dy, choice_.saves_output() ? y : x, dy);
    return dy;
  }

  const ActivationChoice* activation() const override { return &choice_; }

 private:
  void apply(Pass pass, const Batch& batch, const T* x, const T* saved, T* y) const {
    const std::size_t rows = batch.rows, cols = this->outputs;
    if (choice_.by_row())
      activate_rows(kernels<T>(), pass, choice_.row_index(), x, saved, y, rows, cols);
    else
      activate(kernels<T>(), pass, choice_.index, x, saved, y, rows * cols,
               static_cast<T>(choice_.parameter));
  }

  const ActivationChoice choice_;
};

const Register<Activation> activation_kind{"activation"};

}  // namespace

}  // namespace lamina
