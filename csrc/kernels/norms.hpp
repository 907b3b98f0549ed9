// Norms of gradients and of columns of weights, and what holds them to a limit. Squares
// are summed in float64, in the virtual lanes of Lanes<double>: no sum of floats
// overflows, and every target gives the same bits.
#pragma once

#include "kernels/long_sum.hpp"
#include "simd/registers.hpp"
#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

// The first n <= Lanes<double>::count elements as double, 0 in the other lanes.
LAMINA_INLINE Lanes<double> load_double(const double* p, std::size_t n) {
  return n == Lanes<double>::count ? Lanes<double>::load(p)
                                   : Lanes<double>::load_first(p, n, 0);
}
LAMINA_INLINE Lanes<double> load_double(const float* p, std::size_t n) {
  using Half = VecTraits<float>::Half;  // as many as a Vec<double> has
  float some[Lanes<double>::count] = {};
  if (n < Lanes<double>::count) {
    for (std::size_t i = 0; i < n; ++i) some[i] = p[i];
    p = some;
  }
  Lanes<double> r;
  for (std::size_t i = 0; i < Lanes<double>::parts; ++i) {
    Half part;
    __builtin_memcpy(&part, p + i * Vec<double>::lanes, sizeof part);
    r.part[i] = __builtin_convertvector(part, Vec<double>::Native);
  }
  return r;
}

LAMINA_INLINE Lanes<double> add_squares(const Lanes<double>& sum,
                                        const Lanes<double>& x) {
  return map([](Vec<double> s, Vec<double> v) { return fma(v, v, s); }, sum, x);
}

// Four chains hide the time of an addition.
template <class T>
[[gnu::flatten]] double sum_of_squares(const T* x, std::size_t n) {
  constexpr std::size_t chains = 4, count = Lanes<double>::count;
  const auto sum_of = [=](std::size_t i,
                          std::size_t end) __attribute__((always_inline)) {
    Lanes<double> sum[chains];
    for (auto& s : sum) s = Lanes<double>::broadcast(0);
    for (; i + chains * count <= end; i += chains * count)
#pragma GCC unroll 4
      for (std::size_t k = 0; k < chains; ++k)
        sum[k] = add_squares(sum[k], load_double(x + i + k * count, count));
    for (; i < end; i += count)
      sum[0] = add_squares(sum[0], load_double(x + i, smaller(end - i, count)));
    const auto add = [](auto a, auto b) { return a + b; };
    const auto lower = map(add, sum[0], sum[1]), upper = map(add, sum[2], sum[3]);
    return fold(map(add, lower, upper), add);
  };
  return sum_of_blocks<double>(n, chains * lane_block<double>, sum_of);
}

template <class T>
[[gnu::flatten]] void scale(T* x, std::size_t n, double factor) {
  for_vectors<T>(n, [=](auto load, auto store) { store(load(x) * Vec<T>(factor), x); });
}

// Into [-limit, limit]; NaN stays.
template <class T>
[[gnu::flatten]] void clip(T* x, std::size_t n, double limit) {
  using V = Vec<T>;
  for_vectors<T>(n, [=](auto load, auto store) {
    store(min(V(limit), max(V(-limit), load(x))), x);
  });
}

// Columns of a matrix whose rows lie `stride` apart: a norm above the limit is scaled
// down to it, unless it is not finite. Each column is summed from the first row on.
template <class T>
[[gnu::flatten]] void limit_norms(T* x, std::size_t rows, std::size_t cols,
                                  std::size_t stride, double limit) {
  constexpr std::size_t count = Lanes<double>::count, block = 8;
  using D = Vec<double>;
  for (; cols > 0;) {
    const std::size_t width = smaller(cols, block * count);
    const std::size_t blocks = parts(width, count);
    Lanes<double> sum[block];
    for (auto& s : sum) s = Lanes<double>::broadcast(0);
    const auto size = [=](std::size_t k) { return smaller(width - k * count, count); };
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t k = 0; k < blocks; ++k)
        sum[k] =
            add_squares(sum[k], load_double(x + row * stride + k * count, size(k)));
    double factor[block * count];
    T of_column[block * count];
    bool any = false;
    for (std::size_t k = 0; k < blocks; ++k)
      map(
          [=](D s) {
            const D norm = sqrt(s);
            const auto above = (norm > D(limit)) & (norm < D(__builtin_inf()));
            return select(above, D(limit) / norm, D(1.0));
          },
          sum[k])
          .store(factor + k * count);
    for (std::size_t i = 0; i < width; ++i) {
      of_column[i] = static_cast<T>(factor[i]);
      any |= factor[i] != 1;
    }
    for (std::size_t row = 0; any && row < rows; ++row) {
      T* y = x + row * stride;
      for_vectors<T>(width, [&](auto load, auto store) {
        store(load(y) * load(static_cast<const T*>(of_column)), y);
      });
    }
    x += width;
    cols -= width;
  }
}

}  // namespace lamina::LAMINA_TARGET
