// Arrays of registers: straight-line loops, transposes and folds without memory.
// Included by the matrix products and by what works on rows.
#pragma once

#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool many_registers = true;  // 32 vector registers, else 16
#else
constexpr bool many_registers = false;
#endif

constexpr std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }
constexpr std::size_t parts(std::size_t n, std::size_t most) {
  return (n + most - 1) / most;
}

// The elements of an array before its first border of registers, which the arrays of
// NumPy lie 16 bytes beside: light loops that begin there take 0.5 to 0.95 of the time.
// None of a short array.
template <class T>
LAMINA_INLINE std::size_t before_border(const T* p, std::size_t n) {
  constexpr std::size_t lanes = Vec<T>::lanes;
  const std::size_t past = reinterpret_cast<std::uintptr_t>(p) / sizeof(T) % lanes;
  return past > 0 && n >= 8 * lanes ? lanes - past : 0;
}

// Calls step(load, store) for each vector of n elements, after one of the `first`:
// load(p) and store(v, p) act on the current position of an array p.
template <class T, class Step>
LAMINA_INLINE void for_vectors(std::size_t n, Step step, std::size_t first = 0) {
  using V = Vec<T>;
  const auto some = [=](std::size_t at, std::size_t count)
                        __attribute__((always_inline)) {
                          step([=](const T* p) { return V::load_first(p + at, count); },
                               [=](V v, T* p) { v.store_first(p + at, count); });
                        };
  std::size_t i = first;
  if (first > 0) some(0, first);
  for (; i + V::lanes <= n; i += V::lanes)
    step([=](const T* p) { return V::load(p + i); },
         [=](V v, T* p) { v.store(p + i); });
  if (i < n) some(i, n - i);
}

// f(0), ..., f(n - 1) as straight code. GCC 12 unrolls nested loops too late to keep
// their arrays of vectors out of memory.
template <std::size_t n, class Function>
LAMINA_INLINE void repeat(Function f) {
  if constexpr (n > 1) repeat<n - 1>(f);
  f(n - 1);
}

template <std::size_t... I>
struct Indices {};
template <std::size_t n, std::size_t... I>
struct FirstIndices : FirstIndices<n - 1, n - 1, I...> {};
template <std::size_t... I>
struct FirstIndices<0, I...> {
  using type = Indices<I...>;
};

// Lane i of the result is lane Pattern::at(i) of x and y laid end to end.
template <class Pattern, class Native, std::size_t... I>
LAMINA_INLINE Native shuffle(Native x, Native y, Indices<I...>) {
  return __builtin_shufflevector(x, y, Pattern::at(I)...);
}

// In each group of lanes: its even (odd) blocks of `size` lanes of x, then those of y.
template <std::size_t size, std::size_t group, std::size_t lanes, bool odd>
struct GatherBlocks {
  static constexpr int at(std::size_t i) {
    const std::size_t in_group = i % group, block = in_group / size * 2 * size;
    const std::size_t from = block < group ? block : block - group + lanes;
    return static_cast<int>(from + i - in_group + in_group % size + (odd ? size : 0));
  }
};

template <std::size_t size, std::size_t group, std::size_t distance, std::size_t lanes,
          class Native>
LAMINA_INLINE void transpose_blocks(Native (&square)[lanes]) {
  if constexpr (distance < group) {
    using All = typename FirstIndices<lanes>::type;
    repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
      if (i & distance) return;
      const Native x = square[i], y = square[i + distance];
      square[i] = shuffle<GatherBlocks<size, group, lanes, false>>(x, y, All{});
      square[i + distance] =
          shuffle<GatherBlocks<size, group, lanes, true>>(x, y, All{});
    });
    transpose_blocks<size, group, 2 * distance>(square);
  }
}
// Transposes a square of lanes x lanes elements, in log2(lanes) steps: first within 16
// bytes, then the blocks of 16 bytes, since x86 has an instruction for each such step.
// 80 -> 85 % for the product dz w^T of (32,64,64).
// Template recursion, since GCC 12 keeps the square in memory if a loop doubles
// `distance`.
template <std::size_t lanes, class Native>
LAMINA_INLINE void transpose(Native (&square)[lanes]) {
  constexpr std::size_t block = 16 * lanes / sizeof(Native);
  transpose_blocks<1, block, 1>(square);
  transpose_blocks<block, lanes, block>(square);
}

// Folds lane i with lane i + half, halving: v op its upper half, down to one number.
template <class T, std::size_t... Lane, class Native, class Combine>
LAMINA_INLINE T fold_halves(Indices<Lane...>, Native v, Combine combine) {
  constexpr std::size_t half = sizeof...(Lane);
  const auto lower = __builtin_shufflevector(v, v, Lane...);
  const auto upper = __builtin_shufflevector(v, v, (Lane + half)...);
  if constexpr (half == 1)
    return combine(lower[0], upper[0]);
  else
    return fold_halves<T>(typename FirstIndices<half / 2>::type{},
                          combine(lower, upper), combine);
}

// Folds the lanes with `combine`, of two registers or two numbers, always in the same
// order.
template <class T, class Combine>
LAMINA_INLINE T fold(Lanes<T> a, Combine combine) {
  for (std::size_t half = Lanes<T>::parts / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i)
      a.part[i] = combine(a.part[i].value, a.part[i + half].value);
  return fold_halves<T>(typename FirstIndices<Vec<T>::lanes / 2>::type{},
                        a.part[0].value, combine);
}

// Lane i of the result is the sum over the lanes of vector[i], by the tree of fold().
template <std::size_t count, std::size_t lanes, class Native>
LAMINA_INLINE Native fold_each(const Native* vector) {
  using All = typename FirstIndices<lanes>::type;
  constexpr std::size_t size = count / 2;
  Native half[size];
  repeat<size>([&](std::size_t i) __attribute__((always_inline)) {
    const Native x = vector[2 * i], y = vector[2 * i + 1];
    half[i] = shuffle<GatherBlocks<size, lanes, lanes, false>>(x, y, All{}) +
              shuffle<GatherBlocks<size, lanes, lanes, true>>(x, y, All{});
  });
  if constexpr (size > 1)
    return fold_each<size, lanes>(half);
  else
    return half[0];
}

}  // namespace lamina::LAMINA_TARGET
