#include "ops/packed.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lamina {

PackedKernel::PackedKernel(const float* kernel, std::size_t rows, std::size_t cols,
                           const Bfloat16Kernels* kernels)
    : shape_{rows, cols},
      kernels_(kernels),
      bytes_(by_panels() ? shape_.size() * sizeof(Bfloat16Pair)
                         : rows * cols * sizeof(float)),
      memory_(aligned_memory(bytes_)) {
  if (by_panels())
    kernels->pack(kernel, shape_, static_cast<Bfloat16Pair*>(memory_.get()));
  else if (bytes_ > 0)
    std::memcpy(memory_.get(), kernel, bytes_);
}

void PackedKernel::unpack(float* kernel) const {
  if (!by_panels()) {
    if (bytes_ > 0) std::memcpy(kernel, memory_.get(), bytes_);
    return;
  }
  constexpr std::size_t lanes = Bfloat16Panels::lanes, width = Bfloat16Panels::width;
  const auto* pair = static_cast<const Bfloat16Pair*>(memory_.get());
  for (std::size_t first = 0; first < cols(); first += width) {
    const std::size_t end = std::min(first + width, cols());
    const std::size_t padded = (end - first + lanes - 1) / lanes * lanes;
    for (std::size_t i = 0; i < rows(); i += 2, pair += padded)
      for (std::size_t j = first; j < end; ++j) {
        const Bfloat16Pair both = pair[j - first];
        kernel[i * cols() + j] = std::bit_cast<float>(both << 16);
        if (i + 1 < rows())
          kernel[(i + 1) * cols() + j] = std::bit_cast<float>(both & 0xffff0000u);
      }
  }
}

// Cut for threads where there are more parts. A part of the columns converts the whole
// of x: 1 % of its time, 5 % with a single panel.
void PackedKernel::multiply(const float* x, std::size_t rows, float* y) const {
  if (!by_panels())
    return matmul(Matrix<float>::contiguous(x, rows, shape_.depth),
                  Matrix<float>::contiguous(static_cast<const float*>(memory_.get()),
                                            shape_.depth, shape_.cols),
                  y);
  constexpr std::size_t panel = Bfloat16Panels::width, block = 48;
  const bool by_columns = shape_.cols / panel > rows / block;
  const std::size_t unit = by_columns ? panel : block;
  const std::size_t extent = by_columns ? shape_.cols : rows;
  const std::size_t units = std::max<std::size_t>((extent + unit - 1) / unit, 1);
  const auto size = static_cast<double>(rows * shape_.depth * shape_.cols);
  const double cycles = size / 32 / static_cast<double>(units);
  const std::size_t workers = workers_for(units, cycles);
  const std::size_t own = kernels_->scratch(rows, shape_.depth);
  const Kept scratch(workers * own * sizeof(Bfloat16Pair));
  parallel(units, cycles, workers,
           [&](std::size_t first, std::size_t count, std::size_t worker) {
             const std::size_t begin = first * unit;
             const std::size_t extent_of_part = std::min(count * unit, extent - begin);
             Bfloat16Product p = {
                 .rows = rows,
                 .depth = shape_.depth,
                 .cols = shape_.cols,
                 .x = x,
                 .panels = static_cast<const Bfloat16Pair*>(memory_.get()),
                 .y = y,
                 .y_stride = shape_.cols,
                 .scratch = static_cast<Bfloat16Pair*>(scratch.get()) + worker * own};
             if (by_columns) {
               p.panels += begin * shape_.pairs();
               p.y += begin;
               p.cols = extent_of_part;
             } else {
               p.x += begin * shape_.depth;
               p.y += begin * shape_.cols;
               p.rows = extent_of_part;
             }
             kernels_->product(p);
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
