#include "network/by_feature.hpp"

namespace lamina {

namespace {

// y = x factor, one for each feature.
template <class T>
struct Scale final : ByFeature<T> {
  Scale(const Settings<T>&, std::size_t inputs)
      : ByFeature<T>(inputs, &Kernels<T>::scale_columns,
                     &Kernels<T>::scale_columns_backward) {}
};

const Register<Scale> scale_kind{"scale"};

}  // namespace

}  // namespace lamina
