#include "network/layer.hpp"

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
    scaled(batch, x, y);
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T*, const T*, T* dy, T*,
              T* gradient) const override {
    if (!gradient) {
      scaled(batch, dy, dy);
      return dy;
    }
    const Kernels<T>& k = kernels<T>();
    parallel_columns(batch.rows, outputs, cycles_of<T>(0.3),
                     [&](std::size_t first, std::size_t count) {
                       k.scale_columns_backward(
                           dy + first, x + first, parameters + first, dy + first,
                           gradient + first, batch.rows, count, outputs);
                     });
    return dy;
  }

 private:
  void scaled(const Batch& batch, const T* x, T* y) const {
    const Kernels<T>& k = kernels<T>();
    parallel_rows(batch.rows, outputs, cycles_of<T>(0.1),
                  [&](std::size_t first, std::size_t count) {
                    const std::size_t at = first * outputs;
                    k.scale_columns(x + at, parameters, y + at, count, outputs);
                  });
  }
};

const Register<Scale> scale_kind{"scale"};

}  // namespace

}  // namespace lamina
