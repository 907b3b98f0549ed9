// Products of sparse rows. Each element is one chain of fused multiply-adds, in the
// order of the entries, in blocks of `chain` terms as every long sum.
#pragma once

#include "kernels/dropout.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/long_sum.hpp"
#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

// Of one row, entries begin ... end - 1 of x: n vectors of y, whose last one has
// `width` elements; w and y begin at the first of them. Rows of w lie anywhere, so that
// the time is that of waiting for them: those of the entries to come are asked for
// before.
// finish(sum, y) is what becomes of them.
template <std::size_t n, class T, class Finish>
LAMINA_INLINE void sparse_row(const SparseRows<T>& x, std::size_t begin,
                              std::size_t end, const T* w, std::size_t cols,
                              std::size_t width, T* y, Finish finish) {
  using V = Vec<T>;
  // 16 KiB of them: 7.0 -> 3.8 ms from 16 to 64 rows of 256 bytes, 1.2 times as long
  // from 128 (a million entries, 25 MB of w).
  constexpr std::size_t ahead = smaller(64, 16384 / (n * V::lanes * sizeof(T)));
  constexpr std::size_t line = 64 / sizeof(T);
  constexpr std::size_t lines = parts(n * V::lanes, line);
  const std::size_t last = x.starts[x.rows] - 1;
  const std::int32_t* const columns = x.columns;
  const T* const values = x.values;
  const bool whole = width == V::lanes;
  const auto sum_of = [=](std::size_t from, std::size_t to,
                          V(&sum)[n]) __attribute__((always_inline)) {
    for (auto& s : sum) s = V(0.0);
    for (std::size_t e = from; e < to; ++e) {
      const auto next = static_cast<std::size_t>(columns[smaller(e + ahead, last)]);
      repeat<lines>([&](std::size_t i) __attribute__((always_inline)) {
        __builtin_prefetch(w + next * cols + i * line);
      });
      __builtin_prefetch(w + next * cols + n * V::lanes -
                         1);  // w at no border of lines
      const T* const row = w + static_cast<std::size_t>(columns[e]) * cols;
      const V value = V(values[e]);
      repeat<n>([&](std::size_t k) __attribute__((always_inline)) {
        const T* const p = row + k * V::lanes;
        const V v = whole || k + 1 < n ? V::load(p) : V::load_first(p, width);
        sum[k] = fma(value, v, sum[k]);
      });
    }
  };
  V sum[n];
  sum_of(begin, smaller(end, begin + chain), sum);
  if (end - begin > chain) {
    LongSum<T> sums[n];
    for (std::size_t k = 0; k < n; ++k) sums[k] = {sum[k], 0.0};
    for (std::size_t e = begin + chain; e < end; e += chain) {
      sum_of(e, smaller(end, e + chain), sum);
      for (std::size_t k = 0; k < n; ++k) sums[k].add(sum[k]);
    }
    for (std::size_t k = 0; k < n; ++k) sum[k] = sums[k].high;
  }
  repeat<n>([&](std::size_t k) __attribute__((always_inline)) {
    T* const p = y + k * V::lanes;
    if (whole || k + 1 < n)
      finish(sum[k], [=] { return V::load(p); }).store(p);
    else
      finish(sum[k], [=] { return V::load_first(p, width); }).store_first(p, width);
  });
}

// Of all rows.
template <class T, class Finish>
LAMINA_INLINE void sparse_rows(const SparseRows<T>& x, const T* w, std::size_t cols,
                               const std::int32_t* places, T* y, Finish finish) {
  constexpr std::size_t lanes = Vec<T>::lanes, ahead = 32, line = 64 / sizeof(T);
  const auto place = [=](std::size_t i) {
    return (places ? static_cast<std::size_t>(places[i]) : i) * cols;
  };
  for (std::size_t i = 0; i < x.rows; ++i) {
    if (places && i + ahead < x.rows)
      for (std::size_t j = 0; j < cols; j += line)
        __builtin_prefetch(y + place(i + ahead) + j, 1);
    const std::size_t begin = x.starts[i], end = x.starts[i + 1];
    T* const row = y + place(i);
    std::size_t j = 0;
    for (; j + 8 * lanes <= cols; j += 8 * lanes)
      sparse_row<8>(x, begin, end, w + j, cols, lanes, row + j, finish);
    if (j + 4 * lanes <= cols) {
      sparse_row<4>(x, begin, end, w + j, cols, lanes, row + j, finish);
      j += 4 * lanes;
    }
    for (; j < cols; j += lanes)
      sparse_row<1>(x, begin, end, w + j, cols, smaller(lanes, cols - j), row + j,
                    finish);
  }
}

template <class T>
[[gnu::flatten]] void sparse_product(const SparseRows<T>& x, const T* w,
                                     std::size_t cols, const std::int32_t* places,
                                     T* y) {
  sparse_rows(x, w, cols, places, y, [](Vec<T> sum, auto) { return sum; });
}

template <class T>
[[gnu::flatten]] void sparse_add(const SparseRows<T>& x, const T* w, std::size_t cols,
                                 const std::int32_t* places, T factor, T* y) {
  sparse_rows(x, w, cols, places, y,
              [=](Vec<T> sum, auto load) { return fma(Vec<T>(factor), sum, load()); });
}

template <class T>
[[gnu::flatten]] void sparse_dropout(const SparseRows<T>& x, std::size_t features, T* y,
                                     const DropoutBits& bits,
                                     const DropoutValues& values) {
  constexpr std::size_t lanes = LAMINA_VECTOR_BYTES / 8;
  const Philox random(bits.seed, bits.stream);
  for (std::size_t i = 0; i < x.rows; ++i) {
    const std::uint64_t first = bits.offset + i * features;
    for (std::size_t e = x.starts[i]; e < x.starts[i + 1]; e += lanes) {
      const std::size_t count = smaller(lanes, x.starts[i + 1] - e);
      std::uint64_t element[lanes] = {};
      U64 counter = {}, words[4];
      for (std::size_t k = 0; k < count; ++k) {
        element[k] = first + static_cast<std::uint64_t>(x.columns[e + k]);
        counter[k] = element[k] / block_size * Philox::counters + element[k] % 16;
      }
      random.words_of(counter, words);
      for (std::size_t k = 0; k < count; ++k) {
        const std::uint64_t word = words[element[k] / 32 % 4][k];
        const std::uint64_t own = (element[k] % 32 < 16 ? word : word >> 16) & 0xffff;
        y[e + k] = own < bits.threshold
                       ? T(0)
                       : static_cast<T>(values.scale) * x.values[e + k];
      }
    }
  }
}

}  // namespace lamina::LAMINA_TARGET
