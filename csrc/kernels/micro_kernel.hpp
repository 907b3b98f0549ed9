// The micro-kernel of the matrix product: a tile of c, kept in registers over the
// depth. Included by gemm.hpp, whose scheme and figures it shares.
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

// A panel of at most half a vector is computed in half vectors, and such an end is cut
// off a wider panel: 49 -> 60 % at (33,65,17), 86 -> 90 % at (100,100,100). Tiles that
// end in a half vector instead, as lower halves of whole registers, reached 64 and 85
// %. Rows of 4096 bytes stay with six of them, 85 % of OpenBLAS at (128,512,10) in
// double: with eight alike, ten lose 8 %, twelve 25 %.
template <class T>
constexpr bool fits_half(std::size_t cols) {
  return half_registers && cols <= Vec<T>::lanes / 2;
}

template <class T>
struct Tile {
  std::size_t depth;
  const T* a;
  std::size_t a_row_stride, a_depth_stride;
  const T* b;
  std::size_t b_stride;
  T* c;
  std::size_t c_stride;
  std::size_t last;  // columns in the last vector of a ragged tile
  bool from_c;       // start from c instead of zero
};

template <class V, std::size_t rows, std::size_t vectors, bool ragged>
void micro_kernel(const Tile<typename V::Scalar>& t) {
  using T = typename V::Scalar;
  using Native = typename V::Native;
  // Copies, since a store to c might change t.
  const std::size_t a_row_stride = t.a_row_stride, a_depth_stride = t.a_depth_stride;
  const std::size_t b_stride = t.b_stride, c_stride = t.c_stride, last = t.last;
  const T* a = t.a;
  const T* b = t.b;
  T* const c = t.c;
  const auto load = [last](const T* p, std::size_t v) __attribute__((always_inline)) {
    if (ragged && v == vectors - 1) return V::load_first(p + v * V::lanes, last).value;
    return V::load(p + v * V::lanes).value;
  };
  const auto each = [](auto f) __attribute__((always_inline)) {
    repeat<rows>([f](std::size_t r) __attribute__((always_inline)) {
      repeat<vectors>([f, r](std::size_t v)
                          __attribute__((always_inline)) { f(r, v); });
    });
  };
  Native sum[rows][vectors];  // an array of V would be zeroed in memory, by a loop
  if (t.from_c)
    each([&](std::size_t r, std::size_t v)
             __attribute__((always_inline)) { sum[r][v] = load(c + r * c_stride, v); });
  else
    each([&](std::size_t r, std::size_t v)
             __attribute__((always_inline)) { sum[r][v] = Native{}; });
  for (std::size_t k = t.depth; k > 0; --k) {
    Native b_k[vectors];
    repeat<vectors>([&](std::size_t v)
                        __attribute__((always_inline)) { b_k[v] = load(b, v); });
    repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
      const V a_rk(a[r * a_row_stride]);
      repeat<vectors>([&](std::size_t v) __attribute__((always_inline)) {
        sum[r][v] = fma(a_rk, V(b_k[v]), V(sum[r][v])).value;
      });
    });
    a += a_depth_stride;
    b += b_stride;
  }
  each([&](std::size_t r, std::size_t v) __attribute__((always_inline)) {
    T* to = c + r * c_stride + v * V::lanes;
    if (ragged && v == vectors - 1)
      V(sum[r][v]).store_first(to, last);
    else
      V(sum[r][v]).store(to);
  });
}

template <class T>
struct MicroKernels {
  using Function = void (*)(const Tile<T>&);
  // [vectors][rows][ragged]; no vectors stands for half a one
  Function of[most_vectors + 1][most_rows + 1][2] = {};

  template <std::size_t vectors, std::size_t rows>
  constexpr void fill() {
    if constexpr (rows > 0) {
      if constexpr (vectors == 0) {
        of[0][rows][1] = micro_kernel<HalfVec<T>, rows, 1, true>;
      } else {
        of[vectors][rows][0] = micro_kernel<Vec<T>, rows, vectors, false>;
        of[vectors][rows][1] = micro_kernel<Vec<T>, rows, vectors, true>;
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
