// What the module hands to other compiled code through the capsule `_core._C_API`:
// kernels of the active target on raw pointers and counts, without Python and without
// checks. lamina.kernels gives them names; a change here is a change of that interface.
#pragma once

#include <new>

#include "ops/ops.hpp"

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
  void (*dropout)(const T* x, T* y, std::size_t n, double rate, std::uint64_t seed,
                  std::uint64_t offset);
  void (*dropout_backward)(const T* dy, const std::uint8_t* mask, T* dx, std::size_t n,
                           double rate);
  // 0, or -1 if there was no memory: then nothing has been written. Outputs overlap no
  // input and not each other; `saved` may be y.
  int (*dense)(const T* x, const T* kernel, const T* bias, T* y, T* saved,
               std::size_t batch, std::size_t features, std::size_t units,
               std::size_t activation, T parameter);
  int (*dense_backward)(const T* dy, const T* x, const T* kernel, const T* saved, T* dx,
                        T* dkernel, T* dbias, std::size_t batch, std::size_t features,
                        std::size_t units, std::size_t activation, T parameter);
};

struct CApi {
  KernelApi<float> f32;
  KernelApi<double> f64;
  void (*dropout_mask)(std::uint8_t* mask, std::size_t n, double rate,
                       std::uint64_t seed, std::uint64_t offset);
};

// Runs f, which may find no memory.
template <class F>
int status_of(F f) noexcept {
  try {
    f();
    return 0;
  } catch (const std::bad_alloc&) {
    return -1;
  }
}

template <class T>
inline constexpr KernelApi<T> kernel_api = {
    [](std::size_t a, const T* x, T* y, std::size_t n, T parameter) {
      activate(kernels<T>(), Pass::forward, a, x, x, y, n, parameter);
    },
    [](std::size_t a, const T* dy, const T* saved, T* dx, std::size_t n, T parameter) {
      activate(kernels<T>(), Pass::backward, a, dy, saved, dx, n, parameter);
    },
    [](std::size_t a, const T* x, T* y, std::size_t rows, std::size_t cols) {
      activate_rows(kernels<T>(), Pass::forward, a, x, x, y, rows, cols);
    },
    [](std::size_t a, const T* dy, const T* y, T* dx, std::size_t rows,
       std::size_t cols) {
      activate_rows(kernels<T>(), Pass::backward, a, dy, y, dx, rows, cols);
    },
    [](const T* x, T* y, std::size_t n, double rate, std::uint64_t seed,
       std::uint64_t offset) {
      const DropoutChoice d = dropout_choice(rate, seed, 0, offset);
      dropout(kernels<T>(), x, y, n, d.bits, d.values);
    },
    [](const T* dy, const std::uint8_t* mask, T* dx, std::size_t n, double rate) {
      const DropoutChoice d = dropout_choice(rate, 0, 0, 0);
      dropout_masked(dy, mask, dx, n, static_cast<T>(d.values.scale));
    },
    [](const T* x, const T* kernel, const T* bias, T* y, T* saved, std::size_t batch,
       std::size_t features, std::size_t units, std::size_t activation, T parameter) {
      return status_of([=] {
        dense(Matrix<T>::contiguous(x, batch, features),
              Matrix<T>::contiguous(kernel, features, units), bias,
              {ActivationChoice::Kind::elementwise, activation,
               static_cast<double>(parameter)},
              nullptr, y, saved);
      });
    },
    [](const T* dy, const T* x, const T* kernel, const T* saved, T* dx, T* dkernel,
       T* dbias, std::size_t batch, std::size_t features, std::size_t units,
       std::size_t activation, T parameter) {
      return status_of([=] {
        dense_backward(dy, Matrix<T>::contiguous(x, batch, features),
                       Matrix<T>::contiguous(kernel, features, units), saved,
                       {ActivationChoice::Kind::elementwise, activation,
                        static_cast<double>(parameter)},
                       nullptr, dx, dkernel, dbias);
      });
    },
};

inline constexpr CApi c_api = {
    kernel_api<float>, kernel_api<double>,
    [](std::uint8_t* mask, std::size_t n, double rate, std::uint64_t seed,
       std::uint64_t offset) {
      lamina::dropout_mask(mask, n, dropout_choice(rate, seed, 0, offset).bits);
    }};

}  // namespace lamina
