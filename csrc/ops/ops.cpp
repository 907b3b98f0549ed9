#include "ops/ops.hpp"

#include <cmath>
#include <cstring>
#include <memory>
#include <new>

namespace lamina {

namespace {

// 64-byte aligned scratch of one thread, grown to the largest request and kept until
// the thread ends, so that a loop of layers allocates once.
template <class T>
T* scratch(std::size_t count) {
  struct Free {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  thread_local std::unique_ptr<void, Free> memory;
  thread_local std::size_t capacity = 0;
  const std::size_t bytes = count * sizeof(T);
  if (bytes > capacity) {
    memory.reset();
    capacity = 0;
    memory.reset(::operator new(bytes, std::align_val_t(64)));
    capacity = bytes;
  }
  return static_cast<T*>(memory.get());
}

template <class T>
Product<T> product(const Matrix<T>& a, const Matrix<T>& b, T* c) {
  return {.rows = a.rows,
          .cols = b.cols,
          .depth = a.cols,
          .a = a.data,
          .a_row_stride = a.row_stride,
          .a_depth_stride = a.col_stride,
          .b = b.data,
          .b_depth_stride = b.row_stride,
          .b_col_stride = b.col_stride,
          .c = c,
          .c_row_stride = b.cols,
          .accumulate = false,
          .scratch = nullptr};
}

// One call stays with the table that it began with: another thread may choose another.
template <class T>
void multiply(const Kernels<T>& k, const Matrix<T>& a, const Matrix<T>& b, T* c) {
  Product<T> p = product(a, b, c);
  p.scratch = scratch<T>(k.gemm_scratch(p));
  k.gemm(p);
}

}  // namespace

DropoutChoice dropout_choice(double rate, std::uint64_t seed, std::uint64_t stream,
                             std::uint64_t offset, DropoutMode mode) {
  const auto threshold = static_cast<std::uint32_t>(std::nearbyint(rate * 65536));
  DropoutValues values;
  // At rate 0 nothing changes, at rate 1 all becomes 0.
  if (threshold > 0 && threshold < 65536) {
    const double kept = (65536 - threshold) / 65536.0;
    if (mode == DropoutMode::inverted) values.scale = 1 / kept;
    if (mode == DropoutMode::alpha) {
      constexpr double limit = -Selu::scaled_alpha;
      values.scale = 1 / std::sqrt(kept + limit * limit * kept * (1 - kept));
      values.shift = -values.scale * (1 - kept) * limit;
      values.fill = values.scale * limit + values.shift;
    }
  }
  return {{seed, stream, offset, threshold}, values};
}

template <class T>
void matmul(const Matrix<T>& a, const Matrix<T>& b, T* c) {
  multiply(kernels<T>(), a, b, c);
}

template <class T>
void dense(const Matrix<T>& x, const Matrix<T>& kernel, const T* bias,
           const ActivationChoice& activation, const DropoutChoice* dropout, T* y,
           T* saved) {
  const Kernels<T>& k = kernels<T>();
  const std::size_t rows = x.rows, cols = kernel.cols;
  multiply(k, x, kernel, y);
  const bool by_row = activation.kind != ActivationChoice::Kind::elementwise;
  const auto parameter = static_cast<T>(activation.parameter);
  const bool input_saved =
      saved && !by_row &&
      !saves_output(Activations::infos[activation.index], parameter);
  // Identity is the first of the list: it only adds the bias.
  k.elementwise[by_row ? 0 : activation.index].epilogue(
      y, bias, input_saved ? saved : nullptr, rows, cols, parameter);
  if (activation.kind == ActivationChoice::Kind::softmax) k.softmax(y, y, rows, cols);
  if (activation.kind == ActivationChoice::Kind::log_softmax)
    k.log_softmax(y, y, rows, cols);
  if (saved && !input_saved && saved != y)
    std::memcpy(saved, y, rows * cols * sizeof(T));
  if (dropout) k.dropout(y, y, rows * cols, dropout->bits, dropout->values);
}

template <class T>
void dense_backward(const T* dy, const Matrix<T>& x, const Matrix<T>& kernel,
                    const T* saved, const ActivationChoice& activation,
                    const DropoutChoice* dropout, T* dx, T* dkernel, T* dbias) {
  const Kernels<T>& k = kernels<T>();
  const std::size_t rows = x.rows, cols = kernel.cols, count = rows * cols;
  const bool by_row = activation.kind != ActivationChoice::Kind::elementwise;
  const bool is_identity = !by_row && activation.index == 0;

  const Matrix<T> shape = Matrix<T>::contiguous(nullptr, rows, cols);
  Product<T> input_gradient = product(shape, kernel.transposed(), dx);
  Product<T> kernel_gradient = product(x.transposed(), shape, dkernel);
  const std::size_t for_dx = dx ? k.gemm_scratch(input_gradient) : 0;
  const std::size_t for_dkernel = dkernel ? k.gemm_scratch(kernel_gradient) : 0;
  // dz first, then what packing needs, both on 64-byte borders.
  const std::size_t dz_count = is_identity && !dropout ? 0 : (count + 15) / 16 * 16;
  T* const memory =
      scratch<T>(dz_count + (for_dx > for_dkernel ? for_dx : for_dkernel));

  const T* dz = dy;
  if (dropout) {
    k.dropout(dy, memory, count, dropout->bits, dropout->values.gradient());
    dz = memory;
  }
  if (!is_identity) {
    if (activation.kind == ActivationChoice::Kind::softmax)
      k.softmax_backward(dz, saved, memory, rows, cols);
    else if (activation.kind == ActivationChoice::Kind::log_softmax)
      k.log_softmax_backward(dz, saved, memory, rows, cols);
    else
      k.elementwise[activation.index].backward(dz, saved, memory, count,
                                               static_cast<T>(activation.parameter));
    dz = memory;
  }
  if (dx) {
    input_gradient.a = dz;
    input_gradient.scratch = memory + dz_count;
    k.gemm(input_gradient);
  }
  if (dkernel) {
    kernel_gradient.b = dz;
    kernel_gradient.scratch = memory + dz_count;
    k.gemm(kernel_gradient);
  }
  if (dbias) k.column_sums(dz, rows, cols, dbias);
}

#define LAMINA_INSTANTIATE(T)                                                          \
  template void matmul(const Matrix<T>&, const Matrix<T>&, T*);                        \
  template void dense(const Matrix<T>&, const Matrix<T>&, const T*,                    \
                      const ActivationChoice&, const DropoutChoice*, T*, T*);          \
  template void dense_backward(const T*, const Matrix<T>&, const Matrix<T>&, const T*, \
                               const ActivationChoice&, const DropoutChoice*, T*, T*,  \
                               T*);
LAMINA_INSTANTIATE(float)
LAMINA_INSTANTIATE(double)

}  // namespace lamina
