// One fused pass per flat parameter buffer, by each rule. Square root and division are
// IEEE's: hardware estimates of reciprocals differ between processors. Every number of
// a rule is rounded to T once, from double: 1 - 0.999f is wrong in the fifth digit.
//
// Adam is bound by the divider, which takes root and quotient in 16 cycles for 16
// floats (Zen 4; 0.28 ns a parameter in the cache). What was measured beside it, in ns
// at 10 000 parameters, and was not worth a root that is right but for its last bit:
// root = v * rsqrt(v), the latter from its bits and a polynomial of degree 4 in fma,
// 0.28 (nine fma take as long as the root), every second 16 of them so, the others by
// the divider, 0.23; the reciprocal by three steps of Newton too, 0.37. Means as
// m + (1 - beta) (g - m) take 0.03 less beside those, but lose all digits at beta = 0.
// From a million parameters on, all take the memory's time.
#pragma once

#include "kernels/elementwise.hpp"
#include "kernels/kernel_table.hpp"
#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

// Where gradients stay 0, running means decay until they are subnormal, and stay so:
// root and division then take ten times as long. What is below these numbers is 0:
// means of squares below the smallest normal number, and means so far below the root of
// it that no weight could tell. NaN stays.
template <class T>
LAMINA_INLINE Vec<T> kept_square(Vec<T> v) {
  constexpr double smallest = sizeof(T) == 4 ? 0x1p-126 : 0x1p-1022;
  return select(v < Vec<T>(smallest), Vec<T>(0.0), v);
}
template <class T>
LAMINA_INLINE Vec<T> kept_mean(Vec<T> v) {
  constexpr double smallest = sizeof(T) == 4 ? 0x1p-100 : 0x1p-990;
  return select(abs(v) < Vec<T>(smallest), Vec<T>(0.0), v);
}

// v = momentum v + dw; w -= rate v, or with Nesterov w -= rate (dw + momentum v)
// (Sutskever et al. 2013, in PyTorch's form: the velocity does not hold the rate).
template <class T>
[[gnu::flatten]] void sgd(const Update<T>& a) {
  using V = Vec<T>;
  T *const w = a.w, *const v = a.state;
  const T* const dw = a.dw;
  const V back = V(-a.rate), kept = V(a.first);
  const bool nesterov = a.variant;
  if (a.first == 0)
    return transform(w, a.n, [=](auto g, auto x) { return fma(back, g, x); }, dw, w);
  const auto step = [=](auto load, auto store) {
    const V g = load(dw), velocity = fma(kept, load(v), g);
    store(velocity, v);
    store(fma(back, nesterov ? fma(kept, velocity, g) : velocity, load(w)), w);
  };
  for_vectors<T>(a.n, step, before_border(w, a.n));
}

// s = rho s + (1 - rho) dw^2; step = dw / (sqrt(s) + epsilon), in place of s, if
// centered, its excess over the squared mean of dw; with momentum, v = momentum v +
// step is the step (Tieleman & Hinton 2012, in PyTorch's form). An excess below 0, by
// rounding, counts as 0: PyTorch's root of it is NaN.
template <class T>
[[gnu::flatten]] void rmsprop(const Update<T>& a) {
  using V = Vec<T>;
  T *const w = a.w, *const s = a.state;
  const T* const dw = a.dw;
  T* const v = a.first != 0 ? s + a.stride : nullptr;
  T* const mean = a.variant ? s + (v ? 2 : 1) * a.stride : nullptr;
  const double rate = a.rate, momentum = a.first, rho = a.second, epsilon = a.epsilon;
  const V rest = V(1 - rho);
  for_vectors<T>(a.n, [=](auto load, auto store) {
    const V g = load(dw);
    V square = kept_square(fma(V(rho), load(s), rest * (g * g)));
    store(square, s);
    if (mean) {
      const V m = fma(V(rho), load(mean), rest * g);
      store(m, mean);
      square = max(V(0.0), fma(-m, m, square));
    }
    V step = g / (sqrt(square) + V(epsilon));
    if (v) {
      step = fma(V(momentum), load(v), step);
      store(step, v);
    }
    store(fma(V(-rate), step, load(w)), w);
  });
}

// s += dw^2; w -= rate dw / (sqrt(s) + epsilon) (Duchi et al. 2011).
template <class T>
[[gnu::flatten]] void adagrad(const Update<T>& a) {
  using V = Vec<T>;
  T *const w = a.w, *const s = a.state;
  const T* const dw = a.dw;
  const double rate = a.rate, epsilon = a.epsilon;
  for_vectors<T>(a.n, [=](auto load, auto store) {
    const V g = load(dw);
    const V sum = fma(g, g, load(s));
    store(sum, s);
    store(fma(V(-rate), g / (sqrt(sum) + V(epsilon)), load(w)), w);
  });
}

// Adam as published (Kingma & Ba 2015, algorithm 1): epsilon outside the root. Before
// the step, w is multiplied by `keep` (Loshchilov & Hutter 2019).
template <class T>
struct Adam {
  using V = Vec<T>;
  V beta1, rest1, beta2, rest2, step, unbias, epsilon, keep;

  explicit Adam(const Update<T>& a)
      : beta1(a.first),
        rest1(1 - a.first),
        beta2(a.second),
        rest2(1 - a.second),
        step(a.step),
        unbias(a.unbias),
        epsilon(a.epsilon),
        keep(a.keep) {}

  LAMINA_INLINE void move(V g, V& w, V& mean, V& square) const {
    mean = kept_mean<T>(fma(beta1, mean, rest1 * g));
    square = kept_square<T>(fma(beta2, square, rest2 * (g * g)));
    w = w * keep - step * mean / (sqrt(square * unbias) + epsilon);
  }
};

template <class T>
[[gnu::flatten]] void adam(const Update<T>& a) {
  T *const w = a.w, *const m = a.state, *const v = m + a.stride;
  const T* const dw = a.dw;
  const Adam<T> rule(a);
  for_vectors<T>(a.n, [=](auto load, auto store) {
    Vec<T> weight = load(w), mean = load(m), square = load(v);
    rule.move(load(dw), weight, mean, square);
    store(mean, m);
    store(square, v);
    store(weight, w);
  });
}

// Many steps: between them the arrays stay in registers, of several vectors, so that
// none waits for another's root.
template <std::size_t vectors, class T, class Load, class Store>
LAMINA_INLINE void adam_block(const Update<T>* steps, std::size_t count, const T* dw,
                              T* w, T* m, T* v, Load load, Store store) {
  using V = Vec<T>;
  V weight[vectors], mean[vectors], square[vectors], g[vectors];
  repeat<vectors>([&](std::size_t k) __attribute__((always_inline)) {
    weight[k] = load(w, k), mean[k] = load(m, k), square[k] = load(v, k);
    g[k] = dw ? load(dw, k) : V(0.0);
  });
  for (std::size_t s = 0; s < count; ++s) {
    const Adam<T> rule(steps[s]);
    repeat<vectors>([&](std::size_t k) __attribute__((always_inline)) {
      rule.move(g[k], weight[k], mean[k], square[k]);
    });
  }
  repeat<vectors>([&](std::size_t k) __attribute__((always_inline)) {
    store(weight[k], w, k), store(mean[k], m, k), store(square[k], v, k);
  });
}

template <class T>
[[gnu::flatten]] void adam_steps(const Update<T>* steps, std::size_t count, const T* dw,
                                 T* w, T* m, T* v, std::size_t n) {
  using V = Vec<T>;
  constexpr std::size_t vectors = 4, lanes = V::lanes;
  std::size_t i = 0;
  const auto load = [&](const T* p, std::size_t k) {
    return V::load(p + i + k * lanes);
  };
  const auto store = [&](V x, T* p, std::size_t k) { x.store(p + i + k * lanes); };
  for (; i + vectors * lanes <= n; i += vectors * lanes)
    adam_block<vectors>(steps, count, dw, w, m, v, load, store);
  for (; i + lanes <= n; i += lanes)
    adam_block<1>(steps, count, dw, w, m, v, load, store);
  if (i < n)
    adam_block<1>(
        steps, count, dw, w, m, v,
        [&](const T* p, std::size_t) { return V::load_first(p + i, n - i); },
        [&](V x, T* p, std::size_t) { x.store_first(p + i, n - i); });
}

// w = keep w - rate sign(beta1 m + (1 - beta1) dw); m = beta2 m + (1 - beta2) dw (Chen
// et al. 2023, algorithm 2). The sign of 0 is 0, that of NaN is NaN.
template <class T>
[[gnu::flatten]] void lion(const Update<T>& a) {
  using V = Vec<T>;
  T *const w = a.w, *const m = a.state;
  const T* const dw = a.dw;
  const double rate = a.rate, beta1 = a.first, beta2 = a.second, keep = a.keep;
  const V rest1 = V(1 - beta1), rest2 = V(1 - beta2);
  for_vectors<T>(a.n, [=](auto load, auto store) {
    const V g = load(dw), mean = load(m);
    const V c = fma(V(beta1), mean, rest1 * g);
    store(fma(V(beta2), mean, rest2 * g), m);
    const V sign = select((c > V(0.0)) | (c < V(0.0)), copysign(V(1.0), c), c);
    store(fma(V(-rate), sign, load(w) * V(keep)), w);
  });
}

// In this form a mean that is reached stays.
template <class T>
[[gnu::flatten]] void follow(const T* w, T* mean, std::size_t n, double share) {
  for_vectors<T>(n, [=](auto load, auto store) {
    const Vec<T> m = load(mean);
    store(fma(Vec<T>(share), load(w) - m, m), mean);
  });
}

}  // namespace lamina::LAMINA_TARGET
