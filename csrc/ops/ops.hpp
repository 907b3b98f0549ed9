// The library without Python: matrices, dense layers and dropout on raw pointers.
// Shapes and dtypes have been checked by the caller; every function may throw
// std::bad_alloc, before anything is written, and Interrupted (threads.hpp), after.
#pragma once

#include <atomic>

#include "ops/dispatch.hpp"
#include "ops/threads.hpp"

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

  bool by_row() const { return kind != Kind::elementwise; }
  bool is_identity() const { return !by_row() && index == 0; }
  std::size_t row_index() const { return kind == Kind::softmax ? 0 : 1; }
  // What backward reads: the output, or else the input.
  bool saves_output() const {
    return by_row() || lamina::saves_output(Activations::infos[index], parameter);
  }
};

// A dropout of rate threshold / 65536.
struct DropoutChoice {
  DropoutBits bits;
  DropoutValues values;
};

// Inverted: what is kept is divided by the probability of keeping. Classic: it stays.
// Alpha: what is dropped goes to the limit of selu, and all is scaled and shifted so
// that mean 0 and variance 1 stay (Klambauer et al. 2017).
enum class DropoutMode { inverted, classic, alpha };

// The largest multiple of 1 / 65536 that the contract allows for a rate in [0, 1].
DropoutChoice dropout_choice(double rate, std::uint64_t seed, std::uint64_t stream,
                             std::uint64_t offset,
                             DropoutMode mode = DropoutMode::inverted);

// Whether arrays of so many bytes in all do not stay in the last cache. It cannot be
// asked for its size: virtual machines tell that of the whole host.
inline bool beyond_cache(std::size_t bytes) { return bytes >= std::size_t{32} << 20; }

// Runs work(first, count, to) over the n elements of y: in one go, to y itself, or if y
// is `far`, in pieces that pass the caches. No line of y is read first then: a third
// less traffic for relu, which takes 1 / 1.4 of the time; nothing is lost where the
// work takes longer than the memory.
template <class T, class Work>
void fill(const Kernels<T>& table, T* y, std::size_t n, bool far, Work work) {
  constexpr std::size_t line = 64 / sizeof(T), piece = 16 * line;
  const std::size_t past = reinterpret_cast<std::uintptr_t>(y) % 64 / sizeof(T);
  const std::size_t head = far ? (line - past) % line : n;
  work(0, head < n ? head : n, y);
  if (!far) return;
  std::size_t i = head;
  alignas(64) T buffer[piece];
  for (; i + piece <= n; i += piece) {
    work(i, piece, buffer);
    table.stream(buffer, y + i, piece);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (i < n) work(i, n - i, y + i);
}

// Runs work(first, count) over n elements, on several threads if that pays; `cycles` is
// what one takes, roughly.
template <class Work>
void parallel_elements(std::size_t n, double cycles, const Work& work) {
  constexpr std::size_t unit = 256;  // parts begin at borders of cache lines
  if (n <= unit) return work(0, n);
  const std::size_t units = n / unit;
  parallel(units, unit * cycles, workers_for(units, unit * cycles),
           [&](std::size_t first, std::size_t count, std::size_t) {
             const std::size_t end =
                 first + count == units ? n : (first + count) * unit;
             work(first * unit, end - first * unit);
           });
}

// Of an element of T, from those of a float.
template <class T>
constexpr double cycles_of(double cycles) {
  return cycles * static_cast<double>(sizeof(T) / sizeof(float));
}

// The same over rows of so many elements.
template <class Work>
void parallel_rows(std::size_t rows, std::size_t cols, double cycles,
                   const Work& work) {
  cycles *= static_cast<double>(cols);
  parallel(
      rows, cycles, workers_for(rows, cycles),
      [&](std::size_t first, std::size_t count, std::size_t) { work(first, count); });
}

// The same over columns, each of which is summed over all rows.
template <class Work>
void parallel_columns(std::size_t rows, std::size_t cols, double cycles,
                      const Work& work) {
  // Four of the widest vectors of float, or two: narrow sums wait for memory.
  const std::size_t unit = cols < 128 ? 32 : 64;
  const std::size_t units = cols < unit ? 1 : cols / unit;
  cycles *= static_cast<double>(rows * unit);
  parallel(units, cycles, workers_for(units, cycles),
           [&](std::size_t first, std::size_t count, std::size_t) {
             const std::size_t begin = first * unit;
             const std::size_t end =
                 first + count == units ? cols : begin + count * unit;
             work(begin, end - begin);
           });
}

// y = a + b
template <class T>
void add(const T* a, const T* b, T* y, std::size_t n);

// y = f(x), f'(x) or x f'(saved), of an activation on elements; y may be an input.
enum class Pass { forward, derivative, backward };
template <class T>
void activate(const Kernels<T>&, Pass, std::size_t index, const T* x, const T* saved,
              T* y, std::size_t n, T parameter);

// Softmax (index 0) or log-softmax of rows, or its backward, from dy and y in x and
// saved.
template <class T>
void activate_rows(const Kernels<T>&, Pass, std::size_t index, const T* x,
                   const T* saved, T* y, std::size_t rows, std::size_t cols);

// The kernels of these names, on several threads if that pays.
template <class T>
void dropout(const Kernels<T>&, const T* x, T* y, std::size_t n, const DropoutBits&,
             const DropoutValues&);
template <class T>
void dropout_masked(const T* dy, const std::uint8_t* mask, T* dx, std::size_t n,
                    T scale);
template <class T>
void relu_dropout_backward(const T* dy, const T* y, T* dx, std::size_t n, T scale);
template <class T>
double penalty(const T* w, T* dw, std::size_t n, double l1, double l2, double weight);

void dropout_mask(std::uint8_t* mask, std::size_t n, const DropoutBits&);
void random_words(std::uint32_t* words, std::size_t n, std::uint64_t seed,
                  std::uint64_t stream);
void normal_quantile(const double* p, double* x, std::size_t n);

// At a stddev of 0 a copy, so that not even a sign changes; y may be x.
template <class T>
void gaussian_noise(const Kernels<T>&, const T* x, T* y, std::size_t n,
                    const NoiseBits&, double stddev);

// The numbers 0 to n - 1 in the order of n random keys, equal ones as they come; key i
// is high[i] 2^32 + low[i].
void sorted_order(const std::uint32_t* high, const std::uint32_t* low, std::size_t n,
                  std::int64_t* order);

// c = a b, c contiguous
template <class T>
void matmul(const Matrix<T>& a, const Matrix<T>& b, T* c);

// y = dropout(activation(x kernel + bias)), y contiguous, no output over an input.
// bias, dropout and saved may be null; saved receives what the activation's backward
// reads.
template <class T>
void dense(const Matrix<T>& x, const Matrix<T>& kernel, const T* bias,
           const ActivationChoice&, const DropoutChoice*, T* y, T* saved);

// What follows the product in dense(): y = dropout(activation(y + bias)).
template <class T>
void finish_dense(const Kernels<T>&, std::size_t rows, std::size_t cols, const T* bias,
                  const ActivationChoice&, const DropoutChoice*, T* y, T* saved);

// The gradient by what the activation was given, from that by the output.
template <class T>
void gradient_by_product(const T* dy, const T* saved, const ActivationChoice&,
                         const DropoutChoice*, std::size_t rows, std::size_t cols,
                         T* dz);

// The mirror of dense(): dx, dkernel and dbias are contiguous and lie over no input;
// each may be null.
template <class T>
void dense_backward(const T* dy, const Matrix<T>& x, const Matrix<T>& kernel,
                    const T* saved, const ActivationChoice&, const DropoutChoice*,
                    T* dx, T* dkernel, T* dbias);

// The rows of a batch from borders[0] to borders[count], cut into shards, whose sums
// are added in a tree: to the sum of the first half, the longer one, that of the
// second.
struct Shards {
  const std::size_t* borders;
  std::size_t count;

  std::size_t begin(std::size_t i) const { return borders[i] - borders[0]; }
  std::size_t rows(std::size_t i) const { return borders[i + 1] - borders[i]; }
};

// dkernel and dbias of dense_backward, to the bit as if each shard had its own and all
// were added.
template <class T>
void shard_gradients(const T* dz, const Matrix<T>& x, std::size_t cols, const Shards&,
                     T* dkernel, T* dbias);

}  // namespace lamina
