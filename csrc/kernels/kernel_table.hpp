// KernelTable: the only type that crosses the boundary of a target. Each target fills
// one from its own compilation of the kernels; ops/dispatch picks which is active.
//
// Contract of every kernel: counts may be zero; an output may be the very array of an
// input, otherwise they do not overlap; no alignment beyond the element's own; nothing
// is allocated, checked or thrown. `T` is float or double.
#pragma once

#include <cstddef>
#include <cstdint>

#include "activations.hpp"

namespace lamina {

// c (rows x cols) = a (rows x depth) b (depth x cols), plus the old c if `accumulate`.
// One stride of a and one of b is 1 and the other at least the extent it steps over:
// rows or columns of a stored matrix, so that transposes need no copy.
template <class T>
struct Product {
  std::size_t rows, cols, depth;
  const T* a;
  std::size_t a_row_stride, a_depth_stride;
  const T* b;
  std::size_t b_depth_stride, b_col_stride;
  T* c;
  std::size_t c_row_stride;
  bool accumulate;
  T* scratch;  // gemm_scratch() elements, 64-byte aligned
};

// The random bits of one dropout call: element i is dropped where its 16 bits <
// threshold.
struct DropoutBits {
  std::uint64_t seed;
  std::uint64_t stream;     // which layer and step; 0 in the public functions
  std::uint64_t offset;     // number of element 0
  std::uint32_t threshold;  // 0 ... 65536 of 65536
};

// What becomes of an element: if kept, scale x + shift (a shift of -0 changes nothing,
// not even a sign), if dropped, fill.
struct DropoutValues {
  double scale = 1, shift = -0.0, fill = 0;

  DropoutValues gradient() const { return {.scale = scale}; }
};

// The random bits of one call of noise: element i has word offset + i.
struct NoiseBits {
  std::uint64_t seed;
  std::uint64_t stream;
  std::uint64_t offset;
};

// Softmax's and sigmoid's take logits, poisson's the logarithms of rates.
enum class LossKind {
  softmax_cross_entropy,
  sigmoid_cross_entropy,
  squared_error,
  absolute_error,
  huber,
  poisson
};
inline constexpr std::size_t loss_kinds = 6;

struct LossChoice {
  LossKind kind;
  double label_smoothing = 0;  // of the cross-entropies, in [0, 1]
  double parameter = 0;        // sigmoid: weight of the positive; huber: delta
};

// What a loss is computed of: (rows x cols) outputs and targets. Softmax takes labels
// instead of targets, in [0, cols), if they are not null.
template <class T>
struct LossRows {
  const T* outputs;
  const T* targets;
  const std::int64_t* labels;
  const T* weights;  // one a row, or null
  std::size_t rows, cols;

  LossRows part(std::size_t first, std::size_t count) const {
    return {.outputs = outputs + first * cols,
            .targets = targets ? targets + first * cols : nullptr,
            .labels = labels ? labels + first : nullptr,
            .weights = weights ? weights + first : nullptr,
            .rows = count,
            .cols = cols};
  }
};

template <class T>
struct Kernels {
  struct Elementwise {
    // y = f(x)
    void (*forward)(const T* x, T* y, std::size_t n, T parameter);
    // y = f'(x)
    void (*derivative)(const T* x, T* y, std::size_t n, T parameter);
    // dx = dy f'(saved), saved being y or x as Info::saves says
    void (*backward)(const T* dy, const T* saved, T* dx, std::size_t n, T parameter);
    // z = f(z + bias) on contiguous rows; z + bias is written to `saved` unless null;
    // bias may be null
    void (*epilogue)(T* z, const T* bias, T* saved, std::size_t rows, std::size_t cols,
                     T parameter);
  };
  Elementwise elementwise[Activations::size];

  // A copy past the caches; `to` begins at a border of 64 bytes, n is a multiple of
  // them. Others see it after a fence.
  void (*stream)(const T* from, T* to, std::size_t n);

  // Over contiguous rows; the stride between rows is cols.
  void (*softmax)(const T* x, T* y, std::size_t rows, std::size_t cols);
  void (*log_softmax)(const T* x, T* y, std::size_t rows, std::size_t cols);
  void (*softmax_backward)(const T* dy, const T* y, T* dx, std::size_t rows,
                           std::size_t cols);
  void (*log_softmax_backward)(const T* dy, const T* y, T* dx, std::size_t rows,
                               std::size_t cols);

  void (*gemm)(const Product<T>&);
  std::size_t (*gemm_scratch)(const Product<T>&);  // elements; reads sizes and strides
  // sums[j] = sum over rows of x[i, j], rows added in order
  void (*column_sums)(const T* x, std::size_t rows, std::size_t cols,
                      std::size_t row_stride, T* sums);

  // y = x / keep where kept, 0 where dropped, by `scale` = 1 / keep (1 in classic mode)
  void (*dropout)(const T* x, T* y, std::size_t n, const DropoutBits&,
                  const DropoutValues&);
  // dx = dy scale where the bit of `mask` is set, else 0; bit i is bit i % 8 of byte i
  // / 8
  void (*dropout_masked)(const T* dy, const std::uint8_t* mask, T* dx, std::size_t n,
                         T scale);
  // dx = dy scale where y > 0, else 0
  void (*relu_dropout_backward)(const T* dy, const T* y, T* dx, std::size_t n, T scale);

  // y = x + stddev * normal(word of the element)
  void (*gaussian_noise)(const T* x, T* y, std::size_t n, const NoiseBits&, T stddev);

  // In the order of LossKind: the loss of each row, unweighted and summed over its
  // columns, and the gradient of that (null: none) times `scale` and the row's weight.
  // gradient may be the outputs, nothing else. Returns how many rows (softmax) or
  // elements (sigmoid) are classified rightly, 0 where there are no classes.
  std::size_t (*losses[loss_kinds])(const LossChoice&, const LossRows<T>&, T scale,
                                    T* losses, T* gradient);

  // The sum of l1 |w| + l2 / 2 w^2; `weight` times its gradient is added to dw, unless
  // that is null
  double (*penalty)(const T* w, T* dw, std::size_t n, double l1, double l2,
                    double weight);
  // The rules of optimizer.hpp. Arrays of state that a form does not need are null;
  // `keep` is what decoupled decay leaves of w, correction1 = 1 - beta1^t, correction2
  // = 1 - beta2^t.
  void (*sgd)(T* w, const T* dw, T* v, std::size_t n, double rate, double momentum,
              bool nesterov);
  void (*rmsprop)(T* w, const T* dw, T* s, T* v, T* mean, std::size_t n, double rate,
                  double rho, double momentum, double epsilon);
  void (*adagrad)(T* w, const T* dw, T* s, std::size_t n, double rate, double epsilon);
  void (*adam)(T* w, const T* dw, T* m, T* v, std::size_t n, double rate, double beta1,
               double beta2, double epsilon, double correction1, double correction2,
               double keep);
  void (*lion)(T* w, const T* dw, T* m, std::size_t n, double rate, double beta1,
               double beta2, double keep);

  // In float64, always in the same order
  double (*sum_of_squares)(const T* x, std::size_t n);
  void (*scale)(T* x, std::size_t n, double factor);
  void (*clip)(T* x, std::size_t n, double limit);  // into [-limit, limit]
  // Columns whose norm is above the limit are scaled down to it, in place
  void (*limit_norms)(T* x, std::size_t rows, std::size_t cols, std::size_t stride,
                      double limit);
};

struct KernelTable {
  const char* name;
  std::size_t vector_bytes;
  Kernels<float> f32;
  Kernels<double> f64;
  // bit i of byte i / 8 is 1 where element i is kept; the last byte is padded with
  // zeros
  void (*dropout_mask)(std::uint8_t* mask, std::size_t n, const DropoutBits&);
  // Philox4x32-10: word e is output (e / 16) % 4 of counter 16 (e / 64) + e % 16; n of
  // them, from word `first` on, a multiple of 64
  void (*random_words)(std::uint32_t* words, std::size_t first, std::size_t n,
                       std::uint64_t seed, std::uint64_t stream);
};

}  // namespace lamina
