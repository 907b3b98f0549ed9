// Layers with one learnt number for each feature, by which its elements go: rows are
// cut going forward, and columns going back, where each number has a sum over all rows.
#pragma once

#include "network/layer.hpp"
#include "ops/scratch.hpp"

namespace lamina {

template <class T>
class ByFeature : public Layer<T> {
 public:
  using Layer<T>::outputs, Layer<T>::parameters;

  const T* forward(const Batch& batch, const T* x, T* y, T*) const override {
    const auto kernel = kernels<T>().*forward_;
    parallel_rows(batch.rows, outputs, cycles_of<T>(0.1),
                  [&](std::size_t first, std::size_t count) {
                    const std::size_t at = first * outputs;
                    kernel(x + at, parameters, y + at, count, outputs);
                  });
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T*, const T*, T* dy, T*,
              T* gradient) const override {
    const auto kernel = kernels<T>().*backward_;
    const Kept unused(gradient ? 0 : outputs * sizeof(T));
    T* const sums = gradient ? gradient : static_cast<T*>(unused.get());
    parallel_columns(batch.rows, outputs, cycles_of<T>(0.3),
                     [&](std::size_t first, std::size_t count) {
                       kernel(dy + first, x + first, parameters + first, dy + first,
                              sums + first, batch.rows, count, outputs);
                     });
    return dy;
  }

 protected:
  // The members of the table of kernels that compute both.
  ByFeature(std::size_t inputs, decltype(&Kernels<T>::prelu) forward,
            decltype(&Kernels<T>::prelu_backward) backward)
      : Layer<T>(inputs, inputs), forward_(forward), backward_(backward) {
    this->sizes = {inputs};
  }

 private:
  const decltype(&Kernels<T>::prelu) forward_;
  const decltype(&Kernels<T>::prelu_backward) backward_;
};

}  // namespace lamina
