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
  // Of a contiguous matrix; in bfloat16 if `kernels` is not null, else in float.
  PackedKernel(const float* kernel, std::size_t rows, std::size_t cols,
               const Bfloat16Kernels* kernels);

  std::size_t rows() const { return shape_.depth; }
  std::size_t cols() const { return shape_.cols; }
  std::size_t bytes() const { return bytes_; }
  bool is_bfloat16() const { return kernels_ != nullptr; }
  // The matrix back, as rounded.
  void unpack(float* kernel) const;

  // y (rows x cols()) = x (rows x rows(), contiguous) times the kernel; in float the
  // bits of matmul()
  void multiply(const float* x, std::size_t rows, float* y) const;

 private:
  enum class Form { array, panels, bfloat16 };
  static constexpr std::size_t width = Bfloat16Panels::width;

  Form form() const;
  std::size_t size_in_bytes() const;
  const float* floats() const { return static_cast<const float*>(memory_.get()); }
  const Bfloat16Pair* pairs() const {
    return static_cast<const Bfloat16Pair*>(memory_.get());
  }
  void multiply_panels(const Kernels<float>&, const float* x, std::size_t rows,
                       std::size_t first, std::size_t cols, float* y) const;

  Bfloat16Panels shape_;
  const Bfloat16Kernels* kernels_;
  Form form_;
  std::size_t bytes_;
  AlignedMemory memory_;
};

// dense() of ops.hpp for inference; x is contiguous, y lies over no input.
void dense(const float* x, std::size_t rows, const PackedKernel& kernel,
           const float* bias, const ActivationChoice&, const DropoutChoice*, float* y);

}  // namespace lamina
