// The one loop over one array and the one over two, and the four kernels that every
// activation gets from them. Included by target.cpp alone.
#pragma once

#include "activations.hpp"
#include "simd/math.hpp"
#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

// y[i] = f(x[i]). Two vectors a turn: one is 0 to 15 % slower, four gain nothing.
template <class T, class Function>
LAMINA_INLINE void transform(const T* x, T* y, std::size_t n, Function f) {
  using V = Vec<T>;
  std::size_t i = 0;
  for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
    const V first = f(V::load(x + i));
    const V second = f(V::load(x + i + V::lanes));
    first.store(y + i);
    second.store(y + i + V::lanes);
  }
  for (; i + V::lanes <= n; i += V::lanes) f(V::load(x + i)).store(y + i);
  if (i < n) f(V::load_first(x + i, n - i)).store_first(y + i, n - i);
}

// z[i] = f(x[i], y[i])
template <class T, class Function>
LAMINA_INLINE void transform(const T* x, const T* y, T* z, std::size_t n, Function f) {
  using V = Vec<T>;
  std::size_t i = 0;
  for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
    const V first = f(V::load(x + i), V::load(y + i));
    const V second = f(V::load(x + i + V::lanes), V::load(y + i + V::lanes));
    first.store(z + i);
    second.store(z + i + V::lanes);
  }
  for (; i + V::lanes <= n; i += V::lanes)
    f(V::load(x + i), V::load(y + i)).store(z + i);
  if (i < n)
    f(V::load_first(x + i, n - i), V::load_first(y + i, n - i))
        .store_first(z + i, n - i);
}

// A copy past the caches; `to` begins at a border of 64 bytes, n is a multiple of 64 /
// T.
template <class T>
void stream(const T* from, T* to, std::size_t n) {
  for (std::size_t i = 0; i < n; i += Vec<T>::lanes)
    Vec<T>::load(from + i).stream(to + i);
}

template <class A, class T>
LAMINA_INLINE A with_parameter([[maybe_unused]] T parameter) {
  if constexpr (A::info.parameter.name != nullptr)
    return A{static_cast<double>(parameter)};
  else
    return A{};
}

// `flatten` inlines the formulas, which are plain templates, into the loop.

template <class A, class T>
[[gnu::flatten]] void forward(const T* x, T* y, std::size_t n, T parameter) {
  const A activation = with_parameter<A>(parameter);
  transform(x, y, n, [=](Vec<T> v) { return activation.forward(v); });
}

template <class A, class T>
[[gnu::flatten]] void derivative(const T* x, T* y, std::size_t n, T parameter) {
  const A activation = with_parameter<A>(parameter);
  if (saves_output(A::info, static_cast<double>(parameter)))
    transform(x, y, n,
              [=](Vec<T> v) { return activation.derivative(activation.forward(v)); });
  else
    transform(x, y, n, [=](Vec<T> v) { return activation.derivative(v); });
}

template <class A, class T>
[[gnu::flatten]] void backward(const T* dy, const T* saved, T* dx, std::size_t n,
                               T parameter) {
  const A activation = with_parameter<A>(parameter);
  transform(dy, saved, dx, n,
            [=](Vec<T> g, Vec<T> s) { return g * activation.derivative(s); });
}

// Bias and activation over finished rows of a product, in one pass.
template <class A, class T>
[[gnu::flatten]] void epilogue(T* z, const T* bias, T* saved, std::size_t rows,
                               std::size_t cols, T parameter) {
  const A activation = with_parameter<A>(parameter);
  const auto finish = [=](Vec<T> v) { return activation.forward(v); };
  if (!bias) {
    if (saved) transform(z, saved, rows * cols, [](Vec<T> v) { return v; });
    transform(z, z, rows * cols, finish);
    return;
  }
  for (std::size_t row = 0; row < rows; ++row, z += cols) {
    if (saved) {
      transform(z, bias, saved, cols, [](Vec<T> v, Vec<T> b) { return v + b; });
      transform(saved, z, cols, finish);
      saved += cols;
    } else {
      transform(z, bias, z, cols, [=](Vec<T> v, Vec<T> b) { return finish(v + b); });
    }
  }
}

}  // namespace lamina::LAMINA_TARGET
