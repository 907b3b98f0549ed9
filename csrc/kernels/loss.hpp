// Losses fused with their gradient, per row. Cross-entropies take logits: the
// probability is never formed, so nothing is clipped. Sums run in virtual lanes, as in
// softmax.hpp.
#pragma once

#include "kernels/kernel_table.hpp"
#include "kernels/softmax.hpp"

namespace lamina::LAMINA_TARGET {

// The largest of a row, and which it is: the first of several. NaN is passed over.
template <class T>
struct Largest {
  T value;
  std::size_t place;
};
template <class T>
LAMINA_INLINE Largest<T> row_largest(const T* x, std::size_t cols) {
  constexpr std::size_t count = Lanes<T>::count;
  auto best = Lanes<T>::broadcast(minus_infinity<T>), step = Lanes<T>::broadcast(0);
  for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
    const auto v = load_some(x + i, n, minus_infinity<T>);
    step =
        map([=](Vec<T> s, Vec<T> a,
                Vec<T> b) { return select(a > b, static_cast<double>(i / count), s); },
            step, v, best);
    best = map([](Vec<T> a, Vec<T> b) { return max(a, b); }, v, best);
  });
  const T top = fold(best, [](auto a, auto b) { return a > b ? a : b; });
  const auto steps = map(
      [=](Vec<T> s, Vec<T> b) {
        return select(b == Vec<T>(top), s, Vec<T>(__builtin_inf()));
      },
      step, best);
  const T first = fold(steps, [](auto a, auto b) { return a < b ? a : b; });
  std::size_t place =
      first < static_cast<T>(cols) ? static_cast<std::size_t>(first) : 0;
  for (place *= count; place < cols && x[place] != top;) ++place;
  return {top, place};
}

// The number of the first column of that value, 0 if there is none.
template <class T>
LAMINA_INLINE Lanes<T> short_row_find(const ShortRows<T>& x, std::size_t cols,
                                      const Lanes<T>& value) {
  auto found = Lanes<T>::broadcast(0);
  for (std::size_t c = cols; c-- > 0;)
    found =
        map([=](Vec<T> v, Vec<T> wanted,
                Vec<T> f) { return select(v == wanted, static_cast<double>(c), f); },
            x[c], value, found);
  return found;
}

// The factors of the gradients of some rows.
template <class T>
LAMINA_INLINE Lanes<T> row_scales(const LossRows<T>& a, std::size_t row,
                                  std::size_t count, T scale) {
  if (!a.weights) return Lanes<T>::broadcast(scale);
  return map([=](Vec<T> w) { return Vec<T>(scale) * w; },
             load_some(a.weights + row, count, T(0)));
}

// Targets become keep t + spread: smoothing takes them toward equal shares of
// `classes`.
template <class T>
struct Smoothing {
  T keep, spread;
  Smoothing(const LossChoice& choice, std::size_t classes)
      : keep(static_cast<T>(1 - choice.label_smoothing)),
        spread(static_cast<T>(choice.label_smoothing / static_cast<double>(classes))) {}
  LAMINA_INLINE Vec<T> operator()(Vec<T> t) const {
    return fma(t, Vec<T>(keep), Vec<T>(spread));
  }
};

// Where t is 0 the logit does not count, even if it is -infinity.
template <class T>
LAMINA_INLINE Vec<T> add_score(Vec<T> score, Vec<T> t, Vec<T> z, Vec<T> top) {
  return select(t == 0.0, score, fma(t, z - top, score));
}

// Of short rows, several at a time.
template <class T>
[[gnu::flatten]] std::size_t softmax_cross_entropy_short(const LossChoice& choice,
                                                         const LossRows<T>& a, T scale,
                                                         T* losses, T* gradient) {
  const std::size_t cols = a.cols;
  const std::int64_t* labels = a.labels;
  const Smoothing<T> smooth(choice, cols);
  std::size_t right = 0;
  for_short_rows<T>(a.rows, [=, &right](std::size_t row, std::size_t count) {
    const T* logits = a.outputs + row * cols;
    ShortRows<T> z, t;
    z.load(logits, count, cols);
    const auto top = short_row_max(z, cols);
    auto weight = Lanes<T>::broadcast(1), score = Lanes<T>::broadcast(0);
    Lanes<T> wanted;
    if (labels) {
      T label[ShortRows<T>::rows] = {}, chosen[ShortRows<T>::rows] = {};
      for (std::size_t r = 0; r < count; ++r) {
        label[r] = static_cast<T>(labels[row + r]);
        chosen[r] = logits[r * cols + static_cast<std::size_t>(labels[row + r])];
      }
      wanted = Lanes<T>::load(label);
      score =
          map([=](Vec<T> c, Vec<T> m) { return add_score<T>(0.0, smooth.keep, c, m); },
              Lanes<T>::load(chosen), top);
      if (smooth.spread != 0)
        for (std::size_t c = 0; c < cols; ++c)
          score = map([=](Vec<T> s, Vec<T> v,
                          Vec<T> m) { return add_score<T>(s, smooth.spread, v, m); },
                      score, z[c], top);
    } else {
      t.load(a.targets + row * cols, count, cols);
      wanted = short_row_find(t, cols, short_row_max(t, cols));
      weight = Lanes<T>::broadcast(0);
      for (std::size_t c = 0; c < cols; ++c) {
        t.set(c, map(smooth, t[c]));
        weight = map([](Vec<T> s, Vec<T> v) { return s + v; }, weight, t[c]);
        score = map(add_score<T>, score, t[c], z[c], top);
      }
    }
    const auto place = short_row_find(z, cols, top);
    const auto sum = short_row_exp_sum(z, cols, top, gradient != nullptr);
    // NaN in a row makes its sum NaN.
    const auto hits =
        map([](Vec<T> c, Vec<T> w,
               Vec<T> s) { return select((c == w) & (s == s), 1.0, 0.0); },
            place, wanted, map([](Vec<T> s, Vec<T> w) { return s + w; }, sum, weight));
    right += static_cast<std::size_t>(fold_sum(hits.first(count)));
    store_some(map([](Vec<T> s, Vec<T> w, Vec<T> c) { return log_of_sum(s) * w - c; },
                   sum, weight, score),
               losses + row, count);
    if (!gradient) return;
    const auto scales = row_scales(a, row, count, scale);
    const auto factor = map([](Vec<T> s, Vec<T> w, Vec<T> n) { return s * w / n; },
                            scales, weight, sum);
    const auto drop =
        map([=](Vec<T> s) { return -(Vec<T>(smooth.spread) * s); }, scales);
    for (std::size_t c = 0; c < cols; ++c)
      z.set(c, labels ? map([](Vec<T> e, Vec<T> f, Vec<T> d) { return fma(e, f, d); },
                            z[c], factor, drop)
                      : map([](Vec<T> e, Vec<T> f, Vec<T> v,
                               Vec<T> s) { return fma(e, f, -(v * s)); },
                            z[c], factor, t[c], scales));
    z.store(gradient + row * cols, count, cols);
    if (labels)
      for (std::size_t r = row; r < row + count; ++r)
        gradient[r * cols + static_cast<std::size_t>(labels[r])] -=
            a.weights ? smooth.keep * (scale * a.weights[r]) : smooth.keep * scale;
  });
  return right;
}

// loss = log(sum exp z) sum(t) - sum(t z); gradient = (softmax(z) sum(t) - t) scale
template <class T>
[[gnu::flatten]] std::size_t softmax_cross_entropy(const LossChoice& choice,
                                                   const LossRows<T>& a, T scale,
                                                   T* losses, T* gradient) {
  const std::size_t cols = a.cols;
  if (cols <= ShortRows<T>::max_cols)
    return softmax_cross_entropy_short(choice, a, scale, losses, gradient);
  const Smoothing<T> smooth(choice, cols);
  const T *logits = a.outputs, *targets = a.targets;
  std::size_t right = 0;
  by_length<T>(cols, [&](auto length) __attribute__((always_inline)) {
    for (std::size_t row = 0; row < a.rows; ++row, logits += cols) {
      const T row_scale = a.weights ? scale * a.weights[row] : scale;
      const auto largest = row_largest(logits, cols);
      const T top = largest.value;
      std::size_t wanted = 0;
      T weight = 1;  // sum(t)
      T score = 0;   // sum(t (z - top))
      if (targets || smooth.spread != 0) {
        score = sum_in_lanes<T>(
            length, cols,
            [=](const Lanes<T>& sum, std::size_t i, std::size_t n)
                __attribute__((always_inline)) {
                  const auto t = targets ? load_some(targets + i, n, T(0))
                                         : Lanes<T>::broadcast(0);
                  // Beyond the row z - top is 0.
                  return map(add_score<T>, sum, map(smooth, t),
                             load_some(logits + i, n, top), Lanes<T>::broadcast(top));
                });
        if (targets) {
          const T sum =
              sum_in_lanes<T>(length, cols,
                              [=](const Lanes<T>& s, std::size_t i, std::size_t n)
                                  __attribute__((always_inline)) {
                                    return map([](Vec<T> a, Vec<T> b) { return a + b; },
                                               s, load_some(targets + i, n, T(0)));
                                  });
          weight = sum * smooth.keep + static_cast<T>(choice.label_smoothing);
          wanted = row_largest(targets, cols).place;
        }
      }
      if (!targets) {
        wanted = static_cast<std::size_t>(a.labels[row]);
        if (smooth.keep != 0) score += smooth.keep * (logits[wanted] - top);
      }
      const T sum = row_exp_sum(length, logits, gradient, cols, top);
      right +=
          largest.place == wanted && sum + weight == sum + weight;  // no NaN in the row
      losses[row] = log_of_sum(sum) * weight - score;
      if (gradient) {
        const T factor = row_scale * weight / sum, drop = -(smooth.spread * row_scale);
        for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
          const auto e = load_some(gradient + i, n, T(0));
          const auto g =
              targets
                  ? map(
                        [=](Vec<T> v, Vec<T> t) {
                          return fma(v, Vec<T>(factor),
                                     -(smooth(t) * Vec<T>(row_scale)));
                        },
                        e, load_some(targets + i, n, T(0)))
                  : map([=](Vec<T> v) { return fma(v, Vec<T>(factor), Vec<T>(drop)); },
                        e);
          store_some(g, gradient + i, n);
        });
        if (!targets) gradient[wanted] -= smooth.keep * row_scale;
        gradient += cols;
      }
      if (targets) targets += cols;
    }
  });
  return right;
}

// Whether logit and target are on the same side, as 1 or 0; NaN is on neither.
template <class T>
LAMINA_INLINE Vec<T> same_side(Vec<T> z, Vec<T> t) {
  const auto above = select(z > 0.0, Vec<T>(1.0), Vec<T>(0.0));
  const auto below = select(z <= 0.0, Vec<T>(1.0), Vec<T>(0.0));
  return select(t > 0.5, above, below);
}

// The sum over a row of term(o, t), and its slope(o, t) times scale and weight.
template <bool classifies, class T, class Term, class Slope>
LAMINA_INLINE std::size_t row_losses(const LossRows<T>& a, T scale, T* losses,
                                     T* gradient, Term term, Slope slope) {
  const std::size_t cols = a.cols;
  std::size_t right = 0;
  const auto count_right = [&](const Lanes<T>& hits, std::size_t n) {
    if constexpr (classifies)
      right += static_cast<std::size_t>(fold_sum(hits.first(n)));
  };
  const auto add = [](Vec<T> s, Vec<T> v) { return s + v; };
  if (cols == 1) {  // rows are elements
    for_lanes<T>(a.rows, [&](std::size_t i, std::size_t n) {
      const auto o = load_some(a.outputs + i, n, T(0));
      const auto t = load_some(a.targets + i, n, T(0));
      store_some(
          map([=](Vec<T> v, Vec<T> b) { return Vec<T>(0.0) + term(v, b); }, o, t),
          losses + i, n);
      count_right(map(same_side<T>, o, t), n);
      if (gradient)
        store_some(map([=](Vec<T> v, Vec<T> b, Vec<T> s) { return slope(v, b) * s; }, o,
                       t, row_scales(a, i, n, scale)),
                   gradient + i, n);
    });
    return right;
  }
  if (cols <= ShortRows<T>::max_cols) {
    for_short_rows<T>(a.rows, [&](std::size_t row, std::size_t count) {
      ShortRows<T> o, t;
      o.load(a.outputs + row * cols, count, cols);
      t.load(a.targets + row * cols, count, cols);
      const auto scales = row_scales(a, row, count, scale);
      auto sum = Lanes<T>::broadcast(0), hits = sum;
      for (std::size_t c = 0; c < cols; ++c) {
        const auto value = o[c], aim = t[c];
        sum = map([=](Vec<T> s, Vec<T> v, Vec<T> b) { return s + term(v, b); }, sum,
                  value, aim);
        if constexpr (classifies) hits = map(add, hits, map(same_side<T>, value, aim));
        if (gradient)
          o.set(c, map([=](Vec<T> v, Vec<T> b, Vec<T> s) { return slope(v, b) * s; },
                       value, aim, scales));
      }
      store_some(sum, losses + row, count);
      count_right(hits, count);
      if (gradient) o.store(gradient + row * cols, count, cols);
    });
    return right;
  }
  const T *outputs = a.outputs, *targets = a.targets;
  by_length<T>(cols, [&](auto length) __attribute__((always_inline)) {
    for (std::size_t row = 0; row < a.rows; ++row, outputs += cols, targets += cols) {
      const T row_scale = a.weights ? scale * a.weights[row] : scale;
      losses[row] = sum_in_lanes<T>(
          length, cols,
          [&](const Lanes<T>& sum, std::size_t i,
              std::size_t n) __attribute__((always_inline)) {
            const auto o = load_some(outputs + i, n, T(0));
            const auto t = load_some(targets + i, n, T(0));
            if constexpr (classifies) count_right(map(same_side<T>, o, t), n);
            if (gradient)
              store_some(map([=](Vec<T> v,
                                 Vec<T> b) { return slope(v, b) * Vec<T>(row_scale); },
                             o, t),
                         gradient + i, n);
            // The lanes beyond the row would add term(0, 0), which need not be 0.
            return map(add, sum, map(term, o, t).first(n));
          });
      if (gradient) gradient += cols;
    }
  });
  return right;
}

// With q = 1 - t + p t, p the weight of the positive: loss = q log(1 + exp(-|z|)) + |z|
// w, w = 1 - t for z > 0, else p t; gradient = (q sigmoid(z) - p t) scale. Where w is 0
// an infinite logit counts nothing.
template <class T>
[[gnu::flatten]] std::size_t sigmoid_cross_entropy(const LossChoice& choice,
                                                   const LossRows<T>& a, T scale,
                                                   T* losses, T* gradient) {
  const Smoothing<T> smooth(choice, 2);
  const T p = static_cast<T>(choice.parameter);
  const T more = static_cast<T>(choice.parameter - 1);
  return row_losses<true>(
      a, scale, losses, gradient,
      [=](Vec<T> z, Vec<T> target) {
        const auto t = smooth(target);
        const auto w = select(z > 0.0, 1.0 - t, t * Vec<T>(p));
        return softplus(-abs(z)) * fma(t, Vec<T>(more), Vec<T>(1.0)) +
               select(w == 0.0, 0.0, abs(z) * w);
      },
      [=](Vec<T> z, Vec<T> target) {
        const auto t = smooth(target);
        return sigmoid(z) * fma(t, Vec<T>(more), Vec<T>(1.0)) - t * Vec<T>(p);
      });
}

// loss = (o - t)^2; gradient = 2 (o - t) scale
template <class T>
[[gnu::flatten]] std::size_t squared_error(const LossChoice&, const LossRows<T>& a,
                                           T scale, T* losses, T* gradient) {
  return row_losses<false>(
      a, scale, losses, gradient, [](Vec<T> o, Vec<T> t) { return (o - t) * (o - t); },
      [](Vec<T> o, Vec<T> t) { return (o - t) * 2.0; });
}

// loss = |o - t|; gradient = sign(o - t) scale, 0 at 0
template <class T>
[[gnu::flatten]] std::size_t absolute_error(const LossChoice&, const LossRows<T>& a,
                                            T scale, T* losses, T* gradient) {
  return row_losses<false>(
      a, scale, losses, gradient, [](Vec<T> o, Vec<T> t) { return abs(o - t); },
      [](Vec<T> o, Vec<T> t) {
        const auto d = o - t;
        return select(d > 0.0, 1.0, select(d < 0.0, -1.0, d));
      });
}

// With d = |o - t|: loss = d^2 / 2 up to delta, then delta (d - delta / 2); gradient =
// o
// - t within +-delta, times scale
template <class T>
[[gnu::flatten]] std::size_t huber(const LossChoice& choice, const LossRows<T>& a,
                                   T scale, T* losses, T* gradient) {
  const T delta = static_cast<T>(choice.parameter);
  return row_losses<false>(
      a, scale, losses, gradient,
      [=](Vec<T> o, Vec<T> t) {
        const auto d = abs(o - t), half = 0.5 * d;
        return select(d <= Vec<T>(delta), half * d,
                      Vec<T>(delta) * (d - Vec<T>(delta / 2)));
      },
      [=](Vec<T> o, Vec<T> t) { return clamp(o - t, -delta, delta); });
}

// With d = t - o: loss = max(q d, (q - 1) d); gradient = -q scale below t, (1 - q)
// scale above it, 0 at it.
template <class T>
[[gnu::flatten]] std::size_t pinball(const LossChoice& choice, const LossRows<T>& a,
                                     T scale, T* losses, T* gradient) {
  const T below = static_cast<T>(choice.parameter), above = 1 - below;
  return row_losses<false>(
      a, scale, losses, gradient,
      [=](Vec<T> o, Vec<T> t) {
        const auto d = o - t;
        return d * select(d > 0.0, Vec<T>(above), Vec<T>(-below));
      },
      [=](Vec<T> o, Vec<T> t) {
        const auto d = o - t;
        return select(d > 0.0, Vec<T>(above), select(d < 0.0, Vec<T>(-below), d));
      });
}

// Of logarithms of rates: loss = exp(o) - t o; gradient = (exp(o) - t) scale. Where t
// is 0 an infinite o counts nothing in the product, and +infinity in no case: exp has
// it.
template <class T>
[[gnu::flatten]] std::size_t poisson(const LossChoice&, const LossRows<T>& a, T scale,
                                     T* losses, T* gradient) {
  const double infinity = __builtin_inf();
  return row_losses<false>(
      a, scale, losses, gradient,
      [=](Vec<T> o, Vec<T> t) {
        const auto rate = exp(o);
        return select((t == 0.0) | (o == infinity), rate, fma(-t, o, rate));
      },
      [](Vec<T> o, Vec<T> t) { return exp(o) - t; });
}

}  // namespace lamina::LAMINA_TARGET
