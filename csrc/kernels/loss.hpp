// Losses fused with their gradient, per row. Cross-entropies take logits: the
// probability is never formed, so nothing is clipped. Sums run in virtual lanes, as in
// softmax.hpp.
#pragma once

#include "kernels/softmax.hpp"

namespace lamina::LAMINA_TARGET {

// Where t is 0 the logit does not count, even if it is -infinity.
template <class T>
LAMINA_INLINE Vec<T> add_score(Vec<T> score, Vec<T> t, Vec<T> z, Vec<T> top) {
  return select(t == 0.0, score, fma(t, z - top, score));
}

// Of short rows, several at a time.
template <class T>
[[gnu::flatten]] void softmax_cross_entropy_short(const T* logits, const T* targets,
                                                  const std::int64_t* labels, T scale,
                                                  T* losses, T* gradient,
                                                  std::size_t rows, std::size_t cols) {
  for_short_rows<T>(rows, [=](std::size_t row, std::size_t count) {
    ShortRows<T> z, t;
    z.load(logits + row * cols, count, cols);
    const auto top = short_row_max(z, cols);
    auto weight = Lanes<T>::broadcast(1), score = Lanes<T>::broadcast(0);
    if (labels) {
      T chosen[ShortRows<T>::rows] = {};
      for (std::size_t r = 0; r < count; ++r)
        chosen[r] =
            logits[(row + r) * cols + static_cast<std::size_t>(labels[row + r])];
      score =
          map([](Vec<T> c, Vec<T> m) { return c - m; }, Lanes<T>::load(chosen), top);
    } else {
      t.load(targets + row * cols, count, cols);
      weight = Lanes<T>::broadcast(0);
      for (std::size_t c = 0; c < cols; ++c) {
        weight = map([](Vec<T> s, Vec<T> v) { return s + v; }, weight, t[c]);
        score = map(add_score<T>, score, t[c], z[c], top);
      }
    }
    const auto sum = short_row_exp_sum(z, cols, top, gradient != nullptr);
    if (losses)
      store_some(map([](Vec<T> s, Vec<T> w, Vec<T> c) { return log_of_sum(s) * w - c; },
                     sum, weight, score),
                 losses + row, count);
    if (!gradient) return;
    const auto factor =
        map([=](Vec<T> w, Vec<T> s) { return Vec<T>(scale) * w / s; }, weight, sum);
    for (std::size_t c = 0; c < cols; ++c) {
      const auto p = map([](Vec<T> e, Vec<T> f) { return e * f; }, z[c], factor);
      z.set(c, labels ? p
                      : map([=](Vec<T> e, Vec<T> f,
                                Vec<T> v) { return fma(e, f, -(v * Vec<T>(scale))); },
                            z[c], factor, t[c]));
    }
    z.store(gradient + row * cols, count, cols);
    if (labels)
      for (std::size_t r = row; r < row + count; ++r)
        gradient[r * cols + static_cast<std::size_t>(labels[r])] -= scale;
  });
}

// loss = log(sum exp z) sum(t) - sum(t z); gradient = (softmax(z) sum(t) - t) scale
template <class T>
[[gnu::flatten]] void softmax_cross_entropy(const T* logits, const T* targets,
                                            const std::int64_t* labels, T scale,
                                            T* losses, T* gradient, std::size_t rows,
                                            std::size_t cols) {
  if (cols <= ShortRows<T>::max_cols)
    return softmax_cross_entropy_short(logits, targets, labels, scale, losses, gradient,
                                       rows, cols);
  for (std::size_t row = 0; row < rows; ++row, logits += cols) {
    const T top = row_max(logits, cols);
    T weight = 1;  // sum(t)
    T score;       // sum(t (z - top))
    if (labels) {
      score = logits[labels[row]] - top;
    } else {
      auto weights = Lanes<T>::broadcast(0), scores = weights;
      for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
        const auto t = load_some(targets + i, n, T(0));
        weights = map([](Vec<T> s, Vec<T> v) { return s + v; }, weights, t);
        scores = map(add_score<T>, scores, t, load_some(logits + i, n, T(0)),
                     Lanes<T>::broadcast(top));
      });
      weight = fold_sum(weights);
      score = fold_sum(scores);
    }
    const T sum = row_exp_sum(logits, gradient, cols, top);
    if (losses) losses[row] = log_of_sum(sum) * weight - score;
    if (gradient) {
      const T factor = scale * weight / sum;
      for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
        const auto e = load_some(gradient + i, n, T(0));
        const auto g = labels
                           ? map([=](Vec<T> v) { return v * Vec<T>(factor); }, e)
                           : map(
                                 [=](Vec<T> v, Vec<T> t) {
                                   return fma(v, Vec<T>(factor), -(t * Vec<T>(scale)));
                                 },
                                 e, load_some(targets + i, n, T(0)));
        store_some(g, gradient + i, n);
      });
      if (labels) gradient[labels[row]] -= scale;
      gradient += cols;
    }
    if (targets) targets += cols;
  }
}

// The sum over a row of term(z, t), and its slope(z, t) times scale.
template <class T, class Term, class Slope>
LAMINA_INLINE void row_losses(const T* outputs, const T* targets, T scale, T* losses,
                              T* gradient, std::size_t rows, std::size_t cols,
                              Term term, Slope slope) {
  if (cols <= ShortRows<T>::max_cols) {
    for_short_rows<T>(rows, [=](std::size_t row, std::size_t count) {
      ShortRows<T> z, t;
      z.load(outputs + row * cols, count, cols);
      t.load(targets + row * cols, count, cols);
      auto sum = Lanes<T>::broadcast(0);
      for (std::size_t c = 0; c < cols; ++c) {
        const auto value = z[c];
        if (losses)
          sum = map([=](Vec<T> s, Vec<T> a, Vec<T> b) { return s + term(a, b); }, sum,
                    value, t[c]);
        if (gradient)
          z.set(c, map([=](Vec<T> a, Vec<T> b) { return slope(a, b) * Vec<T>(scale); },
                       value, t[c]));
      }
      if (losses) store_some(sum, losses + row, count);
      if (gradient) z.store(gradient + row * cols, count, cols);
    });
    return;
  }
  for (std::size_t row = 0; row < rows; ++row, outputs += cols, targets += cols) {
    auto sum = Lanes<T>::broadcast(0);
    for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
      const auto z = load_some(outputs + i, n, T(0));
      const auto t = load_some(targets + i, n, T(0));
      if (losses) {
        auto value = map(term, z, t);
        // The lanes beyond the row would add term(0, 0), which need not be 0.
        if (n < Lanes<T>::count) {
          T lane[Lanes<T>::count];
          value.store(lane);
          value = Lanes<T>::load_first(lane, n, T(0));
        }
        sum = map([](Vec<T> s, Vec<T> v) { return s + v; }, sum, value);
      }
      if (gradient)
        store_some(
            map([=](Vec<T> a, Vec<T> b) { return slope(a, b) * Vec<T>(scale); }, z, t),
            gradient + i, n);
    });
    if (losses) losses[row] = fold_sum(sum);
    if (gradient) gradient += cols;
  }
}

// loss = log(1 + exp(-|z|)) + |z| w, w = 1 - t for z > 0, else t; gradient =
// (sigmoid(z) - t) scale. Where w is 0 an infinite logit counts nothing.
template <class T>
[[gnu::flatten]] void sigmoid_cross_entropy(const T* logits, const T* targets, T scale,
                                            T* losses, T* gradient, std::size_t rows,
                                            std::size_t cols) {
  row_losses(
      logits, targets, scale, losses, gradient, rows, cols,
      [](Vec<T> z, Vec<T> t) {
        const auto w = select(z > 0.0, 1.0 - t, t);
        return softplus(-abs(z)) + select(w == 0.0, 0.0, abs(z) * w);
      },
      [](Vec<T> z, Vec<T> t) { return sigmoid(z) - t; });
}

// loss = (o - t)^2; gradient = 2 (o - t) scale
template <class T>
[[gnu::flatten]] void squared_error(const T* outputs, const T* targets, T scale,
                                    T* losses, T* gradient, std::size_t rows,
                                    std::size_t cols) {
  row_losses(
      outputs, targets, scale, losses, gradient, rows, cols,
      [](Vec<T> o, Vec<T> t) { return (o - t) * (o - t); },
      [](Vec<T> o, Vec<T> t) { return (o - t) * 2.0; });
}

}  // namespace lamina::LAMINA_TARGET
