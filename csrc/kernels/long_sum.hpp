// Sums of any length, in blocks at fixed borders, whatever the target, the tiles and
// the threads.
#pragma once

#include "kernels/kernel_table.hpp"
#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

// What is summed in lanes, until each has added a chain.
template <class T>
constexpr std::size_t lane_block = chain * Lanes<T>::count;

// A sum of blocks, in each lane: `high` is its value, rounded once, `low` what the
// rounding took.
template <class T>
struct LongSum {
  using V = Vec<T>;
  V high, low;

  // Knuth's two-sum, whose error is not a number where the sum is not finite.
  LAMINA_INLINE void add(V x) {
    const V sum = high + x, seen = sum - high;
    const V error = ((high - (sum - seen)) + (x - seen)) + low;
    const V rest = select(error == error, error, 0.0);
    high = sum + rest;
    low = rest - (high - sum);
  }
};

// Calls use(begin, end) for blocks of so many of n, once if there are none.
template <class Use>
LAMINA_INLINE void for_blocks(std::size_t n, std::size_t block, Use use) {
  std::size_t begin = 0;
  do {
    const std::size_t end = begin + smaller(n - begin, block);
    use(begin, end);
    begin = end;
  } while (begin < n);
}

// The sum of sum_of(begin, end) over such blocks.
template <class T, class Sum>
LAMINA_INLINE T sum_of_blocks(std::size_t n, std::size_t block, Sum sum_of) {
  const T first = sum_of(0, smaller(n, block));
  if (n <= block) return first;
  LongSum<T> sum{first, 0.0};
  for (std::size_t begin = block; begin < n; begin += block)
    sum.add(sum_of(begin, begin + smaller(n - begin, block)));
  return sum.high.value[0];
}

// Calls rows(length) once for all rows of so many columns: what is summed over them in
// lanes is one block, or several. One loop for both would take a sixth longer over a
// hundred columns.
struct OneBlock {
  template <class T, class Sum>
  static LAMINA_INLINE T sum(std::size_t n, Sum sum_of) {
    return sum_of(std::size_t{0}, n);
  }
};
struct Blocks {
  template <class T, class Sum>
  static LAMINA_INLINE T sum(std::size_t n, Sum sum_of) {
    return sum_of_blocks<T>(n, lane_block<T>, sum_of);
  }
};
template <class T, class Rows>
LAMINA_INLINE void by_length(std::size_t cols, Rows rows) {
  cols <= lane_block<T> ? rows(OneBlock{}) : rows(Blocks{});
}

// Adds blocks to n LongSums.
template <class T>
LAMINA_INLINE void add_block(T* high, T* low, const T* block, std::size_t n) {
  for_vectors<T>(n, [=](auto load, auto store) {
    LongSum<T> sum{load(high), load(low)};
    sum.add(load(block));
    store(sum.high, high);
    store(sum.low, low);
  });
}

}  // namespace lamina::LAMINA_TARGET
