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

// The asm keeps GCC from holding sixteen multiples of the stride, on the stack.
template <class Pointer>
LAMINA_INLINE void next(Pointer& row, std::size_t stride) {
  row += stride;
  asm("" : "+r"(row));
}

// to[j, i] = from[i, j], transposed in registers, a square at a time.
template <class T>
void transpose_into(const T* from, std::size_t from_stride, std::size_t rows,
                    std::size_t cols, T* to, std::size_t to_stride) {
  using V = Vec<T>;
  constexpr std::size_t lanes = V::lanes;
  for (; rows > 0; from += lanes * from_stride, to += lanes) {
    const std::size_t count = smaller(rows, lanes);
    rows -= count;
    T* below = to;
    for (std::size_t j = 0; j < cols; j += lanes) {
      const std::size_t length = smaller(cols - j, lanes);
      const T* row = from + j;
      typename V::Native square[lanes];
      if (count == lanes && length == lanes) {
        repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
          square[i] = V::load(row).value;
          next(row, from_stride);
        });
        transpose(square);
        repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
          V(square[i]).store(below);
          next(below, to_stride);
        });
      } else {
        repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
          square[i] = V().value;
          if (i >= count) return;
          square[i] =
              (length == lanes ? V::load(row) : V::load_first(row, length)).value;
          next(row, from_stride);
        });
        transpose(square);
        repeat<lanes>([&](std::size_t i) __attribute__((always_inline)) {
          if (i >= length) return;
          if (count == lanes)
            V(square[i]).store(below);
          else
            V(square[i]).store_first(below, count);
          next(below, to_stride);
        });
      }
    }
  }
}

}  // namespace lamina::LAMINA_TARGET
