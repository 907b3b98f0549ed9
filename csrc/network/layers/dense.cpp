#include <cmath>
#include <limits>
#include <type_traits>

#include "network/layer.hpp"
#include "ops/optimizers.hpp"

namespace lamina {

namespace {

// y = activation(x kernel + bias)
template <class T>
class Dense final : public Layer<T> {
 public:
  using Layer<T>::inputs, Layer<T>::outputs, Layer<T>::parameters;

  Dense(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, settings.count("units")),
        activation_(settings.activation("activation")),
        has_bias_(settings.flag("use_bias")),
        l1_(settings.number("l1")),
        l2_(settings.number("l2")),
        max_norm_(settings.number("max_norm")) {
    this->sizes = {inputs * outputs};
    if (has_bias_) this->sizes.push_back(outputs);
    this->work = outputs + inputs * outputs;
  }

  std::size_t saves(std::size_t rows) const override {
    return activation_.saves_output() ? 0 : rows * outputs;
  }

  const T* forward(const Batch& batch, const T* x, T* y, T* saved) const override {
    const ActivationChoice choice = chosen(batch);
    T* const kept = choice.saves_output() ? nullptr : saved;
    if constexpr (std::is_same_v<T, float>) {
      if (batch.packed) {
        dense(x, batch.rows, *batch.packed, bias(), choice, nullptr, y);
        return y;
      }
      if (const Bfloat16Kernels* const narrow = bfloat16(batch)) {
        dense(*narrow, x, batch.rows, inputs, parameters, outputs, bias(), choice, y,
              kept);
        return y;
      }
    }
    dense(Matrix<T>::contiguous(x, batch.rows, inputs), kernel(), bias(), choice,
          nullptr, y, kept);
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T* y, const T* saved, T* dy, T* dx,
              T* gradient) const override {
    descend(batch, y, saved, dy);
    if constexpr (std::is_same_v<T, float>)
      if (const Bfloat16Kernels* const narrow = bfloat16(batch)) {
        dense_backward(*narrow, dy, x, batch.rows, inputs, parameters, outputs, dx,
                       gradient);
        finish_backward(batch, nullptr, dy, nullptr, nullptr, gradient);
        return dx;
      }
    finish_backward(batch, x, dy, dx, batch.shards ? nullptr : gradient,
                    batch.shards ? nullptr : gradient);
    if (batch.shards && gradient)
      shard_gradients(dy, Matrix<T>::contiguous(x, batch.rows, inputs), outputs,
                      *batch.shards, gradient, has_bias_ ? gradient + size() : nullptr);
    return dx;
  }

  // A penalty is in the gradient of each shard.
  bool adds_shards() const override { return l1_ == 0 && l2_ == 0; }

  typename Layer<T>::Sparse sparse() const override { return Layer<T>::Sparse::takes; }

  void forward_sparse(const Batch& batch, const SparseRows<T>& x, T* y,
                      T* saved) const override {
    const ActivationChoice choice = chosen(batch);
    dense(x, parameters, outputs, bias(), choice, nullptr, y,
          choice.saves_output() ? nullptr : saved);
  }

  void backward_sparse(const Batch& batch, const T* y, const T* saved, T* dy,
                       T* gradient) const override {
    descend(batch, y, saved, dy);
    finish_backward(batch, nullptr, dy, nullptr, nullptr, gradient);
  }

  bool rests() const override {
    return l1_ == 0 && l2_ == 0 && !std::isfinite(max_norm_);
  }

  double penalty(double weight, T* gradient) const override {
    if (l1_ == 0 && l2_ == 0) return 0;
    return lamina::penalty<T>(parameters, gradient, size(), l1_, l2_, weight);
  }

  void limit() const override {
    if (std::isfinite(max_norm_)) limit_norms(parameters, inputs, outputs, max_norm_);
  }

  bool is_narrow(const Batch& batch) const override {
    return std::is_same_v<T, float> && bfloat16(batch);
  }

  std::optional<PackedKernel> pack(const Bfloat16Kernels& kernels) const override {
    if constexpr (std::is_same_v<T, float>)
      return PackedKernel(parameters, inputs, outputs, &kernels);
    return {};
  }

  const ActivationChoice* activation() const override { return &activation_; }

 private:
  std::size_t size() const { return inputs * outputs; }
  Matrix<T> kernel() const {
    return Matrix<T>::contiguous(parameters, inputs, outputs);
  }
  const Bfloat16Kernels* bfloat16(const Batch& batch) const {
    return batch.products.of_layer(batch.rows, inputs, outputs);
  }
  const T* bias() const { return has_bias_ ? parameters + size() : nullptr; }
  // To the gradient by what the activation was given. In place: dense_backward, which
  // has to leave dy, would take as much more.
  void descend(const Batch& batch, const T* y, const T* saved, T* dy) const {
    if (!batch.bare && !activation_.is_identity())
      apply<T>(activation_, Pass::backward, dy, activation_.saves_output() ? y : saved,
               dy, batch.rows, outputs);
  }
  void finish_backward(const Batch& batch, const T* x, const T* dy, T* dx, T* dkernel,
                       T* gradient) const {
    dense_backward(dy, Matrix<T>::contiguous(x, batch.rows, inputs), kernel(), dy,
                   ActivationChoice{}, nullptr, dx, dkernel,
                   gradient && has_bias_ ? gradient + size() : nullptr);
  }
  ActivationChoice chosen(const Batch& batch) const {
    return batch.bare ? ActivationChoice{} : activation_;
  }

  const ActivationChoice activation_;
  const bool has_bias_;
  const double l1_, l2_, max_norm_;  // infinity: no limit
};

const Register<Dense> dense_kind{"dense"};

}  // namespace

}  // namespace lamina
