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

// The terms of a chain of additions, after which a new one begins at zero: its
// roundings may all go the same way, and take n / 4 units of roundoff from n equal
// terms, 7.6e-6 from 512 floats. The sums of the chains of a span are simply added, an
// eighth of that again; those of spans, or of chains where that costs nothing, as
// LongSum does, whose error does not grow.
inline constexpr std::size_t chain = 512, span = 64 * chain;

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

// Rows of which only some elements are there: those of row i are entries starts[i] ...
// starts[i + 1] - 1, in this order. A column may come more than once: its values add
// up.
template <class T>
struct SparseRows {
  std::size_t rows;
  const std::size_t* starts;  // rows + 1 of them
  const std::int32_t* columns;
  const T* values;
};

// Every loss: a kernel of this name in kernels/loss.hpp, which Python names it by, too,
// and what an element takes, in cycles. Softmax's and sigmoid's take logits, poisson's
// the logarithms of rates.
#define LAMINA_LOSSES(X)      \
  X(softmax_cross_entropy, 2) \
  X(sigmoid_cross_entropy, 2) \
  X(squared_error, 0.5)       \
  X(absolute_error, 0.5)      \
  X(huber, 0.5)               \
  X(pinball, 0.5)             \
  X(poisson, 1)

enum class LossKind {
#define LAMINA_KIND(name, cycles) name,
  LAMINA_LOSSES(LAMINA_KIND)
#undef LAMINA_KIND
};

struct LossChoice {
  LossKind kind;
  double label_smoothing = 0;  // of the cross-entropies, in [0, 1]
  // Sigmoid: weight of the positive; huber: delta; pinball: the quantile.
  double parameter = 0;
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

// Every rule of an optimizer: a kernel of this name in kernels/optimizer.hpp, which
// Python names it by, too, what an element takes, in cycles, and how many arrays of
// state `rule` (an OptimizerChoice) keeps, all zero before the first step.
#define LAMINA_OPTIMIZERS(X)                            \
  X(sgd, 1, (rule.first != 0))                          \
  X(rmsprop, 2, (1 + (rule.first != 0) + rule.variant)) \
  X(adagrad, 2, 1)                                      \
  X(adam, 2, 2)                                         \
  X(lion, 1, 1)

// A step over n parameters: numbers as OptimizerChoice names them.
template <class T>
struct Update {
  T* w = nullptr;
  const T* dw = nullptr;
  T* state = nullptr;  // arrays that begin `stride` elements after each other
  std::size_t stride = 0, n = 0;
  double rate, first, second, epsilon;
  bool variant;
  double keep;          // what decoupled decay leaves of w
  double step, unbias;  // rate / (1 - first^t), 1 / (1 - second^t) in step t
};

// Columns of a matrix, normalized: (x - mean) inverse gamma + beta, `inverse` being
// that of the standard deviation.
template <class T>
struct Normalized {
  const T *x, *mean, *inverse, *gamma;
  std::size_t rows, cols, row_stride;
};

// A column of a layer of waves: cos(2 pi w x + phase), or without phases the cosines
// and then the sines of 2 pi w x.
template <class T>
struct PeriodicColumn {
  std::size_t rows, x_stride, y_stride, frequencies, dims;
  const T *frequency, *phase;  // phase may be null
  const T *weight, *bias;      // (terms, dims), (dims)
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

  // In the order of the list: the loss of each row, unweighted and summed over its
  // columns, and the gradient of that (null: none) times `scale` and the row's weight.
  // gradient may be the outputs, nothing else. Returns how many rows (softmax) or
  // elements (sigmoid) are classified rightly, 0 where there are no classes.
  using Loss = std::size_t(const LossChoice&, const LossRows<T>&, T scale, T* losses,
                           T* gradient);
#define LAMINA_COUNT(...) +1
  Loss* losses[LAMINA_LOSSES(LAMINA_COUNT)];

  // In the order of the list
  void (*optimizers[LAMINA_OPTIMIZERS(LAMINA_COUNT)])(const Update<T>&);
  // Steps of adam one after the other by the same gradient, or by 0 if dw is null, with
  // the numbers of each and the arrays given here
  void (*adam_steps)(const Update<T>* steps, std::size_t count, const T* dw, T* w, T* m,
                     T* v, std::size_t n);
#undef LAMINA_COUNT
  // mean += share (w - mean)
  void (*follow)(const T* w, T* mean, std::size_t n, double share);

  // A copy past the caches; `to` begins at a border of 64 bytes, n is a multiple of
  // them. Others see it after a fence.
  void (*stream)(const T* from, T* to, std::size_t n);
  // y = a + b
  void (*add)(const T* a, const T* b, T* y, std::size_t n);

  // Over contiguous rows; the stride between rows is cols.
  void (*softmax)(const T* x, T* y, std::size_t rows, std::size_t cols);
  void (*log_softmax)(const T* x, T* y, std::size_t rows, std::size_t cols);
  void (*softmax_backward)(const T* dy, const T* y, T* dx, std::size_t rows,
                           std::size_t cols);
  void (*log_softmax_backward)(const T* dy, const T* y, T* dx, std::size_t rows,
                               std::size_t cols);

  void (*gemm)(const Product<T>&);
  std::size_t (*gemm_scratch)(const Product<T>&);  // elements; reads sizes and strides
  // sums[j] = sum over rows of x[i, j]
  void (*column_sums)(const T* x, std::size_t rows, std::size_t cols,
                      std::size_t row_stride, T* sums);
  // The same over the rows of each group, order[ends[g - 1]] ... order[ends[g] - 1],
  // times their factor unless that is null
  void (*group_sums)(const T* x, const T* factor, const std::uint32_t* order,
                     const std::uint32_t* ends, std::size_t groups, std::size_t cols,
                     std::size_t row_stride, T* sums);

  // The linear map of the waves of a column, y (rows, dims); by `scratch` for a
  // Lanes<T> of each term.
  void (*periodic)(const PeriodicColumn<T>&, const T* x, T* y, T* scratch);
  // Adds to dx unless that is null, and writes the gradient by all parameters, by
  // `scratch` for a Lanes<T> of each of dims and of each parameter, and for two more of
  // these where there are more rows than a chain in lanes
  void (*periodic_backward)(const PeriodicColumn<T>&, const T* x, const T* dy, T* dx,
                            T* gradient, T* scratch);

  // Layers with numbers of their own for each column: forward over contiguous rows,
  // backward over any columns, whose sums have one order. y = x factor:
  void (*scale_columns)(const T* x, const T* factor, T* y, std::size_t rows,
                        std::size_t cols);
  void (*scale_columns_backward)(const T* dy, const T* x, const T* factor, T* dx,
                                 T* dfactor, std::size_t rows, std::size_t cols,
                                 std::size_t row_stride);
  // y = x where x > 0, else x slope
  void (*prelu)(const T* x, const T* slope, T* y, std::size_t rows, std::size_t cols);
  void (*prelu_backward)(const T* dy, const T* x, const T* slope, T* dx, T* dslope,
                         std::size_t rows, std::size_t cols, std::size_t row_stride);
  // y = (1 - share) x + share f(x); df = dy f'(x)
  void (*mix_columns)(const T* x, const T* f, const T* share, T* y, std::size_t rows,
                      std::size_t cols);
  void (*mix_columns_backward)(const T* dy, const T* df, const T* x, const T* f,
                               const T* share, T* dx, T* dshare, std::size_t rows,
                               std::size_t cols, std::size_t row_stride);

  // Mean and mean square distance from it of each column, of one row at least
  void (*column_moments)(const T* x, std::size_t rows, std::size_t cols,
                         std::size_t row_stride, T* mean, T* variance);
  // 1 / sqrt(variance + epsilon)
  void (*inverse_deviations)(const T* variance, T* inverse, std::size_t n, T epsilon);
  void (*normalize_columns)(const Normalized<T>&, const T* beta, T* y);
  // Through the moments, too, unless they are `fixed`
  void (*normalize_columns_backward)(const Normalized<T>&, const T* dy, T* dx,
                                     T* dgamma, T* dbeta, bool fixed);

  // Rows normalized by their own moments, then times gamma plus beta, one for each
  // column. `moments` receives mean and inverse deviation of each row; may be null
  void (*layer_norm)(const T* x, const T* gamma, const T* beta, T epsilon, T* y,
                     T* moments, std::size_t rows, std::size_t cols);
  void (*layer_norm_backward)(const T* dy, const T* x, const T* gamma, const T* moments,
                              T* dx, std::size_t rows, std::size_t cols);
  void (*layer_norm_gradients)(const T* dy, const T* x, const T* moments, T* dgamma,
                               T* dbeta, std::size_t rows, std::size_t cols,
                               std::size_t row_stride);

  // Row places[i] of y (null: row i) = row i of x, times w; rows of w and y are `cols`
  // long
  void (*sparse_product)(const SparseRows<T>& x, const T* w, std::size_t cols,
                         const std::int32_t* places, T* y);
  // The same, times `factor` and added to y, rounded once
  void (*sparse_add)(const SparseRows<T>& x, const T* w, std::size_t cols,
                     const std::int32_t* places, T factor, T* y);
  // dropout() of the entries of rows of `features` elements, which are those that have
  // a bit each; y has their values
  void (*sparse_dropout)(const SparseRows<T>& x, std::size_t features, T* y,
                         const DropoutBits&, const DropoutValues&);

  // y = x / keep where kept, 0 where dropped, by `scale` = 1 / keep (1 in classic mode)
  void (*dropout)(const T* x, T* y, std::size_t n, const DropoutBits&,
                  const DropoutValues&);
  // dx[i] = dy[i] scale where bit j = bit + i of `mask` is set, else 0; that is bit
  // j % 8 of byte j / 8
  void (*dropout_masked)(const T* dy, const std::uint8_t* mask, std::size_t bit, T* dx,
                         std::size_t n, T scale);
  // dx = dy scale where y > 0, else 0
  void (*relu_dropout_backward)(const T* dy, const T* y, T* dx, std::size_t n, T scale);

  // y = x + stddev * normal(word of the element)
  void (*gaussian_noise)(const T* x, T* y, std::size_t n, const NoiseBits&, T stddev);

  // The sum of l1 |w| + l2 / 2 w^2; `weight` times its gradient is added to dw, unless
  // that is null
  double (*penalty)(const T* w, T* dw, std::size_t n, double l1, double l2,
                    double weight);
  // In float64, always in the same order
  double (*sum_of_squares)(const T* x, std::size_t n);
  void (*scale)(T* x, std::size_t n, double factor);
  void (*clip)(T* x, std::size_t n, double limit);  // into [-limit, limit]
  // Columns whose norm is above the limit are scaled down to it, in place
  void (*limit_norms)(T* x, std::size_t rows, std::size_t cols, std::size_t stride,
                      double limit);
};

// The kernels by the names of the functions that a target fills them with, in order.
#define LAMINA_KERNELS(X)       \
  X(adam_steps)                 \
  X(follow)                     \
  X(stream)                     \
  X(add)                        \
  X(softmax)                    \
  X(log_softmax)                \
  X(softmax_backward)           \
  X(log_softmax_backward)       \
  X(gemm)                       \
  X(gemm_scratch)               \
  X(column_sums)                \
  X(group_sums)                 \
  X(periodic)                   \
  X(periodic_backward)          \
  X(scale_columns)              \
  X(scale_columns_backward)     \
  X(prelu)                      \
  X(prelu_backward)             \
  X(mix_columns)                \
  X(mix_columns_backward)       \
  X(column_moments)             \
  X(inverse_deviations)         \
  X(normalize_columns)          \
  X(normalize_columns_backward) \
  X(layer_norm)                 \
  X(layer_norm_backward)        \
  X(layer_norm_gradients)       \
  X(sparse_product)             \
  X(sparse_add)                 \
  X(sparse_dropout)             \
  X(dropout)                    \
  X(dropout_masked)             \
  X(relu_dropout_backward)      \
  X(gaussian_noise)             \
  X(penalty)                    \
  X(sum_of_squares)             \
  X(scale)                      \
  X(clip)                       \
  X(limit_norms)

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
  // x = the number below which a normal one is with probability p, in [1e-11, 1 -
  // 1e-11]
  void (*normal_quantile)(const double* p, double* x, std::size_t n);
};

}  // namespace lamina
