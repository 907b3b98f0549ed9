#include "network/layer.hpp"
#include "ops/scratch.hpp"

namespace lamina {

namespace {

// y = x factor, one for each feature.
template <class T>
class Scale final : public Layer<T> {
 public:
  using Layer<T>::outputs, Layer<T>::parameters;

  Scale(const Settings<T>&, std::size_t inputs) : Layer<T>(inputs, inputs) {
    this->sizes = {inputs};
  }

  const T* forward(const Batch& batch, const T* x, T* y, T*) const override {
    const Kernels<T>& k = kernels<T>();
    parallel_rows(batch.rows, outputs, cycles_of<T>(0.1),
                  [&](std::size_t first, std::size_t count) {
                    const std::size_t at = first * outputs;
                    k.scale_columns(x + at, parameters, y + at, count, outputs);
                  });
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T*, const T*, T* dy, T*,
              T* gradient) const override {
    const Kernels<T>& k = kernels<T>();
    const Kept unused(gradient ? 0 : outputs * sizeof(T));
    T* const sums = gradient ? gradient : static_cast<T*>(unused.get());
    parallel_columns(batch.rows, outputs, cycles_of<T>(0.3),
                     [&](std::size_t first, std::size_t count) {
                       k.scale_columns_backward(
                           dy + first, x + first, parameters + first, dy + first,
                           sums + first, batch.rows, count, outputs);
                     });
    return dy;
  }
};

const Register<Scale> scale_kind{"scale"};

}  // namespace

}  // namespace lamina
