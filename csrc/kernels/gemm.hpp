// Matrix product c = a b for the shapes of dense layers, and the column sums of a
// gradient.
//
// The scheme is Goto's (Goto & van de Geijn 2008, "Anatomy of high-performance matrix
// multiplication"; the names MC, NC and KC are theirs), with one change: a is not
// packed by tiles. The micro-kernel keeps a tile of c in registers, broadcasts elements
// of a from where they lie, and reads b in place or from a packed panel as wide as the
// tile.
//
//   for each NC columns of b            (only if b is packed: what `scratch` holds)
//     for each KC of the depth          (a panel of b stays in L2)
//       for each MC rows of a           (a block of a stays in L2)
//         for each panel of columns     (packed here, just before its first use)
//           for each tile of rows       (micro_kernel)
//
// Contract: every element of c is one chain of fma, from k = 0 upwards, whatever the
// tiles and blocks; a later part of the depth loads c and goes on. Results therefore
// depend neither on the register width nor on how the caller cuts rows and columns
// between threads. The one exception is `dot_product` (few rows, b by columns), which
// runs in the virtual lanes of Lanes<T>; it is chosen by shape and strides alone, never
// by target, so cut rows at fixed borders.
//
// Bias, activation, column sums and updates are passes of their own: in the tile's
// epilogue they were measured to gain nothing, and Adam to lose.
//
// Figures are for (rows, depth, cols) of float, from a Zen 4 core with 1 MiB of L2, in
// per cent of its peak of fma.
#pragma once

#include <cstddef>

#include "kernels/dot_product.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/packing.hpp"
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

// Blocks, in elements, for either type and every target: half of KC or of MC gained
// nothing with AVX2 or double, and KC = 256 loses 3 to 5 % at (512,1024,1024).
constexpr std::size_t KC = 512;   // panel of 64 floats: 128 KiB; six rows of a: 12 KiB
constexpr std::size_t MC = 480;   // an MC x KC block of a is read again for every panel
constexpr std::size_t NC = 1024;  // 512 to 4096 alike; bounds the scratch for b
constexpr std::size_t L2 = 1 << 20;  // bytes; what is larger takes another path

// Cuts `extent` into the fewest equal parts of at most `most`.
struct EqualParts {
  std::size_t count, size, longer;  // the first `longer` parts have size + 1

  LAMINA_INLINE EqualParts(std::size_t extent, std::size_t most)
      : count(1), size(extent), longer(0) {
    if (extent <= most) return;  // small products spare the divisions
    count = parts(extent, most);
    size = extent / count;
    longer = extent % count;
  }
  LAMINA_INLINE std::size_t operator[](std::size_t i) const {
    return size + (i < longer ? 1 : 0);
  }
};

// ---------------------------------------------------------------- micro-kernel

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

template <class T, std::size_t rows, std::size_t vectors, bool ragged>
void micro_kernel(const Tile<T>& t) {
  using V = Vec<T>;
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
  Function of[most_vectors + 1][most_rows + 1][2] = {};  // [vectors][rows][ragged]

  template <std::size_t vectors, std::size_t rows>
  constexpr void fill() {
    if constexpr (rows > 0) {
      of[vectors][rows][0] = micro_kernel<T, rows, vectors, false>;
      of[vectors][rows][1] = micro_kernel<T, rows, vectors, true>;
      fill<vectors, rows - 1>();
    }
  }
  constexpr MicroKernels() {
    fill<1, tile_rows(1)>();
    fill<2, tile_rows(2)>();
    fill<3, tile_rows(3)>();
    fill<4, tile_rows(4)>();
  }
};
template <class T>
constexpr MicroKernels<T> micro_kernels{};

// ---------------------------------------------------------------- blocks

// Which blocks, and what is copied. Nothing here changes a bit of the result.
template <class T>
struct Blocking {
  std::size_t vectors;  // NR: width of a panel
  std::size_t kc, mc, nc;
  bool by_columns;  // b: transposed into panels
  bool packed;      // b: in panels, transposed or merely copied
  bool copies_a;

  LAMINA_INLINE explicit Blocking(const Product<T>& p) {
    const std::size_t bytes_of_b = p.depth * p.cols * sizeof(T);
    by_columns = p.b_col_stride != 1;

    // Seven or eight rows make one tile of two vectors, not two of four: 75 -> 84 % at
    // (7,100,100). With sixteen registers, one or two rows need four vectors to hide
    // the latency of fma: 40 -> 53 % at (2,64,64).
    if (many_registers)
      vectors = p.rows == 7 || p.rows == 8 ? 2 : 4;
    else
      vectors = p.rows <= 2 ? 4 : 2;

    // A panel read in place touches one row of b, often one page, per step. Packing
    // gains 0 to 10 % at (512,1024,1024), and with the narrow panels of AVX2 from 57 to
    // 75 % of peak there, 87 -> 92 % at (256,300,300). It loses up to 15 % where b is
    // smaller, and up to 3 % with fewer rows.
    constexpr std::size_t large = many_registers ? L2 : L2 / 4;
    packed = by_columns || (bytes_of_b > large && p.rows >= 256);
    nc = packed ? NC : p.cols;

    // A row times a matrix beyond L2: eight whole rows of b at a time, as prefetchers
    // like it. 25 -> 31 % at (1,1024,1024); within L2 it loses 15 %.
    kc = p.rows == 1 && !by_columns && bytes_of_b > L2 ? 8 : KC;

    // With hardly any depth the time goes into writing c: rows outside, columns inside.
    // 11 -> 22 % at (1024,1,1024); a c within L2 loses 5 %.
    mc = p.depth <= 8 && p.rows * p.cols * sizeof(T) > L2 ? tile_rows(vectors) : MC;

    // The columns of a large matrix collide in L1 and L2 if its stride is near a power
    // of two: 71 -> 81 % (AVX2), 85 -> 88 % (AVX-512) at (1024,512,1024). The copy
    // keeps the order of a.
    copies_a = p.a_row_stride == 1 && p.cols >= 192 &&
               p.depth * p.a_depth_stride * sizeof(T) > L2;
  }
  // A single block of rows uses each panel only once: one is kept, else NC columns.
  bool keeps_panels(const Product<T>& p) const { return p.rows > mc; }
  // An odd number of cache lines, so that columns spread over all sets of the cache.
  static std::size_t copy_stride(std::size_t rows) {
    constexpr std::size_t line = 64 / sizeof(T);
    return (parts(rows, line) | 1) * line;
  }
  // Elements of scratch: first the block of a, then the panels of b.
  std::size_t scratch_of_a(const Product<T>& p) const {
    return copies_a ? smaller(p.depth, kc) * copy_stride(smaller(p.rows, mc)) : 0;
  }
  std::size_t scratch(const Product<T>& p) const {
    constexpr std::size_t lanes = Vec<T>::lanes;
    const std::size_t cols = smaller(p.cols, keeps_panels(p) ? nc : vectors * lanes);
    const std::size_t panels = smaller(p.depth, kc) * parts(cols, lanes) * lanes;
    return scratch_of_a(p) + (packed ? panels : 0);
  }
};

template <class T>
void blocked_product(const Product<T>& p) {
  constexpr std::size_t lanes = Vec<T>::lanes;
  const Blocking<T> blocking(p);
  const EqualParts depths(p.depth, blocking.kc), heights(p.rows, blocking.mc);
  const bool keeps_panels = blocking.keeps_panels(p);
  Tile<T> t;
  t.a_row_stride = p.a_row_stride;
  t.c_stride = p.c_row_stride;
  for (std::size_t jc = 0; jc < p.cols; jc += blocking.nc) {
    const std::size_t cols_end = smaller(p.cols, jc + blocking.nc);
    std::size_t k = 0;
    for (std::size_t pc = 0; pc < depths.count; k += depths[pc++]) {
      t.depth = depths[pc];
      t.from_c = p.accumulate || k > 0;
      std::size_t row = 0;
      for (std::size_t ic = 0; ic < heights.count; row += heights[ic++]) {
        const T* a = p.a + row * p.a_row_stride + k * p.a_depth_stride;
        t.a_depth_stride = p.a_depth_stride;
        if (blocking.copies_a) {
          t.a_depth_stride = blocking.copy_stride(heights[ic]);
          pack_rows(a, p.a_depth_stride, t.depth, heights[ic], p.scratch,
                    t.a_depth_stride);
          a = p.scratch;
        }
        T* panel = p.scratch + blocking.scratch_of_a(p);
        for (std::size_t j = jc; j < cols_end;) {
          const std::size_t cols = smaller(cols_end - j, blocking.vectors * lanes);
          const std::size_t vectors = smaller(parts(cols, lanes), most_vectors);
          t.last = cols - (vectors - 1) * lanes;
          const T* b = p.b + k * p.b_depth_stride + j * p.b_col_stride;
          t.b = b;
          t.b_stride = p.b_depth_stride;
          if (blocking.packed) {
            t.b = panel;
            t.b_stride = vectors * lanes;
            if (ic == 0 && blocking.by_columns)
              pack_columns(b, p.b_col_stride, t.depth, cols, panel);
            else if (ic == 0)
              pack_rows(b, p.b_depth_stride, t.depth, cols, panel, t.b_stride);
            if (keeps_panels) panel += t.depth * t.b_stride;
          }
          const EqualParts tiles(heights[ic], tile_rows(vectors));
          const auto& kernels = micro_kernels<T>.of[vectors];
          const bool ragged = t.last < lanes;
          t.a = a;
          t.c = p.c + row * p.c_row_stride + j;
          for (std::size_t i = 0; i < tiles.count; ++i) {
            const std::size_t rows = tiles[i];
            kernels[rows][ragged](t);
            t.a += rows * t.a_row_stride;
            t.c += rows * t.c_stride;
          }
          j += cols;
        }
      }
    }
  }
}

// ---------------------------------------------------------------- single columns

// A single column, contiguous in b and c, is a single row of the transposed product:
// eight times as fast as tiles with one lane in use (a layer with one output).
template <class T>
Product<T> as_row(Product<T> p) {
  if (p.cols != 1 || p.c_row_stride != 1 || p.b_depth_stride != 1) return p;
  Product<T> t = p;
  t.rows = 1;
  t.cols = p.rows;
  t.a = p.b;
  t.a_row_stride = p.depth;
  t.a_depth_stride = 1;
  t.b = p.a;
  t.b_depth_stride = p.a_depth_stride;
  t.b_col_stride = p.a_row_stride;
  t.c_row_stride = p.rows;
  return t;
}

// ---------------------------------------------------------------- column sums

template <class T, std::size_t vectors, bool ragged>
LAMINA_INLINE void sum_panel(const T* x, std::size_t rows, std::size_t stride, T* sums,
                             std::size_t last) {
  using V = Vec<T>;
  V sum[vectors];
  for (std::size_t i = 0; i < rows; ++i, x += stride)
    for (std::size_t v = 0; v < vectors; ++v)
      sum[v] = sum[v] + (ragged ? V::load_first(x + v * V::lanes, last)
                                : V::load(x + v * V::lanes));
  for (std::size_t v = 0; v < vectors; ++v) {
    if (ragged)
      sum[v].store_first(sums + v * V::lanes, last);
    else
      sum[v].store(sums + v * V::lanes);
  }
}

}  // namespace matrix_product
}  // namespace

// Elements of scratch that gemm() needs for this product.
template <class T>
std::size_t gemm_scratch(const Product<T>& product) {
  const Product<T> p = matrix_product::as_row(product);
  if (p.rows == 0 || p.cols == 0 || p.depth == 0 || is_dot_product(p)) return 0;
  return matrix_product::Blocking<T>(p).scratch(p);
}

template <class T>
void gemm(const Product<T>& product) {
  const Product<T> p = matrix_product::as_row(product);
  if (p.rows == 0 || p.cols == 0) return;
  if (p.depth == 0) {
    for (std::size_t i = 0; i < p.rows && !p.accumulate; ++i)
      for (std::size_t j = 0; j < p.cols; ++j) p.c[i * p.c_row_stride + j] = 0;
  } else if (!is_dot_product(p)) {
    matrix_product::blocked_product(p);
  } else if (p.rows == 1) {
    dot_product<T, 1>(p);
  } else if (p.rows == 2) {
    dot_product<T, 2>(p);
  } else if (p.rows == 3) {
    dot_product<T, 3>(p);
  } else {
    dot_product<T, 4>(p);
  }
}

// sums[j] = sum over the contiguous rows of x[i, j], rows added in order. Four vectors
// side by side: three times as fast as one at 1024 columns.
template <class T>
void column_sums(const T* x, std::size_t rows, std::size_t cols, T* sums) {
  using V = Vec<T>;
  std::size_t j = 0;
  for (; j + 4 * V::lanes <= cols; j += 4 * V::lanes)
    matrix_product::sum_panel<T, 4, false>(x + j, rows, cols, sums + j, 0);
  for (; j + V::lanes <= cols; j += V::lanes)
    matrix_product::sum_panel<T, 1, false>(x + j, rows, cols, sums + j, 0);
  if (j < cols)
    matrix_product::sum_panel<T, 1, true>(x + j, rows, cols, sums + j, cols - j);
}

}  // namespace lamina::LAMINA_TARGET
