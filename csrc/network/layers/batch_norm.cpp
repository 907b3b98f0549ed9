#include <cstring>

#include "network/layer.hpp"
#include "ops/scratch.hpp"

namespace lamina {

namespace {

// Columns normalized by their moments, those of the batch in training, which what is
// kept for prediction follows; then times gamma plus beta. Frozen, it is as in
// prediction.
template <class T>
class BatchNorm final : public Layer<T> {
 public:
  using Layer<T>::outputs, Layer<T>::parameters;

  BatchNorm(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, inputs),
        rest_(static_cast<T>(1 - settings.number("momentum"))),
        epsilon_(static_cast<T>(settings.number("epsilon"))),
        mean_(settings.array("mean", inputs)),
        variance_(settings.array("variance", inputs)) {
    this->sizes = {inputs, inputs};
    this->work = 4 * inputs;
  }

  // Mean, variance and inverse deviation of each column.
  std::size_t saves(std::size_t) const override { return 3 * outputs; }

  const T* forward(const Batch& batch, const T* x, T* y, T* saved) const override {
    const Kernels<T>& k = kernels<T>();
    const Kept scratch(saved ? 0 : saves(batch.rows) * sizeof(T));
    T* const mean = saved ? saved : static_cast<T*>(scratch.get());
    T *const variance = mean + outputs, *const inverse = variance + outputs;
    const bool fixed = is_fixed(batch);
    parallel_columns(
        batch.rows, outputs, cycles_of<T>(0.5), [&](std::size_t j, std::size_t count) {
          if (fixed) {
            std::memcpy(mean + j, mean_ + j, count * sizeof(T));
            std::memcpy(variance + j, variance_ + j, count * sizeof(T));
          } else {
            k.column_moments(x + j, batch.rows, count, outputs, mean + j, variance + j);
          }
          k.inverse_deviations(variance + j, inverse + j, count, epsilon_);
          k.normalize_columns(normalized(batch, x, mean, j, count),
                              parameters + outputs + j, y + j);
        });
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T*, const T* saved, T* dy, T* dx,
              T* gradient) const override {
    const Kernels<T>& k = kernels<T>();
    const Kept unused(gradient ? 0 : 2 * outputs * sizeof(T));
    T* const sums = gradient ? gradient : static_cast<T*>(unused.get());
    const bool fixed = is_fixed(batch);
    parallel_columns(
        batch.rows, outputs, cycles_of<T>(0.6), [&](std::size_t j, std::size_t count) {
          k.normalize_columns_backward(normalized(batch, x, saved, j, count), dy + j,
                                       dx ? dy + j : nullptr, sums + j,
                                       sums + outputs + j, fixed);
        });
    // Here, not in forward: a pass that fills no gradient leaves the net as it is.
    if (gradient && !fixed)
      for (std::size_t j = 0; j < outputs; ++j) {
        mean_[j] += rest_ * (saved[j] - mean_[j]);
        variance_[j] += rest_ * (saved[outputs + j] - variance_[j]);
      }
    return dy;
  }

 private:
  bool is_fixed(const Batch& batch) const {
    return !batch.training || batch.sampling || !this->trainable || batch.rows == 0;
  }
  Normalized<T> normalized(const Batch& batch, const T* x, const T* saved,
                           std::size_t j, std::size_t count) const {
    return {.x = x + j,
            .mean = saved + j,
            .inverse = saved + 2 * outputs + j,
            .gamma = parameters + j,
            .rows = batch.rows,
            .cols = count,
            .row_stride = outputs};
  }

  const T rest_, epsilon_;
  T *const mean_, *const variance_;
};

const Register<BatchNorm> batch_norm_kind{"batch_norm"};

}  // namespace

}  // namespace lamina
