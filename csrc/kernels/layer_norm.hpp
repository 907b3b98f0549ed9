// Rows normalized to mean 0 and variance 1 (Ba, Kiros & Hinton 2016), in the virtual
// lanes of Lanes<T>. Moments are taken in two passes, since one would cancel where the
// mean is large; a row lies in the nearest cache meanwhile.
#pragma once

#include "kernels/columns.hpp"
#include "kernels/softmax.hpp"

namespace lamina::LAMINA_TARGET {

// The sum of a row, of which add(sum, i, n) adds n columns at i to the lanes. Four
// chains hide the time of an addition.
template <class T, class Length, class Add>
LAMINA_INLINE T row_sum(Length length, std::size_t cols, Add add) {
  constexpr std::size_t chains = 4, count = Lanes<T>::count;
  const auto sum_of = [=](std::size_t i,
                          std::size_t end) __attribute__((always_inline)) {
    Lanes<T> sum[chains];
    for (auto& s : sum) s = Lanes<T>::broadcast(0);
    for (; i + chains * count <= end; i += chains * count)
      repeat<chains>([&](std::size_t k) __attribute__((always_inline)) {
        sum[k] = add(sum[k], i + k * count, count);
      });
    for (; i < end; i += count) sum[0] = add(sum[0], i, smaller(end - i, count));
    const auto both = [](Vec<T> a, Vec<T> b) { return a + b; };
    return fold_sum(map(both, map(both, sum[0], sum[1]), map(both, sum[2], sum[3])));
  };
  return length.template sum<T>(cols, sum_of);
}

// y = (x - mean) inverse gamma + beta; `moments` receives mean and inverse of each row,
// unless it is null.
template <class T>
[[gnu::flatten]] void layer_norm(const T* x, const T* gamma, const T* beta, T epsilon,
                                 T* y, T* moments, std::size_t rows, std::size_t cols) {
  by_length<T>(cols, [&](auto length) __attribute__((always_inline)) {
    const T n = static_cast<T>(cols);
    for (std::size_t row = 0; row < rows; ++row, x += cols, y += cols) {
      const T* const z = x;
      const auto sum = [=](T from, auto add) __attribute__((always_inline)) {
        return row_sum<T>(
            length, cols,
            [=](const Lanes<T>& sum, std::size_t i,
                std::size_t count) __attribute__((always_inline)) {
              return map([=](Vec<T> s, Vec<T> v) { return add(s, v - Vec<T>(from)); },
                         sum, load_some(z + i, count, from));
            });
      };
      const T mean = x[0] + sum(x[0], [](Vec<T> s, Vec<T> d) { return s + d; }) / n;
      const T variance = sum(mean, [](Vec<T> s, Vec<T> d) { return fma(d, d, s); }) / n;
      const T inverse = (1.0 / sqrt(Vec<T>(variance + epsilon))).value[0];
      if (moments) {
        moments[2 * row] = mean;
        moments[2 * row + 1] = inverse;
      }
      transform(
          y, cols,
          [=](auto v, auto g, auto b) { return fma((v - mean) * inverse, g, b); }, x,
          gamma, beta);
    }
  });
}

// dgamma and dbeta: the column sums of dy times what is normalized, and of dy.
template <class T>
[[gnu::flatten]] void layer_norm_gradients(const T* dy, const T* x, const T* moments,
                                           T* dgamma, T* dbeta, std::size_t rows,
                                           std::size_t cols, std::size_t row_stride) {
  using columns::Sums;
  columns::sum_columns(
      rows, cols, {dgamma, dbeta},
      [=](Sums<T, 2> sum, std::size_t row, std::size_t j, auto load, auto)
          __attribute__((always_inline)) -> Sums<T, 2> {
            const std::size_t at = row * row_stride + j;
            const Vec<T> mean(moments[2 * row]), inverse(moments[2 * row + 1]);
            const Vec<T> g = load(dy + at), normal = (load(x + at) - mean) * inverse;
            return {fma(g, normal, sum.of[0]), sum.of[1] + g};
          });
}

// dx = inverse (g - mean(g) - normal mean(g normal)), g = dy gamma
template <class T>
[[gnu::flatten]] void layer_norm_backward(const T* dy, const T* x, const T* gamma,
                                          const T* moments, T* dx, std::size_t rows,
                                          std::size_t cols) {
  by_length<T>(cols, [&](auto length) __attribute__((always_inline)) {
    const T n = static_cast<T>(cols);
    for (std::size_t row = 0; row < rows; ++row, dy += cols, x += cols, dx += cols) {
      const T mean = moments[2 * row], inverse = moments[2 * row + 1];
      const T slope = row_sum<T>(length, cols,
                                 [=](const Lanes<T>& sum, std::size_t i,
                                     std::size_t count) __attribute__((always_inline)) {
                                   return map([](Vec<T> s, Vec<T> d,
                                                 Vec<T> c) { return fma(d, c, s); },
                                              sum, load_some(dy + i, count, T(0)),
                                              load_some(gamma + i, count, T(0)));
                                 }) /
                      n;
      const T bend =
          row_sum<T>(length, cols,
                     [=](const Lanes<T>& sum, std::size_t i,
                         std::size_t count) __attribute__((always_inline)) {
                       return map(
                           [=](Vec<T> s, Vec<T> d, Vec<T> c, Vec<T> v) {
                             return fma(d * c, (v - Vec<T>(mean)) * Vec<T>(inverse), s);
                           },
                           sum, load_some(dy + i, count, T(0)),
                           load_some(gamma + i, count, T(0)),
                           load_some(x + i, count, mean));
                     }) /
          n;
      transform(
          dx, cols,
          [=](auto d, auto c, auto v) {
            const auto normal = (v - mean) * inverse;
            return inverse * (fma(d, c, -slope) - normal * bend);
          },
          dy, gamma, x);
    }
  });
}

}  // namespace lamina::LAMINA_TARGET
