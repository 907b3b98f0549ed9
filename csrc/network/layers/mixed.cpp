#include "network/layer.hpp"
#include "ops/scratch.hpp"

namespace lamina {

namespace {

// y = x + share (f(x) - x), one share for each feature.
template <class T>
class Mixed final : public Layer<T> {
 public:
  using Layer<T>::outputs, Layer<T>::parameters;

  Mixed(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, inputs), choice_(settings.activation("activation")) {
    this->sizes = {inputs};
    this->work = 4 * inputs;
  }

  // f(x)
  std::size_t saves(std::size_t rows) const override { return rows * outputs; }

  const T* forward(const Batch& batch, const T* x, T* y, T* saved) const override {
    const Kernels<T>& k = kernels<T>();
    T* const f = saved ? saved : y;
    apply<T>(choice_, Pass::forward, x, nullptr, f, batch.rows, outputs);
    parallel_rows(batch.rows, outputs, cycles_of<T>(0.2),
                  [&](std::size_t first, std::size_t count) {
                    const std::size_t at = first * outputs;
                    k.mix_columns(x + at, f + at, parameters, y + at, count, outputs);
                  });
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T*, const T* f, T* dy, T* dx,
              T* gradient) const override {
    const Kernels<T>& k = kernels<T>();
    const Kept unused(gradient ? 0 : outputs * sizeof(T));
    T* const sums = gradient ? gradient : static_cast<T*>(unused.get());
    T* const df = dx ? dx : dy;
    if (dx)
      apply<T>(choice_, Pass::backward, dy, choice_.saves_output() ? f : x, dx,
               batch.rows, outputs);
    parallel_columns(batch.rows, outputs, cycles_of<T>(0.4),
                     [&](std::size_t first, std::size_t count) {
                       k.mix_columns_backward(dy + first, df + first, x + first,
                                              f + first, parameters + first, df + first,
                                              sums + first, batch.rows, count, outputs);
                     });
    return df;
  }

 private:
  const ActivationChoice choice_;
};

const Register<Mixed> mixed_kind{"mixed"};

}  // namespace

}  // namespace lamina
