// Sums of any length. A chain of n additions may drift: all its roundings may go the
// same way, by n / 4 units of roundoff where the terms are equal. So chains end after
// `chain` terms (7.6e-6 in float), and start anew from zero; the sums of such blocks
// are added with what rounding took from them, so that their number does not matter.
// Blocks begin at fixed borders, whatever the target, the tiles and the threads.
#pragma once

#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

constexpr std::size_t chain = 512;

// The sum of blocks in each lane: `high` is its value, rounded once, `low` the rest.
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
  // The sum of the first block is taken as it is, to the sign of a zero.
  LAMINA_INLINE void add(T block, bool first) {
    if (first)
      *this = {block, 0.0};
    else
      add(V(block));
  }
  LAMINA_INLINE T value() const { return high.value[0]; }
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
  LongSum<T> sum;
  for_blocks(n, block, [&](std::size_t begin, std::size_t end) {
    sum.add(sum_of(begin, end), begin == 0);
  });
  return sum.value();
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
