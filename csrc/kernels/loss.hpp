// Losses fused with their gradient, per row. Cross-entropies take logits: the
// probability is never formed, so nothing is clipped. Sums run in virtual lanes, as in
// softmax.hpp.
#pragma once

#include "kernels/softmax.hpp"

namespace lamina::LAMINA_TARGET {

// loss = log(sum exp z) sum(t) - sum(t z); gradient = (softmax(z) sum(t) - t) scale
template <class T>
[[gnu::flatten]] void softmax_cross_entropy(const T* logits, const T* targets,
                                            const std::int64_t* labels, T scale,
                                            T* losses, T* gradient, std::size_t rows,
                                            std::size_t cols) {
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
        // Where t is 0 the logit does not count, even if it is -infinity.
        scores = map(
            [=](Vec<T> s, Vec<T> p, Vec<T> z) {
              return select(p == 0.0, s, fma(p, z - Vec<T>(top), s));
            },
            scores, t, load_some(logits + i, n, T(0)));
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

// loss = log(1 + exp(-|z|)) + max(z, 0) - z t; gradient = (sigmoid(z) - t) scale
template <class T>
[[gnu::flatten]] void sigmoid_cross_entropy(const T* logits, const T* targets, T scale,
                                            T* losses, T* gradient, std::size_t rows,
                                            std::size_t cols) {
  row_losses(
      logits, targets, scale, losses, gradient, rows, cols,
      [](Vec<T> z, Vec<T> t) {
        return softplus(-abs(z)) + fma(-z, t, max(Vec<T>(0.0), z));
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
