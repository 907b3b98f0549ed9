// What the module hands to other compiled code through the capsule `_core._C_API`:
// kernels of the active target on raw pointers and counts, without Python and without
// checks. lamina.kernels gives them names; a change here is a change of that interface.
#pragma once

#include "ops/dispatch.hpp"

namespace lamina {

template <class T>
struct KernelApi {
  // `activation` is an index in Activations; softmax: 0 softmax, 1 log_softmax.
  void (*forward)(std::size_t activation, const T* x, T* y, std::size_t n, T parameter);
  void (*backward)(std::size_t activation, const T* dy, const T* saved, T* dx,
                   std::size_t n, T parameter);
  void (*softmax)(std::size_t activation, const T* x, T* y, std::size_t rows,
                  std::size_t cols);
  void (*softmax_backward)(std::size_t activation, const T* dy, const T* y, T* dx,
                           std::size_t rows, std::size_t cols);
};

struct CApi {
  KernelApi<float> f32;
  KernelApi<double> f64;
};

template <class T>
inline constexpr KernelApi<T> kernel_api = {
    [](std::size_t a, const T* x, T* y, std::size_t n, T parameter) {
      kernels<T>().elementwise[a].forward(x, y, n, parameter);
    },
    [](std::size_t a, const T* dy, const T* saved, T* dx, std::size_t n, T parameter) {
      kernels<T>().elementwise[a].backward(dy, saved, dx, n, parameter);
    },
    [](std::size_t a, const T* x, T* y, std::size_t rows, std::size_t cols) {
      (a == 0 ? kernels<T>().softmax : kernels<T>().log_softmax)(x, y, rows, cols);
    },
    [](std::size_t a, const T* dy, const T* y, T* dx, std::size_t rows,
       std::size_t cols) {
      (a == 0 ? kernels<T>().softmax_backward : kernels<T>().log_softmax_backward)(
          dy, y, dx, rows, cols);
    },
};

inline constexpr CApi c_api = {kernel_api<float>, kernel_api<double>};

}  // namespace lamina
