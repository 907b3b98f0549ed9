// Bfloat16Kernels: products of float matrices, of which at least one was packed
// beforehand in bfloat16, the upper half of a float (8 bits of significand). Like
// KernelTable, a struct of function pointers that crosses the boundary of a target.
//
// Contract: as in kernel_table.hpp. Rounding to bfloat16 is to nearest, ties to even;
// NaN and infinities stay, subnormal floats become zero, what rounds beyond the largest
// bfloat16 becomes infinite. Every element of y is a sum of chains of the processor's
// instruction, one for each 512 of the depth, from 0 upwards, whatever the tiles and
// blocks: of each pair the second product, then the first, both exact in float, are
// added to a float, each sum rounded to nearest, ties to even, subnormal ones to zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lamina {

// Two bfloat16 that follow each other in depth, the first in the lower half; the last
// of an odd depth stands with a zero.
using Bfloat16Pair = std::uint32_t;

// The packed matrix: panels of 64 columns (the last may be narrower, padded with zeros
// to a multiple of 16), in each the pairs row by row.
struct Bfloat16Panels {
  static constexpr std::size_t width = 64, lanes = 16;

  std::size_t depth, cols;

  std::size_t pairs() const { return (depth + 1) / 2; }
  std::size_t size() const { return pairs() * ((cols + lanes - 1) / lanes * lanes); }
};

// y (rows x cols) = x (rows x depth) times the packed matrix, or the part of it from a
// border of its panels.
struct Bfloat16Product {
  std::size_t rows, depth, cols;
  const float* x;                // contiguous; or null, for what is packed:
  const Bfloat16Pair* x_panels;  // of the transposed of x, from a border of them
  const Bfloat16Pair* panels;
  float* y;
  std::size_t y_stride;
  Bfloat16Pair* scratch;  // scratch() elements, 64-byte aligned
};

struct Bfloat16Kernels {
  // Of a matrix (depth x cols), or (cols x depth) if it is transposed, with so many
  // elements from one row to the next; `panels` is 64-byte aligned.
  void (*pack)(const float* matrix, std::size_t stride, const Bfloat16Panels&,
               Bfloat16Pair* panels);
  void (*pack_transposed)(const float* matrix, std::size_t stride,
                          const Bfloat16Panels&, Bfloat16Pair* panels);
  void (*product)(const Bfloat16Product&);
  std::size_t (*scratch)(const Bfloat16Product&);
};

}  // namespace lamina
