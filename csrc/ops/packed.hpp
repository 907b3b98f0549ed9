// Kernels of dense layers for inference, packed once in the order and the precision in
// which their products read them.
#pragma once

#include "ops/ops.hpp"
#include "ops/scratch.hpp"

namespace lamina {

// A copy, never changed: calls may share it. It goes on to compute as it was packed if
// another target is chosen.
class PackedKernel {
 public:
  // Of a contiguous matrix. In bfloat16 if `kernels` is not null, else in float. A
  // single column stays in float: in bfloat16 it would take six times as long.
  PackedKernel(const float* kernel, std::size_t rows, std::size_t cols,
               const Bfloat16Kernels* kernels);

  std::size_t rows() const { return shape_.depth; }
  std::size_t cols() const { return shape_.cols; }
  std::size_t bytes() const { return bytes_; }
  bool is_bfloat16() const { return kernels_ != nullptr; }
  // The matrix back, as rounded.
  void unpack(float* kernel) const;

  // y (rows x cols()) = x (rows x rows(), contiguous) times the kernel
  void multiply(const float* x, std::size_t rows, float* y) const;

 private:
  bool by_panels() const { return kernels_ && shape_.cols > 8; }

  Bfloat16Panels shape_;
  const Bfloat16Kernels* kernels_;
  std::size_t bytes_;
  AlignedMemory memory_;
};

// dense() of ops.hpp for inference; x is contiguous, y lies over no input.
void dense(const float* x, std::size_t rows, const PackedKernel& kernel,
           const float* bias, const ActivationChoice&, const DropoutChoice*, float* y);

}  // namespace lamina
