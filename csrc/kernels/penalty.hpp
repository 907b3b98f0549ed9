// What L1 and L2 add to the loss and to its gradient.
#pragma once

#include "kernels/softmax.hpp"

namespace lamina::LAMINA_TARGET {

// The sum of l1 |w| + l2 / 2 w^2; `weight` times its gradient, in which sign(0) is 0,
// is added to dw unless that is null. Lanes sum up a thousand elements, doubles the
// rest.
template <class T>
[[gnu::flatten]] double penalty(const T* w, T* dw, std::size_t n, double l1, double l2,
                                double weight) {
  using V = Vec<T>;
  constexpr std::size_t block = 1024;
  const V slope = l1 * weight, curve = l2 * weight, share = l1, half = l2 / 2;
  const auto sum_of = [=](std::size_t begin,
                          std::size_t end) __attribute__((always_inline)) {
    auto sum = Lanes<T>::broadcast(0);
    for_lanes<T>(
        end,
        [&](std::size_t i, std::size_t count) {
          const auto v = load_some(w + i, count, T(0));
          sum = map([=](V s, V x) { return s + fma(half * x, x, share * abs(x)); }, sum,
                    v);
          if (!dw) return;
          const auto step = [=](V d, V x) {
            const V sign = select(x > 0.0, slope, select(x < 0.0, -slope, x));
            return d + fma(curve, x, sign);
          };
          store_some(map(step, load_some(dw + i, count, T(0)), v), dw + i, count);
        },
        begin);
    return static_cast<double>(fold_sum(sum));
  };
  return sum_of_blocks<double>(n, block, sum_of);
}

}  // namespace lamina::LAMINA_TARGET
