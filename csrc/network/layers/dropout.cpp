#include <stdexcept>
#include <string_view>

#include "network/layer.hpp"

namespace lamina {

namespace {

// After relu it needs neither an array of its own nor, in backward, its bits: both
// gradients are zero where the output is.
template <class T>
class Dropout final : public Layer<T> {
 public:
  Dropout(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, inputs),
        rate_(settings.number("rate")),
        mode_(settings.mode("mode")) {
    this->random = true;
    this->scheduled = settings.flag("scheduled");
    if (this->scheduled && mode_ == DropoutMode::classic)
      throw std::invalid_argument("rate must be a number in classic mode");
  }

  const T* forward(const Batch& batch, const T* x, T* y, T*) const override {
    if (batch.training) {
      const DropoutChoice choice = drawn(batch);
      dropout(kernels<T>(), x, y, size(batch), choice.bits, choice.values);
      return y;
    }
    return mode_ == DropoutMode::classic ? scaled(batch, x, y, size(batch)) : x;
  }

  T* backward(const Batch& batch, const T*, const T* y, const T*, T* dy, T*,
              T*) const override {
    if (!batch.training) {
      if (mode_ == DropoutMode::classic) scaled(batch, dy, dy, size(batch));
      return dy;
    }
    const DropoutChoice choice = drawn(batch);
    if (this->joined)
      relu_dropout_backward(dy, y, dy, size(batch),
                            static_cast<T>(choice.values.scale));
    else
      dropout(kernels<T>(), dy, dy, size(batch), choice.bits, choice.values.gradient());
    return dy;
  }

  typename Layer<T>::Sparse sparse() const override {
    const bool zeros_stay = mode_ != DropoutMode::alpha;
    return zeros_stay ? Layer<T>::Sparse::keeps : Layer<T>::Sparse::none;
  }

  void change(const Batch& batch, const Taken<T>& x) const override {
    if (batch.training) {
      const DropoutChoice choice = drawn(batch);
      kernels<T>().sparse_dropout(x.view(), this->outputs, x.values, choice.bits,
                                  choice.values);
    } else if (mode_ == DropoutMode::classic) {
      scaled(batch, x.values, x.values, x.starts[x.rows]);
    }
  }

  bool joins(const Layer<T>& before) const override {
    const ActivationChoice* choice = before.activation();
    return mode_ != DropoutMode::alpha && choice && !choice->by_row() &&
           std::string_view(Activations::infos[choice->index].name) == "relu";
  }

 private:
  static constexpr std::uint64_t purpose = 0;

  std::size_t size(const Batch& batch) const { return batch.rows * this->outputs; }
  DropoutChoice drawn(const Batch& batch) const {
    const Draw& draw = batch.draw;
    const double rate = this->scheduled ? draw.shares[this->index] : rate_;
    return dropout_choice(rate, draw.seed, draw.stream(purpose, this->index),
                          draw.first_row * this->outputs, mode_);
  }
  // By the probability of keeping.
  const T* scaled(const Batch& batch, const T* x, T* y, std::size_t n) const {
    const auto keep = static_cast<T>(1 - drawn(batch).bits.threshold / 65536.0);
    for (std::size_t i = 0; i < n; ++i) y[i] = x[i] * keep;
    return y;
  }

  const double rate_;
  const DropoutMode mode_;
};

const Register<Dropout> dropout_kind{"dropout"};

}  // namespace

}  // namespace lamina
