#include "network/by_feature.hpp"

namespace lamina {

namespace {

// y = x where x > 0, else x slope, one for each feature.
template <class T>
struct PReLU final : ByFeature<T> {
  PReLU(const Settings<T>&, std::size_t inputs)
      : ByFeature<T>(inputs, &Kernels<T>::prelu, &Kernels<T>::prelu_backward) {}
};

const Register<PReLU> prelu_kind{"prelu"};

}  // namespace

}  // namespace lamina
