#include "ops/losses.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "ops/threads.hpp"

namespace lamina {

namespace {

// Of an element.
constexpr double cycles_of[] = {
#define LAMINA_CYCLES(name, cycles) cycles,
    LAMINA_LOSSES(LAMINA_CYCLES)
#undef LAMINA_CYCLES
};

// 0 * infinity would be NaN.
template <class T>
void forget_unweighted(const LossRows<T>& a, T* losses, T* gradient) {
  for (std::size_t row = 0; row < a.rows; ++row) {
    if (a.weights[row] != 0) continue;
    losses[row] = 0;
    if (gradient) std::fill_n(gradient + row * a.cols, a.cols, T(0));
  }
}

// In blocks of sixteen chains, whose sums are added with what rounding took (Knuth's
// two-sum). Chains in an array would be read and written at each step: twice the time.
template <class Term>
double sum_of_terms(std::size_t rows, Term term) {
  using Pair = double __attribute__((vector_size(16)));
  constexpr std::size_t lanes = 16, pairs = lanes / 2;
  double sum = 0, low = 0;
  for (std::size_t begin = 0; begin < rows; begin += lanes * chain) {
    const std::size_t end = std::min(rows, begin + lanes * chain);
    Pair pair[pairs] = {};
    std::size_t row = begin;
    for (; row + lanes <= end; row += lanes) {
#pragma GCC unroll 8
      for (std::size_t i = 0; i < pairs; ++i)
        pair[i] += Pair{term(row + 2 * i), term(row + 2 * i + 1)};
    }
    double block[lanes];
    std::memcpy(block, pair, sizeof block);
    for (std::size_t i = 0; row + i < end; ++i) block[i] += term(row + i);
    for (std::size_t half = lanes / 2; half > 0; half /= 2)
      for (std::size_t i = 0; i < half; ++i) block[i] += block[i + half];
    const double next = sum + block[0], seen = next - sum;
    low += (sum - (next - seen)) + (block[0] - seen);
    sum = next;
  }
  return std::isfinite(sum) ? sum + low : sum;
}

template <class T>
double weighted_sum(const T* losses, const T* weights, std::size_t rows) {
  const auto loss = [=](std::size_t row) { return static_cast<double>(losses[row]); };
  if (!weights) return sum_of_terms(rows, loss);
  return sum_of_terms(rows, [=](std::size_t row) {
    return static_cast<double>(weights[row]) * loss(row);
  });
}

}  // namespace

template <class T>
LossResult loss(const LossChoice& choice, const LossRows<T>& all, double scale,
                T* losses, T* gradient) {
  const auto kind = static_cast<std::size_t>(choice.kind);
  const auto cols = static_cast<double>(all.cols);
  const double terms = choice.kind == LossKind::softmax_cross_entropy ? 1 : cols;
  const double of_row = cycles_of[kind] * cols;
  // 1 / (n cols), rounded once, where scale is 1 / n: nearly always.
  const double share = terms == 1 ? scale : 1 / (terms / scale);
  const auto kernel = kernels<T>().losses[kind];
  std::atomic<std::size_t> right = 0;
  parallel(all.rows, of_row, workers_for(all.rows, of_row),
           [&](std::size_t first, std::size_t count, std::size_t) {
             const LossRows<T> part = all.part(first, count);
             T* g = gradient ? gradient + first * all.cols : nullptr;
             right += kernel(choice, part, static_cast<T>(share), losses + first, g);
             if (part.weights) forget_unweighted(part, losses + first, g);
           });
  return {.sum = weighted_sum(losses, all.weights, all.rows) / terms,
          .correct = static_cast<double>(right.load()) / terms};
}

template LossResult loss<float>(const LossChoice&, const LossRows<float>&, double,
                                float*, float*);
template LossResult loss<double>(const LossChoice&, const LossRows<double>&, double,
                                 double*, double*);

}  // namespace lamina
