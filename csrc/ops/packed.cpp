#include "ops/packed.hpp"

#include <algorithm>
#include <bit>

#include "ops/bfloat16.hpp"
#include "ops/scratch.hpp"

namespace lamina {

PackedKernel::PackedKernel(const float* kernel, std::size_t rows, std::size_t cols,
                           const Bfloat16Kernels* kernels)
    : shape_{rows, cols},
      kernels_(kernels),
      form_(form()),
      bytes_(size_in_bytes()),
      memory_(aligned_memory(bytes_)) {
  if (form_ == Form::bfloat16) {
    kernels->pack(kernel, cols, shape_, static_cast<Bfloat16Pair*>(memory_.get()));
    return;
  }
  auto* to = static_cast<float*>(memory_.get());
  const std::size_t panel = form_ == Form::panels ? width : cols;
  for (std::size_t first = 0; first < cols; first += panel)
    for (std::size_t i = 0; i < rows; ++i, to += panel)
      std::copy_n(kernel + i * cols + first, std::min(panel, cols - first), to);
}

// Up to eight columns are as fast in float (a single one is five times as fast). Panels
// of floats gain where b lies beyond L2 and is read in place else: 10 to 40 % at (8 to
// 128,1024,1024) with AVX-512, nothing with more rows. With AVX2 they lose where there
// are more rows, and smaller kernels lose up to 8 %. Spans are added by gemm alone.
PackedKernel::Form PackedKernel::form() const {
  if (shape_.depth > span) return Form::array;
  if (kernels_ && shape_.cols > 8) return Form::bfloat16;
  const bool large = shape_.depth * shape_.cols * sizeof(float) > std::size_t{1} << 20;
  return large && active().vector_bytes == 64 ? Form::panels : Form::array;
}

std::size_t PackedKernel::size_in_bytes() const {
  if (form_ == Form::bfloat16) return shape_.size() * sizeof(Bfloat16Pair);
  const std::size_t unit = form_ == Form::panels ? width : 1;
  return shape_.depth * ((shape_.cols + unit - 1) / unit * unit) * sizeof(float);
}

void PackedKernel::unpack(float* kernel) const {
  const std::size_t panel = form_ == Form::array ? cols() : width;
  const float* row = floats();
  const Bfloat16Pair* pair = pairs();
  for (std::size_t first = 0; first < cols(); first += panel) {
    const std::size_t count = std::min(panel, cols() - first);
    if (form_ != Form::bfloat16) {
      for (std::size_t i = 0; i < rows(); ++i, row += panel)
        std::copy_n(row, count, kernel + i * cols() + first);
      continue;
    }
    constexpr std::size_t lanes = Bfloat16Panels::lanes;
    for (std::size_t i = 0; i < rows(); ++i) {
      for (std::size_t j = 0; j < count; ++j)
        kernel[i * cols() + first + j] =
            std::bit_cast<float>(i % 2 ? pair[j] & 0xffff0000u : pair[j] << 16);
      if (i % 2 || i + 1 == rows()) pair += (count + lanes - 1) / lanes * lanes;
    }
  }
}

// Of a part's columns. Blocks of x stay in L2; gemm adds its chain to y, and needs no
// scratch for products of this form.
void PackedKernel::multiply_panels(const Kernels<float>& k, const float* x,
                                   std::size_t rows, std::size_t first,
                                   std::size_t cols, float* y) const {
  constexpr std::size_t most_rows = 480;
  for (std::size_t i = 0; i < rows; i += most_rows)
    for (std::size_t d = 0; d < shape_.depth; d += chain)
      for (std::size_t j = first; j < first + cols; j += width)
        k.gemm({.rows = std::min(most_rows, rows - i),
                .cols = std::min(width, first + cols - j),
                .depth = std::min(chain, shape_.depth - d),
                .a = x + i * shape_.depth + d,
                .a_row_stride = shape_.depth,
                .a_depth_stride = 1,
                .b = floats() + j * shape_.depth + d * width,
                .b_depth_stride = width,
                .b_col_stride = 1,
                .c = y + i * shape_.cols + j,
                .c_row_stride = shape_.cols,
                .accumulate = d > 0,
                .scratch = nullptr});
}

void PackedKernel::multiply(const float* x, std::size_t rows, float* y) const {
  const std::size_t depth = shape_.depth, stride = shape_.cols;
  if (form_ == Form::array)
    return matmul(Matrix<float>::contiguous(x, rows, depth),
                  Matrix<float>::contiguous(floats(), depth, stride), y);
  if (form_ == Form::bfloat16) {
    const Bfloat16Parts parts(*kernels_, {.rows = rows,
                                          .depth = depth,
                                          .cols = stride,
                                          .x = x,
                                          .x_panels = nullptr,
                                          .panels = pairs(),
                                          .y = y,
                                          .y_stride = stride,
                                          .scratch = nullptr});
    const Kept scratch(parts.scratch() * sizeof(Bfloat16Pair));
    return parts.run(static_cast<Bfloat16Pair*>(scratch.get()));
  }
  const Kernels<float>& k = lamina::kernels<float>();
  PanelParts(rows, depth, stride, 48, 16)
      .run([&](std::size_t row, std::size_t count, std::size_t col, std::size_t cols,
               std::size_t) {
        multiply_panels(k, x + row * depth, count, col, cols, y + row * stride);
      });
}

void dense(const float* x, std::size_t rows, const PackedKernel& kernel,
           const float* bias, const ActivationChoice& activation,
           const DropoutChoice* dropout, float* y) {
  const Kernels<float>& k = kernels<float>();
  kernel.multiply(x, rows, y);
  finish_dense<float>(k, rows, kernel.cols(), bias, activation, dropout, y, nullptr);
}

}  // namespace lamina
