// The library without Python: matrices, dense layers and dropout on raw pointers.
// Shapes and dtypes have been checked by the caller; every function may throw
// std::bad_alloc, before anything is written.
#pragma once

#include "ops/dispatch.hpp"

namespace lamina {

// A matrix of which one stride is 1 (see Product).
template <class T>
struct Matrix {
  const T* data;
  std::size_t rows, cols;
  std::size_t row_stride, col_stride;

  Matrix transposed() const { return {data, cols, rows, col_stride, row_stride}; }
  static Matrix contiguous(const T* data, std::size_t rows, std::size_t cols) {
    return {data, rows, cols, cols, 1};
  }
};

// An activation as a layer names it: an entry of the list with its parameter, or one
// that acts on whole rows.
struct ActivationChoice {
  enum class Kind { elementwise, softmax, log_softmax } kind = Kind::elementwise;
  std::size_t index = 0;  // in Activations, or in RowActivations
  double parameter = 0;
};

// A dropout of rate threshold / 65536; kept values are multiplied by `scale`.
struct DropoutChoice {
  DropoutBits bits;
  double scale;
};

// The largest multiple of 1 / 65536 that the contract allows for a rate in [0, 1].
DropoutChoice dropout_choice(double rate, std::uint64_t seed, std::uint64_t stream,
                             std::uint64_t offset, bool inverted);

// c = a b, c contiguous
template <class T>
void matmul(const Matrix<T>& a, const Matrix<T>& b, T* c);

// y = dropout(activation(x kernel + bias)), y contiguous. bias, dropout and saved may
// be null; saved receives what the activation's backward reads.
template <class T>
void dense(const Matrix<T>& x, const Matrix<T>& kernel, const T* bias,
           const ActivationChoice&, const DropoutChoice*, T* y, T* saved);

// The mirror of dense(): dx, dkernel and dbias are contiguous; each may be null.
template <class T>
void dense_backward(const T* dy, const Matrix<T>& x, const Matrix<T>& kernel,
                    const T* saved, const ActivationChoice&, const DropoutChoice*,
                    T* dx, T* dkernel, T* dbias);

}  // namespace lamina
