// One fused pass per flat parameter buffer. Square root and division are IEEE's:
// hardware estimates of reciprocals differ between processors.
#pragma once

#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

// Calls step(load, store) for each vector of n elements: load(p) and store(v, p) act on
// the current position of an array p.
template <class T, class Step>
LAMINA_INLINE void for_vectors(std::size_t n, Step step) {
  using V = Vec<T>;
  std::size_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes)
    step([=](const T* p) { return V::load(p + i); },
         [=](V v, T* p) { v.store(p + i); });
  if (i < n)
    step([=](const T* p) { return V::load_first(p + i, n - i); },
         [=](V v, T* p) { v.store_first(p + i, n - i); });
}

// v = momentum v + dw; w -= rate v, or with Nesterov w -= rate (dw + momentum v)
// (Sutskever et al. 2013, in PyTorch's form: the velocity does not hold the rate).
template <class T>
[[gnu::flatten]] void sgd(T* w, const T* dw, T* v, std::size_t n, double rate,
                          double momentum, bool nesterov) {
  using V = Vec<T>;
  for_vectors<T>(n, [=](auto load, auto store) {
    V step = load(dw);
    if (v) {
      const V velocity = fma(V(momentum), load(v), step);
      store(velocity, v);
      step = nesterov ? fma(V(momentum), velocity, step) : velocity;
    }
    store(fma(V(-rate), step, load(w)), w);
  });
}

// Adam as published (Kingma & Ba 2015, algorithm 1): epsilon outside the root.
template <class T>
[[gnu::flatten]] void adam(T* w, const T* dw, T* m, T* v, std::size_t n, double rate,
                           double beta1, double beta2, double epsilon,
                           double correction1, double correction2) {
  using V = Vec<T>;
  // In double: 1 - 0.999f is wrong in the fifth digit.
  const V step = V(rate / correction1), unbias = V(1 / correction2);
  const V rest1 = V(1 - beta1), rest2 = V(1 - beta2);
  for_vectors<T>(n, [=](auto load, auto store) {
    const V g = load(dw);
    const V mean = fma(V(beta1), load(m), rest1 * g);
    const V square = fma(V(beta2), load(v), rest2 * (g * g));
    store(mean, m);
    store(square, v);
    store(load(w) - step * mean / (sqrt(square * unbias) + V(epsilon)), w);
  });
}

}  // namespace lamina::LAMINA_TARGET
