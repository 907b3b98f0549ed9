#include "ops/ops.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "ops/scratch.hpp"

namespace lamina {

namespace {

// Of an element of T, from those of a float.
template <class T>
constexpr double cycles_of(double cycles) {
  return cycles * static_cast<double>(sizeof(T) / sizeof(float));
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

// A product cut into parts for threads: by columns, since each part then packs its own
// of b, or by rows if there are fewer than two panels of columns. A part has at least a
// unit of them, so that none takes a path for few rows or a single column that the
// whole would not take.
template <class T>
class Parts {
 public:
  Product<T> product;

  Parts(const Kernels<T>& kernels, const Product<T>& whole)
      : product(whole),
        kernels_(kernels),
        by_columns_(product.cols >= 2 * panel),
        units_(by_columns_ ? product.cols / panel : product.rows / block) {
    if (units_ == 0) units_ = 1;
    const double size = static_cast<double>(product.rows) *
                        static_cast<double>(product.cols) *
                        static_cast<double>(product.depth);
    cycles_ = cycles_of<T>(size / 16) / static_cast<double>(units_);
    workers_ = workers_for(units_, cycles_);
    // Smaller products may need more: every size that a part can have is asked for.
    whole_ = kernels.gemm_scratch(product);
    if (workers_ > 1) {
      const std::size_t most = largest_part(units_, cycles_, workers_);
      const std::size_t unit = by_columns_ ? panel : block;
      const std::size_t extent = by_columns_ ? product.cols : product.rows;
      for (const std::size_t units : {most, most - 1})
        for (const std::size_t rest : {std::size_t{0}, extent - units_ * unit}) {
          Product<T> part = product;
          (by_columns_ ? part.cols : part.rows) = units * unit + rest;
          if (units > 0) part_ = std::max(part_, kernels.gemm_scratch(part));
        }
    }
    part_ = rounded(part_);
    whole_ = std::max(rounded(whole_), part_);
  }
  std::size_t scratch() const { return whole_ + (workers_ - 1) * part_; }

  void run(T* scratch) const {
    parallel(units_, cycles_, workers_,
             [&](std::size_t first, std::size_t count, std::size_t worker) {
               Product<T> p = product;
               p.scratch =
                   worker == 0 ? scratch : scratch + whole_ + (worker - 1) * part_;
               const std::size_t extent = by_columns_ ? p.cols : p.rows;
               const std::size_t begin = border(first, extent);
               const std::size_t size = border(first + count, extent) - begin;
               if (by_columns_) {
                 p.b += begin * p.b_col_stride;
                 p.c += begin;
                 p.cols = size;
               } else {
                 p.a += begin * p.a_row_stride;
                 p.c += begin * p.c_row_stride;
                 p.rows = size;
               }
               kernels_.gemm(p);
             });
  }

 private:
  static constexpr std::size_t panel = 64, block = 48;  // widths that tiles divide

  static std::size_t rounded(std::size_t elements) { return (elements + 15) / 16 * 16; }

  std::size_t border(std::size_t unit, std::size_t extent) const {
    return unit == units_ ? extent : unit * (by_columns_ ? panel : block);
  }

  const Kernels<T>& kernels_;
  bool by_columns_;
  std::size_t units_, workers_, whole_, part_ = 0;
  double cycles_;
};

// Parts are of columns, since each sum is one chain.
template <class T>
void column_sums(const Kernels<T>& k, const T* x, std::size_t rows, std::size_t cols,
                 T* sums) {
  constexpr std::size_t unit = 64;  // four of the widest vectors of float
  const std::size_t units = cols < unit ? 1 : cols / unit;
  const double cycles = cycles_of<T>(0.15 * static_cast<double>(rows * unit));
  parallel(units, cycles, workers_for(units, cycles),
           [&](std::size_t first, std::size_t count, std::size_t) {
             const std::size_t begin = first * unit;
             const std::size_t end =
                 first + count == units ? cols : begin + count * unit;
             k.column_sums(x + begin, rows, end - begin, cols, sums + begin);
           });
}

// One call stays with the table that it began with: another thread may choose another.
template <class T>
void multiply(const Kernels<T>& k, const Matrix<T>& a, const Matrix<T>& b, T* c) {
  const Parts<T> parts(k, product(a, b, c));
  const Kept scratch(parts.scratch() * sizeof(T));
  parts.run(static_cast<T*>(scratch.get()));
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
void activate(const Kernels<T>& table, Pass pass, std::size_t index, const T* x,
              const T* saved, T* y, std::size_t n, T parameter) {
  const auto& kernel = table.elementwise[index];
  const Info& info = Activations::infos[index];
  const bool backward = pass == Pass::backward;
  const bool far =
      x != y && saved != y && beyond_cache((backward ? 3 : 2) * n * sizeof(T));
  const bool from_output =
      backward && saves_output(info, static_cast<double>(parameter));
  const double cycles = cycles_of<T>(from_output ? 0.07 : info.cycles);
  parallel_elements(n, cycles, [&](std::size_t begin, std::size_t size) {
    fill(table, y + begin, size, far, [&](std::size_t first, std::size_t count, T* to) {
      const std::size_t at = begin + first;
      if (backward)
        kernel.backward(x + at, saved + at, to, count, parameter);
      else if (pass == Pass::forward)
        kernel.forward(x + at, to, count, parameter);
      else
        kernel.derivative(x + at, to, count, parameter);
    });
  });
}

template <class T>
void activate_rows(const Kernels<T>& table, Pass pass, std::size_t index, const T* x,
                   const T* saved, T* y, std::size_t rows, std::size_t cols) {
  constexpr std::size_t unit = 16;  // that many short rows stand side by side
  const std::size_t units = (rows + unit - 1) / unit;
  const double cycles = cycles_of<T>(static_cast<double>(unit * cols));
  parallel(
      units, cycles, workers_for(units, cycles),
      [&](std::size_t first, std::size_t count, std::size_t) {
        const std::size_t begin = first * unit, at = begin * cols;
        const std::size_t size = first + count == units ? rows - begin : count * unit;
        if (pass == Pass::backward)
          (index == 0 ? table.softmax_backward : table.log_softmax_backward)(
              x + at, saved + at, y + at, size, cols);
        else
          (index == 0 ? table.softmax : table.log_softmax)(x + at, y + at, size, cols);
      });
}

template <class T>
void dropout(const Kernels<T>& table, const T* x, T* y, std::size_t n,
             const DropoutBits& bits, const DropoutValues& values) {
  parallel_elements(n, cycles_of<T>(1), [&](std::size_t begin, std::size_t size) {
    DropoutBits own = bits;
    own.offset += begin;
    table.dropout(x + begin, y + begin, size, own, values);
  });
}

template <class T>
void dropout_masked(const T* dy, const std::uint8_t* mask, T* dx, std::size_t n,
                    T scale) {
  const Kernels<T>& table = kernels<T>();
  parallel_elements(n, cycles_of<T>(0.07), [&](std::size_t begin, std::size_t size) {
    table.dropout_masked(dy + begin, mask + begin / 8, dx + begin, size, scale);
  });
}

template <class T>
void relu_dropout_backward(const T* dy, const T* y, T* dx, std::size_t n, T scale) {
  const Kernels<T>& table = kernels<T>();
  parallel_elements(n, cycles_of<T>(0.1), [&](std::size_t begin, std::size_t size) {
    table.relu_dropout_backward(dy + begin, y + begin, dx + begin, size, scale);
  });
}

// On one thread: its sum has one order, and it takes a tenth of an update's time.
template <class T>
double penalty(const T* w, T* dw, std::size_t n, double l1, double l2, double weight) {
  return kernels<T>().penalty(w, dw, n, l1, l2, weight);
}

template <class T>
void gaussian_noise(const Kernels<T>& table, const T* x, T* y, std::size_t n,
                    const NoiseBits& bits, double stddev) {
  if (stddev == 0) {
    if (n > 0 && x != y) std::memcpy(y, x, n * sizeof(T));
    return;
  }
  // Most of the time goes into the normal numbers, floats for both types.
  parallel_elements(n, 4, [&](std::size_t begin, std::size_t size) {
    NoiseBits own = bits;
    own.offset += begin;
    table.gaussian_noise(x + begin, y + begin, size, own, static_cast<T>(stddev));
  });
}

// Buckets by the first bits of the keys, about four in each, which are then sorted by
// insertion: a seventh of the time of sorting whole keys.
void sorted_order(const std::uint32_t* high, const std::uint32_t* low, std::size_t n,
                  std::int64_t* order) {
  unsigned bits = 0;
  while (bits < 24 && (std::size_t{4} << bits) < n) ++bits;
  const auto bucket = [=](std::size_t i) {
    return bits == 0 ? 0u : high[i] >> (32 - bits);
  };
  std::vector<std::size_t> ends(std::size_t{1} << bits);
  for (std::size_t i = 0; i < n; ++i) ++ends[bucket(i)];
  std::size_t sum = 0;
  for (std::size_t& end : ends) {
    const std::size_t count = std::exchange(end, sum);
    sum += count;
  }
  struct Key {
    std::uint64_t key;
    std::int64_t number;
  };
  std::vector<Key> keys(n);
  for (std::size_t i = 0; i < n; ++i)
    keys[ends[bucket(i)]++] = {std::uint64_t{high[i]} << 32 | low[i],
                               static_cast<std::int64_t>(i)};
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    for (std::size_t i = begin + 1; i < end; ++i) {
      const Key key = keys[i];
      std::size_t to = i;
      for (; to > begin && keys[to - 1].key > key.key; --to) keys[to] = keys[to - 1];
      keys[to] = key;
    }
    begin = end;
  }
  for (std::size_t i = 0; i < n; ++i) order[i] = keys[i].number;
}

template <class T>
void matmul(const Matrix<T>& a, const Matrix<T>& b, T* c) {
  multiply(kernels<T>(), a, b, c);
}

// Where the product goes: the activation works on it in place, and what comes out is
// either saved or dropped out.
template <class T>
T* product_of_dense(const ActivationChoice& activation, const DropoutChoice* dropout,
                    T* y, T* saved) {
  return dropout && saved && activation.saves_output() ? saved : y;
}

template <class T>
void finish_dense(const Kernels<T>& k, std::size_t rows, std::size_t cols,
                  const T* bias, const ActivationChoice& activation,
                  const DropoutChoice* dropout, T* y, T* saved) {
  const bool by_row = activation.by_row();
  const auto parameter = static_cast<T>(activation.parameter);
  const bool input_saved = saved && !activation.saves_output();
  const std::size_t index = by_row ? 0 : activation.index;  // 0: identity
  T* const z = product_of_dense(activation, dropout, y, saved);
  const double cycles =
      cycles_of<T>(0.2 + Activations::infos[index].cycles) * static_cast<double>(cols);
  parallel(rows, cycles, workers_for(rows, cycles),
           [&](std::size_t first, std::size_t count, std::size_t) {
             const std::size_t at = first * cols;
             k.elementwise[index].epilogue(z + at, bias,
                                           input_saved ? saved + at : nullptr, count,
                                           cols, parameter);
           });
  if (by_row)
    activate_rows<T>(k, Pass::forward, activation.row_index(), z, nullptr, z, rows,
                     cols);
  if (dropout)
    lamina::dropout(k, z, y, rows * cols, dropout->bits, dropout->values);
  else if (saved && !input_saved && saved != y)
    parallel_elements(rows * cols, cycles_of<T>(0.07),
                      [&](std::size_t first, std::size_t count) {
                        std::memcpy(saved + first, y + first, count * sizeof(T));
                      });
}

template <class T>
void dense(const Matrix<T>& x, const Matrix<T>& kernel, const T* bias,
           const ActivationChoice& activation, const DropoutChoice* dropout, T* y,
           T* saved) {
  const Kernels<T>& k = kernels<T>();
  multiply(k, x, kernel, product_of_dense(activation, dropout, y, saved));
  finish_dense(k, x.rows, kernel.cols, bias, activation, dropout, y, saved);
}

template <class T>
void dense_backward(const T* dy, const Matrix<T>& x, const Matrix<T>& kernel,
                    const T* saved, const ActivationChoice& activation,
                    const DropoutChoice* dropout, T* dx, T* dkernel, T* dbias) {
  const Kernels<T>& k = kernels<T>();
  const std::size_t rows = x.rows, cols = kernel.cols, count = rows * cols;
  const bool by_row = activation.by_row();
  const bool is_identity = !by_row && activation.index == 0;

  const Matrix<T> shape = Matrix<T>::contiguous(nullptr, rows, cols);
  const bool is_copy = is_identity && !dropout;
  // dz first, then what packing needs, both on 64-byte borders.
  const std::size_t dz_count = is_copy ? 0 : (count + 15) / 16 * 16;
  Parts<T> input_gradient(k, product(shape, kernel.transposed(), dx));
  Parts<T> kernel_gradient(k, product(x.transposed(), shape, dkernel));
  const std::size_t packed = std::max(dx ? input_gradient.scratch() : 0,
                                      dkernel ? kernel_gradient.scratch() : 0);
  const Kept scratch((dz_count + packed) * sizeof(T));
  T* const memory = static_cast<T*>(scratch.get());
  const T* dz = dy;
  if (dropout) {
    lamina::dropout(k, dy, memory, count, dropout->bits, dropout->values.gradient());
    dz = memory;
  }
  if (by_row)
    activate_rows(k, Pass::backward, activation.row_index(), dz, saved, memory, rows,
                  cols);
  else if (!is_identity)
    activate(k, Pass::backward, activation.index, dz, saved, memory, count,
             static_cast<T>(activation.parameter));
  if (!is_identity) dz = memory;
  if (dx) {
    input_gradient.product.a = dz;
    input_gradient.run(memory + dz_count);
  }
  if (dkernel) {
    kernel_gradient.product.b = dz;
    kernel_gradient.run(memory + dz_count);
  }
  if (dbias) column_sums(k, dz, rows, cols, dbias);
}

#define LAMINA_INSTANTIATE(T)                                                          \
  template void activate(const Kernels<T>&, Pass, std::size_t, const T*, const T*, T*, \
                         std::size_t, T);                                              \
  template void activate_rows(const Kernels<T>&, Pass, std::size_t, const T*,          \
                              const T*, T*, std::size_t, std::size_t);                 \
  template void dropout(const Kernels<T>&, const T*, T*, std::size_t,                  \
                        const DropoutBits&, const DropoutValues&);                     \
  template void dropout_masked(const T*, const std::uint8_t*, T*, std::size_t, T);     \
  template void relu_dropout_backward(const T*, const T*, T*, std::size_t, T);         \
  template double penalty(const T*, T*, std::size_t, double, double, double);          \
  template void gaussian_noise(const Kernels<T>&, const T*, T*, std::size_t,           \
                               const NoiseBits&, double);                              \
  template void matmul(const Matrix<T>&, const Matrix<T>&, T*);                        \
  template void dense(const Matrix<T>&, const Matrix<T>&, const T*,                    \
                      const ActivationChoice&, const DropoutChoice*, T*, T*);          \
  template void finish_dense(const Kernels<T>&, std::size_t, std::size_t, const T*,    \
                             const ActivationChoice&, const DropoutChoice*, T*, T*);   \
  template void dense_backward(const T*, const Matrix<T>&, const Matrix<T>&, const T*, \
                               const ActivationChoice&, const DropoutChoice*, T*, T*,  \
                               T*);
LAMINA_INSTANTIATE(float)
LAMINA_INSTANTIATE(double)

}  // namespace lamina
