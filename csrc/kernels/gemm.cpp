// Matrix product c = a b for the shapes of dense layers.
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
// Contract: every element of c is a sum of chains of fma, one for each KC of the depth,
// from k = 0 upwards, each from zero and then added to c, whatever the tiles and the
// other blocks; beyond a span, as LongProduct says. Results therefore depend neither on
// the register width nor on how the caller cuts rows and columns between threads. The
// one exception is `dot_product` (few rows, b by columns), which runs in the virtual
// lanes of Lanes<T>; it is chosen by shape and strides alone, never by target, so cut
// rows at fixed borders. A transposed product (below) makes the same chains.
//
// Bias, activation, column sums and updates are passes of their own: in the tile's
// epilogue they were measured to gain nothing, and Adam to lose.
//
// Figures are for (rows, depth, cols) of float, from a Zen 4 core with 1 MiB of L2, in
// per cent of its peak of fma.
//
// A file of its own in each target, since GCC must not order instructions here before
// it gives out registers, as it does for the loops of target.cpp: it would hoist loads,
// keep sums on the stack, and wait for them there. In that order the product reached 76
// per cent of the peak at (256,512,512) on Zen 5, which does two fma of 64 bytes in a
// cycle, without it 97; on SSE2 the order cost a third of the speed.
#include <cstddef>

#include "kernels/dot_product.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/long_sum.hpp"
#include "kernels/micro_kernel.hpp"
#include "kernels/packing.hpp"
#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

template <class T>
std::size_t gemm_scratch(const Product<T>& product);
template <class T>
void gemm(const Product<T>& product);

namespace {  // as in micro_kernel.hpp
namespace matrix_product {

// Blocks, in elements, for either type. KC is the length of a chain: it decides bits.
// 256 loses 3 to 5 % at (512,1024,1024), with AVX2 up to 3 %. The narrow panels of AVX2
// are computed in half the time, in which a block of a must come again: 86 -> 92 % of
// OpenBLAS at (1024,512,1024) with MC = 96 instead of 480, 48 loses 1 to 2 %. AVX-512:
// 96 to 480 alike.
constexpr std::size_t KC = chain;  // panel of 64 floats: 128 KiB; six rows of a: 12 KiB
constexpr std::size_t MC = many_registers ? 480 : 96;
constexpr std::size_t NC = 1024;  // 512 to 4096 alike; bounds the scratch for b
constexpr std::size_t L1 = 1 << 15, L2 = 1 << 20;  // bytes

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

// ---------------------------------------------------------------- blocks

// An odd number of cache lines, so that columns spread over all sets of the cache.
template <class T>
constexpr std::size_t odd_lines(std::size_t count) {
  constexpr std::size_t line = 64 / sizeof(T);
  return (parts(count, line) | 1) * line;
}

// Which blocks, and what is copied. Nothing here changes a bit of the result.
template <class T>
struct Blocking {
  std::size_t vectors;  // NR: width of a panel
  std::size_t mc, nc;
  std::size_t most_tile_rows;
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
    // gains 0 to 10 % at (512,1024,1024), and loses up to 15 % where b is smaller, or
    // up to 7 % with fewer rows. The narrow panels of AVX2 collide in L1: 81 -> 100 %
    // of OpenBLAS at (128,784,256) and (784,128,256), 86 -> 99 % at (256,64,256). What
    // packing reads need not be prefetched: 8 or 16 rows ahead gain nothing, 32 lose.
    constexpr std::size_t large = many_registers ? L2 : L1;
    constexpr std::size_t tall = many_registers ? 256 : 128;
    packed = by_columns || (bytes_of_b > large && p.rows >= tall);
    nc = packed ? NC : p.cols;

    // More rows would share one set of the 8-way L1: 89 -> 99 % at (128,1024,32).
    most_tile_rows = p.a_row_stride * sizeof(T) % 4096 == 0 ? 6 : most_rows;

    // With hardly any depth the time goes into writing c: rows outside, columns inside.
    // 11 -> 22 % at (1024,1,1024); a c within L2 loses 5 %. Three or four rows instead
    // of six are alike, one or two lose 25 %, eight 12 %.
    mc = p.depth <= 8 && p.rows * p.cols * sizeof(T) > L2 ? tile_rows(vectors) : MC;

    // The columns of a large matrix collide in L1 and L2 if its stride is near a power
    // of two: 85 -> 88 % at (1024,512,1024); with AVX2 71 -> 81 % there, 90 -> 98 % of
    // OpenBLAS at (784,128,256). The copy keeps the order of a.
    copies_a = p.a_row_stride == 1 && p.cols >= 192 &&
               p.depth * p.a_depth_stride * sizeof(T) > large;
  }
  // A single block of rows uses each panel only once: one is kept, else NC columns.
  bool keeps_panels(const Product<T>& p) const { return p.rows > mc; }
  // Elements of scratch: first the block of a, then the panels of b.
  std::size_t scratch_of_a(const Product<T>& p) const {
    return copies_a ? smaller(p.depth, KC) * odd_lines<T>(smaller(p.rows, mc)) : 0;
  }
  std::size_t scratch(const Product<T>& p) const {
    constexpr std::size_t lanes = Vec<T>::lanes;
    const std::size_t cols = smaller(p.cols, keeps_panels(p) ? nc : vectors * lanes);
    const std::size_t panels = smaller(p.depth, KC) * parts(cols, lanes) * lanes;
    return scratch_of_a(p) + (packed ? panels : 0);
  }
};

template <class T>
void blocked_product(const Product<T>& p) {
  constexpr std::size_t lanes = Vec<T>::lanes;
  const Blocking<T> blocking(p);
  const EqualParts heights(p.rows, blocking.mc);
  const bool keeps_panels = blocking.keeps_panels(p);
  Tile<T> t;
  t.a_row_stride = p.a_row_stride;
  t.c_stride = p.c_row_stride;
  for (std::size_t jc = 0; jc < p.cols; jc += blocking.nc) {
    const std::size_t cols_end = smaller(p.cols, jc + blocking.nc);
    for (std::size_t k = 0; k < p.depth; k += KC) {
      t.depth = smaller(p.depth - k, KC);
      t.onto_c = p.accumulate || k > 0;
      std::size_t row = 0;
      for (std::size_t ic = 0; ic < heights.count; row += heights[ic++]) {
        const T* a = p.a + row * p.a_row_stride + k * p.a_depth_stride;
        t.a_depth_stride = p.a_depth_stride;
        if (blocking.copies_a) {
          t.a_depth_stride = odd_lines<T>(heights[ic]);
          pack_rows(a, p.a_depth_stride, t.depth, heights[ic], p.scratch,
                    t.a_depth_stride);
          a = p.scratch;
        }
        T* panel = p.scratch + blocking.scratch_of_a(p);
        for (std::size_t j = jc; j < cols_end;) {
          const Panel<T> columns(smaller(cols_end - j, blocking.vectors * lanes));
          const std::size_t cols = columns.cols;
          t.last = columns.last;
          const T* b = p.b + k * p.b_depth_stride + j * p.b_col_stride;
          t.b = b;
          t.b_stride = p.b_depth_stride;
          if (blocking.packed) {
            t.b = panel;
            t.b_stride = parts(cols, lanes) * lanes;
            if (ic == 0 && blocking.by_columns)
              transpose_into(b, p.b_col_stride, cols, t.depth, panel, t.b_stride);
            else if (ic == 0)
              pack_rows(b, p.b_depth_stride, t.depth, cols, panel, t.b_stride);
            if (keeps_panels) panel += t.depth * t.b_stride;
          }
          const EqualParts tiles(heights[ic], smaller(tile_rows(columns.vectors),
                                                      blocking.most_tile_rows));
          t.a = a;
          t.c = p.c + row * p.c_row_stride + j;
          for (std::size_t i = 0; i < tiles.count; ++i) {
            const std::size_t rows = tiles[i];
            micro_kernels<T>.of[columns.vectors][rows][columns.end](t);
            t.a += rows * t.a_row_stride;
            t.c += rows * t.c_stride;
          }
          j += cols;
        }
      }
    }
  }
}

// ---------------------------------------------------------------- a single row

// c += a b over so many rows of b and vectors of c.
template <class T, std::size_t rows, std::size_t vectors, bool ragged>
LAMINA_INLINE void add_rows(const T* a, const T* b, std::size_t b_stride, bool from_c,
                            T* c, std::size_t last) {
  using V = Vec<T>;
  const auto load = [=](const T* from) {
    return ragged ? V::load_first(from, last) : V::load(from);
  };
  typename V::Native sum[vectors];
  repeat<vectors>([&](std::size_t v) __attribute__((always_inline)) {
    sum[v] = (from_c ? load(c + v * V::lanes) : V(0.0)).value;
  });
  repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
    repeat<vectors>([&](std::size_t v) __attribute__((always_inline)) {
      sum[v] = fma(V(a[r]), load(b + r * b_stride + v * V::lanes), V(sum[v])).value;
    });
  });
  repeat<vectors>([&](std::size_t v) __attribute__((always_inline)) {
    if (ragged)
      V(sum[v]).store_first(c + v * V::lanes, last);
    else
      V(sum[v]).store(c + v * V::lanes);
  });
}

template <class T, std::size_t rows>
void add_whole_rows(const Product<T>& p, std::size_t k, bool from_c, T* c) {
  constexpr std::size_t lanes = Vec<T>::lanes, vectors = 8;
  const T *a = p.a + k, *b = p.b + k * p.b_depth_stride;
  std::size_t j = 0;
  for (; j + vectors * lanes <= p.cols; j += vectors * lanes)
    add_rows<T, rows, vectors, false>(a, b + j, p.b_depth_stride, from_c, c + j, 0);
  for (; j + lanes <= p.cols; j += lanes)
    add_rows<T, rows, 1, false>(a, b + j, p.b_depth_stride, from_c, c + j, 0);
  if (j < p.cols)
    add_rows<T, rows, 1, true>(a, b + j, p.b_depth_stride, from_c, c + j, p.cols - j);
}

// A row times a matrix beyond L2: eight whole rows of b at a time, as prefetchers like
// it: 25 -> 39 % at (1,1024,1024) by four (Zen 4), a sixth less time by eight (Zen 5),
// a third more by sixteen. Within L2 tiles are faster, by 15 %. Software prefetch of
// the next rows is no better than eight. Within gemm GCC makes a seventh more
// instructions of it.
template <class T>
[[gnu::noinline]] void row_product(const Product<T>& p) {
  for_blocks(p.depth, chain, [&p](std::size_t begin, std::size_t end) {
    const bool onto_c = p.accumulate || begin > 0;
    T *const c = p.c, *const sum = onto_c ? p.scratch : c;
    std::size_t k = begin;
    for (; k + 8 <= end; k += 8) add_whole_rows<T, 8>(p, k, k > begin, sum);
    for (; k < end; ++k) add_whole_rows<T, 1>(p, k, k > begin, sum);
    if (onto_c)
      for_vectors<T>(p.cols,
                     [=](auto load, auto store) { store(load(c) + load(sum), c); });
  });
}
template <class T>
bool is_row_product(const Product<T>& p) {
  return p.rows == 1 && p.a_depth_stride == 1 && p.b_col_stride == 1 &&
         p.depth * p.cols * sizeof(T) > L2;
}

// ---------------------------------------------------------------- transposed products

// c^T = b^T a^T.
template <class T>
LAMINA_INLINE Product<T> transposed(const Product<T>& p) {
  Product<T> t = p;
  t.rows = p.cols;
  t.cols = p.rows;
  t.a = p.b;
  t.a_row_stride = p.b_col_stride;
  t.a_depth_stride = p.b_depth_stride;
  t.b = p.a;
  t.b_depth_stride = p.a_depth_stride;
  t.b_col_stride = p.a_row_stride;
  return t;
}

// A single column, contiguous in b and c, is a single row of the transposed product:
// eight times as fast as tiles with one lane in use (a layer with one output).
template <class T>
Product<T> as_row(const Product<T>& p) {
  if (p.cols != 1 || p.c_row_stride != 1 || p.b_depth_stride != 1) return p;
  Product<T> t = transposed(p);
  t.a_row_stride = p.depth;
  t.c_row_stride = p.rows;
  return t;
}

// How many of the last columns are computed as rows of the transposed product, which is
// left in scratch and transposed from there into c.
template <class T>
LAMINA_INLINE std::size_t transposed_columns(const Product<T>& p) {
  constexpr std::size_t lanes = Vec<T>::lanes;
  if (p.accumulate) return 0;
  // Both matrices along the depth, as for the gradient of a layer's input: a and c are
  // transposed instead of b where that is half the work and their rows fill vectors.
  // 83 -> 96 % at (32,512,784), 74 -> 95 % at (16,256,256); with more idle lanes it
  // loses, 10 % at (20,256,256), and with half a register alone, 1.1 to 1.5 times the
  // time at (8,512,512) to (8,64,64).
  if (p.a_depth_stride == 1 && p.b_depth_stride == 1) {
    constexpr std::size_t unit = lanes / (half_registers ? 2 : 1);
    const std::size_t idle = parts(p.rows, unit) * unit - p.rows;
    const bool fills = idle <= 2 && (!half_registers || p.rows > unit);
    return fills && 2 * p.rows * (p.depth + p.cols) <= p.depth * p.cols ? p.cols : 0;
  }
  // Both across the depth, as for the gradient of a kernel: the columns that would
  // leave a vector a quarter empty. 57 -> 89 % at (512,128,10), 86 -> 95 % at
  // (100,100,100), 89 -> 93 % at (100,64,106). Sixteen rows lose 10 %; less depth
  // was not measured.
  if (p.a_row_stride == 1 && p.b_col_stride == 1 && p.depth >= 16 &&
      p.rows >= 2 * lanes && p.cols < 8 * lanes && p.cols % lanes <= lanes / 4 * 3)
    return p.cols % lanes;
  return 0;
}

// A product in two parts, of which the first may be empty.
template <class T>
struct Parts {
  Product<T> first;  // columns
  Product<T> last;   // the other columns, as rows

  Parts(const Product<T>& p, std::size_t transposed_columns) : first(p), last(p) {
    first.cols -= transposed_columns;
    last.cols = transposed_columns;
    last.b += first.cols * p.b_col_stride;
    last = transposed(last);
    last.c_row_stride = odd_lines<T>(p.rows);
  }
  std::size_t scratch_of_last() const { return last.rows * last.c_row_stride; }
  std::size_t scratch() const {
    const std::size_t for_last = scratch_of_last() + Blocking<T>(last).scratch(last);
    if (first.cols == 0) return for_last;
    const std::size_t for_first = Blocking<T>(first).scratch(first);
    return for_first > for_last ? for_first : for_last;
  }
  void compute() {
    if (first.cols > 0) blocked_product(first);
    last.c = first.scratch;
    last.scratch = first.scratch + scratch_of_last();
    blocked_product(last);
    transpose_into(last.c, last.c_row_stride, last.rows, last.cols,
                   first.c + first.cols, first.c_row_stride);
  }
};

// ---------------------------------------------------------------- any depth

// A product whose depth is cut into spans, or into chains in each lane where it is a
// dot product. These are the blocks of a LongSum: `high` is c; `low` and the product of
// a span lie in scratch, for some rows at a time, since c may be larger than a and b.
template <class T>
class LongProduct {
 public:
  explicit LongProduct(const Product<T>& p) : p_(p), span_(span_of(p)) {}
  static LAMINA_INLINE std::size_t span_of(const Product<T>& p) {
    return is_dot_product(p) ? lane_block<T> : span;
  }

  std::size_t scratch() const {
    const EqualParts heights = this->heights();
    const std::size_t depths[] = {0, (p_.depth - 1) / span_ * span_};
    const std::size_t rows[] = {heights[0], heights[heights.count - 1]};
    std::size_t most = 0;  // of every size that a part has
    for (const std::size_t k : depths)
      for (const std::size_t r : rows) {
        const std::size_t own = gemm_scratch(part(0, r, k));
        if (own > most) most = own;
      }
    return 2 * size() + most;
  }
  void compute() const {
    const EqualParts heights = this->heights();
    const std::size_t cols = p_.cols;
    T *const low = p_.scratch, *const sums = low + size();
    std::size_t row = 0;
    for (std::size_t i = 0; i < heights.count; row += heights[i++])
      for (std::size_t k = 0; k < p_.depth; k += span_) {
        Product<T> p = part(row, heights[i], k);
        p.scratch = sums + size();
        if (k == 0) {
          gemm(p);
          for (std::size_t j = 0; j < size(); ++j) low[j] = 0;
          continue;
        }
        T* const c = p.c;
        p.c = sums;
        p.c_row_stride = stride();
        p.accumulate = false;
        gemm(p);
        for (std::size_t r = 0; r < p.rows; ++r)
          add_block(c + r * p_.c_row_stride, low + r * stride(), sums + r * stride(),
                    cols);
      }
  }

 private:
  EqualParts heights() const { return EqualParts(p_.rows, 480); }
  std::size_t stride() const { return odd_lines<T>(p_.cols); }
  std::size_t size() const { return heights()[0] * stride(); }

  Product<T> part(std::size_t row, std::size_t rows, std::size_t k) const {
    Product<T> p = p_;
    p.rows = rows;
    p.depth = smaller(p.depth - k, span_);
    p.a += row * p.a_row_stride + k * p.a_depth_stride;
    p.b += k * p.b_depth_stride;
    p.c += row * p.c_row_stride;
    return p;
  }

  const Product<T>& p_;
  std::size_t span_;
};

template <class T>
LAMINA_INLINE bool is_long(const Product<T>& p) {
  return p.depth > chain && p.depth > LongProduct<T>::span_of(p);
}

}  // namespace matrix_product
}  // namespace

// Elements of scratch that gemm() needs for this product.
template <class T>
std::size_t gemm_scratch(const Product<T>& product) {
  const Product<T> p = matrix_product::as_row(product);
  if (p.rows == 0 || p.cols == 0 || p.depth == 0) return 0;
  if (matrix_product::is_long(p)) return matrix_product::LongProduct<T>(p).scratch();
  if (is_dot_product(p)) return 0;
  if (matrix_product::is_row_product(p))
    return p.accumulate || p.depth > chain ? p.cols : 0;
  const std::size_t count = matrix_product::transposed_columns(p);
  if (count > 0) return matrix_product::Parts<T>(p, count).scratch();
  return matrix_product::Blocking<T>(p).scratch(p);
}

template <class T>
void gemm(const Product<T>& product) {
  const Product<T> p = matrix_product::as_row(product);
  if (p.rows == 0 || p.cols == 0) return;
  if (p.depth == 0) {
    for (std::size_t i = 0; i < p.rows && !p.accumulate; ++i)
      for (std::size_t j = 0; j < p.cols; ++j) p.c[i * p.c_row_stride + j] = 0;
  } else if (matrix_product::is_long(p)) {
    matrix_product::LongProduct<T>(p).compute();
  } else if (matrix_product::is_row_product(p)) {
    matrix_product::row_product(p);
  } else if (!is_dot_product(p)) {
    const std::size_t count = matrix_product::transposed_columns(p);
    if (count > 0)
      matrix_product::Parts<T>(p, count).compute();
    else
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

template std::size_t gemm_scratch(const Product<float>&);
template std::size_t gemm_scratch(const Product<double>&);
template void gemm(const Product<float>&);
template void gemm(const Product<double>&);

}  // namespace lamina::LAMINA_TARGET
