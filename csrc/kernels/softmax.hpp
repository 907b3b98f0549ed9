// Softmax, log-softmax and their vector-Jacobian products over contiguous rows. Every
// sum runs in the virtual lanes of Lanes<T>: the same bits on every target with fma. A
// row with NaN or +infinity, or of -infinity alone, gives NaN throughout.
#pragma once

#include "simd/math.hpp"
#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

// The columns of one row in steps of Lanes: `step(i, count)`, count == Lanes<T>::count
// except in the last.
template <class T, class Step>
LAMINA_INLINE void for_lanes(std::size_t cols, Step step) {
  constexpr std::size_t count = Lanes<T>::count;
  std::size_t i = 0;
  for (; i + count <= cols; i += count) step(i, count);
  if (i < cols) step(i, cols - i);
}

template <class T>
LAMINA_INLINE Lanes<T> load_some(const T* p, std::size_t n, T fill) {
  return n == Lanes<T>::count ? Lanes<T>::load(p) : Lanes<T>::load_first(p, n, fill);
}

template <class T>
LAMINA_INLINE void store_some(const Lanes<T>& a, T* p, std::size_t n) {
  if (n == Lanes<T>::count)
    a.store(p);
  else
    a.store_first(p, n);
}

template <class T>
LAMINA_INLINE T fold_sum(const Lanes<T>& a) {
  return fold(a, [](T s, T t) { return s + t; });
}

template <class T>
constexpr T minus_infinity = -static_cast<T>(__builtin_inf());

// A maximum that may miss NaN: a row with one becomes NaN through the sum of
// exponentials.
template <class T>
LAMINA_INLINE T row_max(const T* x, std::size_t cols) {
  auto best = Lanes<T>::broadcast(minus_infinity<T>);
  for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
    best = map([](Vec<T> a, Vec<T> b) { return max(a, b); }, best,
               load_some(x + i, n, minus_infinity<T>));
  });
  return fold(best, [](T a, T b) { return a > b ? a : b; });
}

// The sum of exp(x - top); the exponentials go to y unless it is null.
template <class T>
LAMINA_INLINE T row_exp_sum(const T* x, T* y, std::size_t cols, T top) {
  auto sum = Lanes<T>::broadcast(0);
  for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
    const auto e = map([=](Vec<T> v) { return exp(v - Vec<T>(top)); },
                       load_some(x + i, n, minus_infinity<T>));
    // Lanes beyond the row hold exp(-inf), 0, or NaN where the whole row is NaN.
    sum = map([](Vec<T> a, Vec<T> b) { return a + b; }, sum, e);
    if (y) store_some(e, y + i, n);
  });
  return fold_sum(sum);
}

// log(sum) of a sum of exponentials whose largest is 1: the exponent's share and that
// of a mantissa in [1, 2). NaN stays NaN.
template <class T>
LAMINA_INLINE T log_of_sum(T sum) {
  using V = Vec<T>;
  using C = Coefficients<T>;
  const V s(sum), one(1.0);
  const auto exponent = (bits(s) >> C::mantissa) - C::bias;
  const V e = __builtin_convertvector(exponent, typename V::Native);
  const V mantissa = V::from_bits(bits(s) - (exponent << C::mantissa));
  const V log = fma(e, V(C::log2_high), fma(e, V(C::log2_low), log1p(mantissa - one)));
  return (log + (s - s)).value[0];
}

template <class T>
[[gnu::flatten]] void softmax(const T* x, T* y, std::size_t rows, std::size_t cols) {
  for (std::size_t row = 0; row < rows; ++row, x += cols, y += cols) {
    const T sum = row_exp_sum(x, y, cols, row_max(x, cols));
    for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
      store_some(
          map([=](Vec<T> v) { return v / Vec<T>(sum); }, load_some(y + i, n, T(0))),
          y + i, n);
    });
  }
}

template <class T>
[[gnu::flatten]] void log_softmax(const T* x, T* y, std::size_t rows,
                                  std::size_t cols) {
  for (std::size_t row = 0; row < rows; ++row, x += cols, y += cols) {
    const T top = row_max(x, cols);
    const T log_sum = log_of_sum(row_exp_sum<T>(x, nullptr, cols, top));
    for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
      store_some(map([=](Vec<T> v) { return (v - Vec<T>(top)) - Vec<T>(log_sum); },
                     load_some(x + i, n, T(0))),
                 y + i, n);
    });
  }
}

// dx = y (dy - sum(dy y))
template <class T>
[[gnu::flatten]] void softmax_backward(const T* dy, const T* y, T* dx, std::size_t rows,
                                       std::size_t cols) {
  for (std::size_t row = 0; row < rows; ++row, dy += cols, y += cols, dx += cols) {
    auto sum = Lanes<T>::broadcast(0);
    for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
      sum = map([](Vec<T> s, Vec<T> g, Vec<T> v) { return fma(g, v, s); }, sum,
                load_some(dy + i, n, T(0)), load_some(y + i, n, T(0)));
    });
    const T dot = fold_sum(sum);
    for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
      store_some(map([=](Vec<T> g, Vec<T> v) { return v * (g - Vec<T>(dot)); },
                     load_some(dy + i, n, T(0)), load_some(y + i, n, T(0))),
                 dx + i, n);
    });
  }
}

// dx = dy - exp(y) sum(dy)
template <class T>
[[gnu::flatten]] void log_softmax_backward(const T* dy, const T* y, T* dx,
                                           std::size_t rows, std::size_t cols) {
  for (std::size_t row = 0; row < rows; ++row, dy += cols, y += cols, dx += cols) {
    auto sum = Lanes<T>::broadcast(0);
    for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
      sum = map([](Vec<T> s, Vec<T> g) { return s + g; }, sum,
                load_some(dy + i, n, T(0)));
    });
    const T total = fold_sum(sum);
    for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
      store_some(map([=](Vec<T> g, Vec<T> v) { return fma(-exp(v), Vec<T>(total), g); },
                     load_some(dy + i, n, T(0)), load_some(y + i, n, T(0))),
                 dx + i, n);
    });
  }
}

}  // namespace lamina::LAMINA_TARGET
