// Copies of parts of a matrix in the order in which the micro-kernel reads them.
#pragma once

#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

// Rows of a matrix, copied to_stride apart; the lanes beyond `cols` become zero.
template <class T>
void pack_rows(const T* from, std::size_t stride, std::size_t rows, std::size_t cols,
               T* to, std::size_t to_stride) {
  using V = Vec<T>;
  for (; rows > 0; --rows, from += stride, to += to_stride) {
    std::size_t j = 0;
    for (; j + V::lanes <= cols; j += V::lanes) V::load(from + j).store(to + j);
    if (j < cols) V::load_first(from + j, cols - j).store(to + j);
  }
}

// b by columns, b_stride apart: transposed in registers, a square at a time.
template <class T>
void pack_columns(const T* b, std::size_t b_stride, std::size_t depth, std::size_t cols,
                  T* panel) {
  using V = Vec<T>;
  constexpr std::size_t lanes = V::lanes;
  const std::size_t width = parts(cols, lanes) * lanes;
  for (std::size_t j = 0; j < cols; j += lanes, b += lanes * b_stride) {
    const std::size_t count = smaller(cols - j, lanes);
    T* to = panel + j;
    for (std::size_t k = 0; k < depth; k += lanes, to += lanes * width) {
      const std::size_t length = smaller(depth - k, lanes);
      const T* from = b + k;
      typename V::Native square[lanes];
      if (count == lanes && length == lanes) {
        repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
          square[i] = V::load(from + i * b_stride).value;
        });
        transpose<lanes / 2>(square);
        repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
          V(square[i]).store(to + i * width);
        });
      } else {
        repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
          square[i] = V().value;
          if (i >= count) return;
          square[i] = (length == lanes ? V::load(from + i * b_stride)
                                       : V::load_first(from + i * b_stride, length))
                          .value;
        });
        transpose<lanes / 2>(square);
        repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
          if (i < length) V(square[i]).store(to + i * width);
        });
      }
    }
  }
}

}  // namespace lamina::LAMINA_TARGET
