// The micro-kernel of the matrix product: a tile of c, kept in registers over the
// depth. Included by gemm.cpp, whose scheme and figures it shares.
#pragma once

#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {
namespace {  // internal linkage: tables of function pointers must not leave the target
namespace matrix_product {

// MR, the rows of a tile NR = `vectors` wide: as many as the registers hold. Measured
// and lost: 12 or 14 rows by two vectors for every shape (rows a multiple of 4096 bytes
// long share one set of the 8-way L1: 60 %), 24 rows by one vector (the same), 4 x 3 on
// sixteen registers (one too few, -25 %), software prefetch of b and c (nothing), a
// packed everywhere (+2 % at most, -5 to -25 % on small shapes).
constexpr std::size_t tile_rows(std::size_t vectors) {
  if (many_registers) return vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
  return vectors >= 3 ? 2 : vectors == 2 ? 6 : 12;
}
constexpr std::size_t most_vectors = 4;
constexpr std::size_t most_rows = 12;

// What follows the whole vectors of a panel, or the last of them: a part of a vector,
// or of half a one.
enum End { whole, ragged, and_half };

// How the first of so many columns, or all, are computed.
//
// At most half a vector is computed in half vectors, and such a rest is cut off a wider
// panel: 49 -> 60 % at (33,65,17), 86 -> 90 % at (100,100,100). After a single vector
// it stays, and a is read once: 60 -> 66 % at (33,65,17), 0.82 -> 0.95 of OpenBLAS at
// (128,512,10) in double; after two vectors tiles of eight rows lose 10 %, ten spill.
template <class T>
struct Panel {
  std::size_t cols, vectors, last;  // no vectors: half a one; columns in the last
  End end;

  LAMINA_INLINE explicit Panel(std::size_t available) : cols(available) {
    constexpr std::size_t lanes = Vec<T>::lanes;
    const std::size_t rest = cols % lanes;
    vectors = cols / lanes;
    last = rest;
    end = ragged;
    if (rest == 0 || (rest <= half && vectors > 1)) {
      cols -= rest;
      last = lanes;
      end = whole;
    } else if (rest > half) {
      ++vectors;
    } else if (vectors == 1) {
      end = and_half;
    }
  }

 private:
  static constexpr std::size_t half = half_registers ? Vec<T>::lanes / 2 : 0;
};

template <class T>
struct Tile {
  std::size_t depth;
  const T* a;
  std::size_t a_row_stride, a_depth_stride;
  const T* b;
  std::size_t b_stride;
  T* c;
  std::size_t c_stride;
  std::size_t last;  // columns in the last vector, if that is not whole
  bool onto_c;       // add to c instead of replacing it
};

// Half is V where the panel does not end in one.
template <class V, class Half, std::size_t rows, std::size_t vectors, End end>
void micro_kernel(const Tile<typename V::Scalar>& t) {
  using T = typename V::Scalar;
  using Native = typename V::Native;
  constexpr bool has_half = end == and_half;
  // Copies, since a store to c might change t.
  const std::size_t a_row_stride = t.a_row_stride, a_depth_stride = t.a_depth_stride;
  const std::size_t b_stride = t.b_stride, c_stride = t.c_stride, last = t.last;
  const T* a = t.a;
  const T* b = t.b;
  T* const c = t.c;
  const auto load = [last](const T* p, std::size_t v) __attribute__((always_inline)) {
    if (end == ragged && v == vectors - 1)
      return V::load_first(p + v * V::lanes, last).value;
    return V::load(p + v * V::lanes).value;
  };
  const auto load_half = [last](const T* p) __attribute__((always_inline)) {
    return Half::load_first(p + vectors * V::lanes, last).value;
  };
  // Arrays of V would be zeroed in memory, by a loop.
  Native sum[rows][vectors];
  typename Half::Native half[rows];
  repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
    repeat<vectors>([&](std::size_t v)
                        __attribute__((always_inline)) { sum[r][v] = Native{}; });
    if (has_half) half[r] = typename Half::Native{};
  });
  const bool onto_c = t.onto_c;
  for (std::size_t k = t.depth; k > 0; --k) {
    Native b_k[vectors];
    typename Half::Native half_k{};
    repeat<vectors>([&](std::size_t v)
                        __attribute__((always_inline)) { b_k[v] = load(b, v); });
    if (has_half) half_k = load_half(b);
    repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
      const V a_rk(a[r * a_row_stride]);
      repeat<vectors>([&](std::size_t v) __attribute__((always_inline)) {
        sum[r][v] = fma(a_rk, V(b_k[v]), V(sum[r][v])).value;
      });
      if (has_half) half[r] = fma(Half(a_rk), Half(half_k), Half(half[r])).value;
    });
    a += a_depth_stride;
    b += b_stride;
  }
  if (onto_c)
    repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
      const T* from = c + r * c_stride;
      repeat<vectors>([&](std::size_t v) __attribute__((always_inline)) {
        sum[r][v] = load(from, v) + sum[r][v];
      });
      if (has_half) half[r] = load_half(from) + half[r];
    });
  repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
    T* to = c + r * c_stride;
    repeat<vectors>([&](std::size_t v) __attribute__((always_inline)) {
      if (end == ragged && v == vectors - 1)
        V(sum[r][v]).store_first(to + v * V::lanes, last);
      else
        V(sum[r][v]).store(to + v * V::lanes);
    });
    if (has_half) Half(half[r]).store_first(to + vectors * V::lanes, last);
  });
}

template <class T>
struct MicroKernels {
  using Function = void (*)(const Tile<T>&);
  // [vectors][rows][end]; no vectors stands for half a one
  Function of[most_vectors + 1][most_rows + 1][3] = {};

  template <std::size_t vectors, std::size_t rows>
  constexpr void fill() {
    if constexpr (rows > 0) {
      if constexpr (vectors == 0) {
        of[0][rows][ragged] = micro_kernel<HalfVec<T>, HalfVec<T>, rows, 1, ragged>;
      } else {
        of[vectors][rows][whole] = micro_kernel<Vec<T>, Vec<T>, rows, vectors, whole>;
        of[vectors][rows][ragged] = micro_kernel<Vec<T>, Vec<T>, rows, vectors, ragged>;
        if constexpr (half_registers && vectors == 1)
          of[vectors][rows][and_half] =
              micro_kernel<Vec<T>, HalfVec<T>, rows, vectors, and_half>;
      }
      fill<vectors, rows - 1>();
    }
  }
  constexpr MicroKernels() {
    if constexpr (half_registers) fill<0, tile_rows(0)>();
    fill<1, tile_rows(1)>();
    fill<2, tile_rows(2)>();
    fill<3, tile_rows(3)>();
    fill<4, tile_rows(4)>();
  }
};
template <class T>
constexpr MicroKernels<T> micro_kernels{};

}  // namespace matrix_product
}  // namespace
}  // namespace lamina::LAMINA_TARGET
