// The product of few rows with a matrix given by columns: dot products in the virtual
// lanes of Lanes<T>, the same sums on every target.
#pragma once

#include "kernels/kernel_table.hpp"
#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

// Arrays of Native, as in the micro-kernel, instead of Lanes<T>: same lanes, same tree.

// Dot products of `rows` rows of a with `cols` columns of b, each left in one vector.
template <class T, std::size_t rows, std::size_t cols>
LAMINA_INLINE void dot_group(const Product<T>& p, const T* b,
                             typename Vec<T>::Native (&sums)[rows][Vec<T>::lanes],
                             std::size_t first) {
  using V = Vec<T>;
  constexpr std::size_t lanes = V::lanes, count = Lanes<T>::count,
                        parts = Lanes<T>::parts;
  typename V::Native sum[rows][cols][parts];
  repeat<rows * cols * parts>([&](std::size_t i) __attribute__((always_inline)) {
    sum[i / parts / cols][i / parts % cols][i % parts] = V().value;
  });
  const auto step = [&](std::size_t k, auto load) __attribute__((always_inline)) {
    repeat<parts>([&](std::size_t i) __attribute__((always_inline)) {
      typename V::Native a_i[rows];
      repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
        a_i[r] = load(p.a + r * p.a_row_stride + k, i * lanes).value;
      });
      repeat<cols>([&](std::size_t c) __attribute__((always_inline)) {
        const V b_i = load(b + c * p.b_col_stride + k, i * lanes);
        repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
          sum[r][c][i] = fma(V(a_i[r]), b_i, V(sum[r][c][i])).value;
        });
      });
    });
  };
  // Two and three rows take 0.6 to 0.85 of the time; of four GCC itself keeps in
  // registers what fits there.
  constexpr bool once = rows == 2 || rows == 3;
  const std::size_t whole = p.depth / count * count, rest = p.depth - whole;
  for (std::size_t k = 0; k < whole; k += count)
    step(k, [](const T* x, std::size_t i) __attribute__((always_inline)) {
      return once ? V::load_once(x + i) : V::load(x + i);
    });
  if (rest > 0)
    step(whole, [rest](const T* x, std::size_t i) __attribute__((always_inline)) {
      if (rest >= i + lanes) return V::load(x + i);
      return rest > i ? V::load_first(x + i, rest - i) : V();
    });
  repeat<rows>([&](std::size_t r) __attribute__((always_inline)) {
    repeat<cols>([&](std::size_t c) __attribute__((always_inline)) {
      auto& part = sum[r][c];
      if constexpr (parts == 4) {
        part[0] += part[2];
        part[1] += part[3];
      }
      if constexpr (parts >= 2) part[0] += part[1];
      sums[r][first + c] = part[0];
    });
  });
}

// Measured and lost at (1,1024,1024): the next columns prefetched (-10 %), the same
// ones further on (-5 %), groups of eight (-18 %).
template <class T, std::size_t rows>
void dot_product(const Product<T>& p) {
  using V = Vec<T>;
  constexpr std::size_t lanes = V::lanes;
  constexpr std::size_t accumulators = many_registers ? 16 : 8;
  constexpr std::size_t fitting = accumulators / (rows * Lanes<T>::parts);
  constexpr std::size_t group = fitting >= 4 ? 4 : fitting >= 2 ? 2 : 1;
  for (std::size_t j = 0; j < p.cols; j += lanes) {
    const std::size_t cols = smaller(p.cols - j, lanes);
    const T* b = p.b + j * p.b_col_stride;
    typename V::Native sums[rows][lanes];
    if (cols < lanes)
      for (auto& row : sums)
        for (auto& sum : row) sum = V().value;
    std::size_t c = 0;
    for (; c + group <= cols; c += group, b += group * p.b_col_stride)
      dot_group<T, rows, group>(p, b, sums, c);
    for (; c < cols; ++c, b += p.b_col_stride) dot_group<T, rows, 1>(p, b, sums, c);
    for (std::size_t r = 0; r < rows; ++r) {
      T* to = p.c + r * p.c_row_stride + j;
      V result = fold_each<lanes, lanes>(sums[r]);
      if (cols == lanes) {
        if (p.accumulate) result = V::load(to) + result;
        result.store(to);
      } else {
        if (p.accumulate) result = V::load_first(to, cols) + result;
        result.store_first(to, cols);
      }
    }
  }
}

// Up to four rows do not repay the transposes, unless the columns are too short for the
// lanes: (4,64,64) 42 -> 57 %, (1,64,64) 15 -> 50 %, but (4,10,64) 31 -> 12 %. With
// more rows it reaches only 50 to 70 % of the transposing path.
template <class T>
bool is_dot_product(const Product<T>& p) {
  return (p.rows == 1 || (p.rows <= 4 && p.depth >= 32)) && p.a_depth_stride == 1 &&
         p.b_depth_stride == 1 && p.b_col_stride != 1;
}

}  // namespace lamina::LAMINA_TARGET
