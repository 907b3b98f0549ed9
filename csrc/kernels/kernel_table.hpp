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

  // Per-row losses and their gradient times `scale`; gradient or losses may be null.
  // targets (rows x cols) hold probabilities; labels, if not null, replace them.
  // gradient may be the logits, not the targets.
  void (*softmax_cross_entropy)(const T* logits, const T* targets,
                                const std::int64_t* labels, T scale, T* losses,
                                T* gradient, std::size_t rows, std::size_t cols);
  void (*sigmoid_cross_entropy)(const T* logits, const T* targets, T scale, T* losses,
                                T* gradient, std::size_t rows, std::size_t cols);
  void (*squared_error)(const T* outputs, const T* targets, T scale, T* losses,
                        T* gradient, std::size_t rows, std::size_t cols);

  // Gradient descent; v is the velocity, null without momentum
  void (*sgd)(T* w, const T* dw, T* v, std::size_t n, double rate, double momentum,
              bool nesterov);
  // Adam (Kingma & Ba 2015); correction1 = 1 - beta1^t, correction2 = 1 - beta2^t
  void (*adam)(T* w, const T* dw, T* m, T* v, std::size_t n, double rate, double beta1,
               double beta2, double epsilon, double correction1, double correction2);
};

struct KernelTable {
  const char* name;
  std::size_t vector_bytes;
  Kernels<float> f32;
  Kernels<double> f64;
  // bit i of byte i / 8 is 1 where element i is kept; the last byte is padded with
  // zeros
  void (*dropout_mask)(std::uint8_t* mask, std::size_t n, const DropoutBits&);
  // Philox4x32-10: word e is output (e / 16) % 4 of counter 16 (e / 64) + e % 16
  void (*random_words)(std::uint32_t* words, std::size_t n, std::uint64_t seed,
                       std::uint64_t stream);
};

}  // namespace lamina
