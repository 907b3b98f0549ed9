#include "ops/optimizers.hpp"

#include <cmath>

#include "ops/ops.hpp"

namespace lamina {

namespace {

// base ^ exponent by multiplications alone: the same bits on every machine.
double power(double base, std::uint64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1, base *= base)
    if (exponent & 1) result *= base;
  return result;
}

// In pieces with borders that depend on n alone, whose sums are added in order.
template <class T>
double norm(const Kernels<T>& table, const T* x, std::size_t n) {
  constexpr std::size_t most = 256, least = 4096;
  const std::size_t piece = n <= most * least ? least : (n + most - 1) / most;
  const std::size_t pieces = (n + piece - 1) / piece;
  double sums[most];
  const double cycles = 0.5 * static_cast<double>(piece);
  parallel(pieces, cycles, workers_for(pieces, cycles),
           [&](std::size_t first, std::size_t count, std::size_t) {
             for (std::size_t i = first; i < first + count; ++i) {
               const std::size_t rest = n - i * piece;
               sums[i] =
                   table.sum_of_squares(x + i * piece, rest < piece ? rest : piece);
             }
           });
  double sum = 0;
  for (std::size_t i = 0; i < pieces; ++i) sum += sums[i];
  return std::sqrt(sum);
}

// Returns the norm before.
template <class T>
double limit_norm(const Kernels<T>& table, T* x, std::size_t n, double limit) {
  const double found = norm(table, x, n);
  if (found > limit && std::isfinite(found))
    parallel_elements(n, 0.5, [&](std::size_t i, std::size_t size) {
      table.scale(x + i, size, limit / found);
    });
  return found;
}

}  // namespace

std::size_t slots(const OptimizerChoice& rule) {
  const std::size_t of_kind[] = {
#define LAMINA_SLOTS(name, cycles, slots) static_cast<std::size_t>(slots),
      LAMINA_OPTIMIZERS(LAMINA_SLOTS)
#undef LAMINA_SLOTS
  };
  return of_kind[static_cast<std::size_t>(rule.kind)];
}

template <class T>
Update<T> numbers_of(const OptimizerChoice& rule, const Pace& pace,
                     std::uint64_t step) {
  const double correction2 = 1 - power(rule.second, step);
  const bool hat = rule.kind == OptimizerKind::adam && rule.variant;
  return {.rate = pace.rate,
          .first = rule.first,
          .second = rule.second,
          .epsilon = hat ? rule.epsilon / std::sqrt(correction2) : rule.epsilon,
          .variant = rule.variant,
          .keep = 1 - pace.rate * pace.decay,
          .step = pace.rate / (1 - power(rule.first, step)),
          .unbias = 1 / correction2};
}

template <class T>
void update(const OptimizerChoice& rule, const Pace& pace, std::uint64_t step, T* w,
            const T* dw, T* state, std::size_t n, std::size_t stride) {
  constexpr double cycles[] = {
#define LAMINA_CYCLES(name, cycles, slots) cycles,
      LAMINA_OPTIMIZERS(LAMINA_CYCLES)
#undef LAMINA_CYCLES
  };
  const auto kernel = kernel_of<T>(rule);
  Update<T> whole = numbers_of<T>(rule, pace, step);
  whole.w = w, whole.dw = dw, whole.state = state, whole.stride = stride;
  const double each = cycles[static_cast<std::size_t>(rule.kind)];
  parallel_elements(n, each, [&](std::size_t i, std::size_t size) {
    Update<T> part = whole;
    part.w += i, part.dw += i, part.state += i, part.n = size;
    kernel(part);
  });
}

template <class T>
void follow(const T* w, T* mean, std::size_t n, double share) {
  const Kernels<T>& table = kernels<T>();
  parallel_elements(n, 1, [&](std::size_t i, std::size_t size) {
    table.follow(w + i, mean + i, size, share);
  });
}

template <class T>
double clip(const OptimizerChoice& rule, T* dw, const std::size_t* sizes,
            std::size_t arrays) {
  const Kernels<T>& table = kernels<T>();
  std::size_t n = 0;
  for (std::size_t i = 0; i < arrays; ++i) n += sizes[i];
  if (std::isfinite(rule.clip_value))
    parallel_elements(n, 0.5, [&](std::size_t i, std::size_t size) {
      table.clip(dw + i, size, rule.clip_value);
    });
  double bad = 0;
  if (std::isfinite(rule.clip_norm)) {
    T* array = dw;
    for (std::size_t i = 0; i < arrays; array += sizes[i++]) {
      const double norm = limit_norm(table, array, sizes[i], rule.clip_norm);
      if (!std::isfinite(norm)) bad = norm;
    }
  }
  if (bad != 0 || !std::isfinite(rule.global_clip_norm)) return bad;
  return limit_norm(table, dw, n, rule.global_clip_norm);
}

template <class T>
void limit_norms(T* kernel, std::size_t rows, std::size_t cols, double limit) {
  const Kernels<T>& table = kernels<T>();
  constexpr std::size_t unit = 64;  // columns
  const std::size_t units = (cols + unit - 1) / unit;
  const double cycles = static_cast<double>(rows * unit);
  parallel(units, cycles, workers_for(units, cycles),
           [&](std::size_t first, std::size_t count, std::size_t) {
             const std::size_t begin = first * unit, end = (first + count) * unit;
             table.limit_norms(kernel + begin, rows, (end < cols ? end : cols) - begin,
                               cols, limit);
           });
}

#define LAMINA_INSTANTIATE(T)                                                        \
  template Update<T> numbers_of(const OptimizerChoice&, const Pace&, std::uint64_t); \
  template void update(const OptimizerChoice&, const Pace&, std::uint64_t, T*,       \
                       const T*, T*, std::size_t, std::size_t);                      \
  template void follow(const T*, T*, std::size_t, double);                           \
  template double clip(const OptimizerChoice&, T*, const std::size_t*, std::size_t); \
  template void limit_norms(T*, std::size_t, std::size_t, double);
LAMINA_INSTANTIATE(float)
LAMINA_INSTANTIATE(double)

}  // namespace lamina
