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
    apply<T>(choice_, Pass::forward, x, nullptr, y, batch.rows, this->outputs);
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T* y, const T*, T* dy, T*,
              T*) const override {
    if (!batch.bare)
      apply<T>(choice_, Pass::backward, dy, choice_.saves_output() ? y : x, dy,
               batch.rows, this->outputs);
    return dy;
  }

  const ActivationChoice* activation() const override { return &choice_; }

 private:
  const ActivationChoice choice_;
};

const Register<Activation> activation_kind{"activation"};

}  // namespace

}  // namespace lamina
