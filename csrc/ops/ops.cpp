#include "ops/ops.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "ops/scratch.hpp"
#include "ops/sparse.hpp"

namespace lamina {

namespace {

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

  // `cycles` is what follows the product, for each of its elements.
  Parts(const Kernels<T>& kernels, const Product<T>& whole, double cycles = 0)
      : product(whole), kernels_(kernels), whole_(kernels.gemm_scratch(whole)) {
    const std::size_t panel = panel_of(whole, whole_ > 0);
    by_columns_ = product.cols >= 2 * panel;
    unit_ = by_columns_ ? panel : 48;  // which tiles divide
    // With hardly any depth the time goes into writing c, for two threads as for one:
    // 0.9 to 1.05 of its speed at (1024,1,1024), 0.6 beside a busy neighbour.
    const std::size_t extent = by_columns_ ? product.cols : product.rows;
    units_ = product.depth <= 2 ? 1 : std::max<std::size_t>(extent / unit_, 1);
    const double size =
        static_cast<double>(product.rows) * static_cast<double>(product.cols);
    cycles_ = cycles_of<T>(size * (static_cast<double>(product.depth) / 16 + cycles)) /
              static_cast<double>(units_);
    workers_ = workers_for(units_, cycles_);
    // Smaller products may need more: every size that a part can have is asked for.
    if (workers_ > 1) {
      const std::size_t most = largest_part(units_, cycles_, workers_);
      for (const std::size_t units : {most, most - 1})
        for (const std::size_t rest : {std::size_t{0}, extent - units_ * unit_}) {
          Product<T> part = product;
          (by_columns_ ? part.cols : part.rows) = units * unit_ + rest;
          if (units > 0) part_ = std::max(part_, kernels.gemm_scratch(part));
        }
    }
    part_ = rounded(part_);
    whole_ = std::max(rounded(whole_), part_);
  }
  std::size_t scratch() const { return whole_ + (workers_ - 1) * part_; }

  // after(row, rows, column, columns) follows each part, on its thread: what it works
  // on is in that one's cache.
  template <class After>
  void run(T* scratch, const After& after) const {
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
               after(by_columns_ ? 0 : begin, p.rows, by_columns_ ? begin : 0, p.cols);
             });
  }
  void run(T* scratch) const {
    run(scratch, [](std::size_t, std::size_t, std::size_t, std::size_t) {});
  }

 private:
  // Columns of a unit, a multiple of the widths that tiles divide. Tall products of few
  // columns get narrow ones: 285 -> 155 us on two threads at (64,4096,64). Where each
  // part copies the other matrix too, wide ones: 25.6 -> 22.0 ms at (1024,2048,1024). A
  // single row reads rows of b, which must be long: 64 -> 41 us at (1,1024,1024).
  static std::size_t panel_of(const Product<T>& p, bool copies) {
    if (p.cols < 128 && p.rows < 96) return 32;
    std::size_t panel = 64;
    if (p.rows > 1 && !(copies && p.rows >= 1024)) return panel;
    const std::size_t least = get_threads() * (p.rows > 1 ? 2 : 1);
    while (panel < 512 && p.cols / (2 * panel) >= least) panel *= 2;
    return panel;
  }

  static std::size_t rounded(std::size_t elements) { return (elements + 15) / 16 * 16; }

  std::size_t border(std::size_t unit, std::size_t extent) const {
    return unit == units_ ? extent : unit * unit_;
  }

  const Kernels<T>& kernels_;
  bool by_columns_;
  std::size_t unit_, units_, workers_, whole_, part_ = 0;
  double cycles_;
};

// One call stays with the table that it began with: another thread may choose another.
template <class T>
void multiply(const Kernels<T>& k, const Matrix<T>& a, const Matrix<T>& b, T* c) {
  const Parts<T> parts(k, product(a, b, c));
  const Kept scratch(parts.scratch() * sizeof(T));
  parts.run(static_cast<T*>(scratch.get()));
}

// Of a dense layer, on a block of its product z, `stride` wide.
template <class T>
struct Epilogue {
  const Kernels<T>& table;
  std::size_t index;  // of the activation
  T parameter;
  const T* bias;
  T *z, *saved;  // saved may be null
  std::size_t stride;

  double cycles() const { return 0.2 + Activations::infos[index].cycles; }
  void operator()(std::size_t row, std::size_t rows, std::size_t column,
                  std::size_t columns) const {
    const auto& epilogue = table.elementwise[index].epilogue;
    std::size_t at = row * stride + column;
    if (columns == stride)
      return epilogue(z + at, bias, saved ? saved + at : nullptr, rows, columns,
                      parameter);
    for (; rows > 0; --rows, at += stride)
      epilogue(z + at, bias ? bias + column : nullptr, saved ? saved + at : nullptr, 1,
               columns, parameter);
  }
};

// Leaves in `to` what the shards first ... last - 1 add up to: leaf(shard, to, onto)
// is the sum of one, added to what is there if `onto`; add(from, to) adds. Sums of
// second halves lie in `spare`, `size` elements for each level of the tree.
template <class T, class Leaf, class Add>
void add_up(std::size_t first, std::size_t last, T* to, T* spare, std::size_t size,
            bool onto, const Leaf& leaf, const Add& add) {
  if (last - first == 1) return leaf(first, to, false);
  const std::size_t middle = (first + last + 1) / 2;
  add_up(first, middle, to, spare, size, onto, leaf, add);
  if (last - middle == 1 && onto) return leaf(middle, to, true);
  add_up(middle, last, spare, spare + size, size, onto, leaf, add);
  add(spare, to);
}

std::size_t levels(const Shards& shards) {
  return static_cast<std::size_t>(std::bit_width(shards.count - 1));
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
void add(const T* a, const T* b, T* y, std::size_t n) {
  const Kernels<T>& table = kernels<T>();
  parallel_elements(n, cycles_of<T>(0.1), [&](std::size_t begin, std::size_t size) {
    table.add(a + begin, b + begin, y + begin, size);
  });
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
  // What needs the output alone waits for memory: 34 -> 19 us on two threads for 262
  // 144 elements, 13 -> 7.5 for 98 304.
  const double cycles = cycles_of<T>(from_output ? 0.3 : info.cycles);
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
  const bool far = dy != dx && beyond_cache(2 * n * sizeof(T));
  parallel_elements(n, cycles_of<T>(0.07), [&](std::size_t begin, std::size_t size) {
    fill(table, dx + begin, size, far,
         [&](std::size_t first, std::size_t count, T* to) {
           const std::size_t at = begin + first;
           table.dropout_masked(dy + at, mask, at, to, count, scale);
         });
  });
}

void dropout_mask(std::uint8_t* mask, std::size_t n, const DropoutBits& bits) {
  const KernelTable& table = active();
  parallel_elements(n, 3, [&](std::size_t begin, std::size_t size) {
    DropoutBits own = bits;
    own.offset += begin;
    table.dropout_mask(mask + begin / 8, size, own);
  });
}

void random_words(std::uint32_t* words, std::size_t n, std::uint64_t seed,
                  std::uint64_t stream) {
  const KernelTable& table = active();
  parallel_elements(n, 1, [&](std::size_t begin, std::size_t size) {
    table.random_words(words + begin, begin, size, seed, stream);
  });
}

void normal_quantile(const double* p, double* x, std::size_t n) {
  const KernelTable& table = active();
  parallel_elements(n, 8, [&](std::size_t begin, std::size_t size) {
    table.normal_quantile(p + begin, x + begin, size);
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
Epilogue<T> epilogue_of(const Kernels<T>& k, std::size_t cols, const T* bias,
                        const ActivationChoice& activation,
                        const DropoutChoice* dropout, T* y, T* saved) {
  const bool saves_output = activation.saves_output();
  return {.table = k,
          .index = activation.by_row() ? 0 : activation.index,  // 0: identity
          .parameter = static_cast<T>(activation.parameter),
          .bias = bias,
          .z = dropout && saved && saves_output ? saved : y,
          .saved = saves_output ? nullptr : saved,
          .stride = cols};
}

// What follows the epilogue.
template <class T>
void finish(const Epilogue<T>& done, std::size_t rows,
            const ActivationChoice& activation, const DropoutChoice* dropout, T* y,
            T* saved) {
  const std::size_t cols = done.stride, count = rows * cols;
  if (activation.by_row())
    activate_rows<T>(done.table, Pass::forward, activation.row_index(), done.z, nullptr,
                     done.z, rows, cols);
  if (dropout)
    lamina::dropout(done.table, done.z, y, count, dropout->bits, dropout->values);
  else if (saved && !done.saved && saved != y)
    parallel_elements(count, cycles_of<T>(0.07),
                      [&](std::size_t first, std::size_t size) {
                        std::memcpy(saved + first, y + first, size * sizeof(T));
                      });
}

template <class T>
void finish_dense(const Kernels<T>& k, std::size_t rows, std::size_t cols,
                  const T* bias, const ActivationChoice& activation,
                  const DropoutChoice* dropout, T* y, T* saved) {
  const Epilogue<T> epilogue =
      epilogue_of(k, cols, bias, activation, dropout, y, saved);
  parallel_rows(
      rows, cols, cycles_of<T>(epilogue.cycles()),
      [&](std::size_t first, std::size_t count) { epilogue(first, count, 0, cols); });
  finish(epilogue, rows, activation, dropout, y, saved);
}

template <class T>
void dense(const Matrix<T>& x, const Matrix<T>& kernel, const T* bias,
           const ActivationChoice& activation, const DropoutChoice* dropout, T* y,
           T* saved) {
  const Kernels<T>& k = kernels<T>();
  const Epilogue<T> epilogue =
      epilogue_of(k, kernel.cols, bias, activation, dropout, y, saved);
  const Parts<T> parts(k, product(x, kernel, epilogue.z), epilogue.cycles());
  const Kept scratch(parts.scratch() * sizeof(T));
  parts.run(static_cast<T*>(scratch.get()), epilogue);
  finish(epilogue, x.rows, activation, dropout, y, saved);
}

template <class T>
void dense(const SparseRows<T>& x, const T* kernel, std::size_t cols, const T* bias,
           const ActivationChoice& activation, const DropoutChoice* dropout, T* y,
           T* saved) {
  const Kernels<T>& k = kernels<T>();
  const Epilogue<T> epilogue =
      epilogue_of(k, cols, bias, activation, dropout, y, saved);
  multiply(
      k, x, kernel, cols, nullptr, epilogue.z,
      [&](std::size_t first, std::size_t count) { epilogue(first, count, 0, cols); });
  finish(epilogue, x.rows, activation, dropout, y, saved);
}

template <class T>
void gradient_by_product(const T* dy, const T* saved,
                         const ActivationChoice& activation,
                         const DropoutChoice* dropout, std::size_t rows,
                         std::size_t cols, T* dz) {
  const Kernels<T>& k = kernels<T>();
  const std::size_t count = rows * cols;
  if (dropout)
    lamina::dropout(k, dy, dz, count, dropout->bits, dropout->values.gradient());
  const T* const from = dropout ? dz : dy;
  if (activation.by_row())
    activate_rows(k, Pass::backward, activation.row_index(), from, saved, dz, rows,
                  cols);
  else if (!activation.is_identity() || !dropout)
    activate(k, Pass::backward, activation.index, from, saved, dz, count,
             static_cast<T>(activation.parameter));
}

template <class T>
void dense_backward(const T* dy, const Matrix<T>& x, const Matrix<T>& kernel,
                    const T* saved, const ActivationChoice& activation,
                    const DropoutChoice* dropout, T* dx, T* dkernel, T* dbias) {
  const Kernels<T>& k = kernels<T>();
  const std::size_t rows = x.rows, cols = kernel.cols, count = rows * cols;

  const Matrix<T> shape = Matrix<T>::contiguous(nullptr, rows, cols);
  const bool is_copy = activation.is_identity() && !dropout;
  // dz first, then what packing needs, both on 64-byte borders.
  const std::size_t dz_count = is_copy ? 0 : (count + 15) / 16 * 16;
  Parts<T> input_gradient(k, product(shape, kernel.transposed(), dx));
  Parts<T> kernel_gradient(k, product(x.transposed(), shape, dkernel));
  const std::size_t packed = std::max(dx ? input_gradient.scratch() : 0,
                                      dkernel ? kernel_gradient.scratch() : 0);
  const Kept scratch((dz_count + packed) * sizeof(T));
  T* const memory = static_cast<T*>(scratch.get());
  if (!is_copy) gradient_by_product(dy, saved, activation, dropout, rows, cols, memory);
  const T* const dz = is_copy ? dy : memory;
  if (dx) {
    input_gradient.product.a = dz;
    input_gradient.run(memory + dz_count);
  }
  if (dkernel) {
    kernel_gradient.product.b = dz;
    kernel_gradient.run(memory + dz_count);
  }
  if (dbias)
    parallel_columns(rows, cols, cycles_of<T>(0.15),
                     [&](std::size_t first, std::size_t count) {
                       k.column_sums(dz + first, rows, count, cols, dbias + first);
                     });
}

// Block by block of dkernel, so that what is added stays in the cache: with eight
// shards of 784-512-512-10, a step of two ranks took 1.03 of one process' time by whole
// gradients, 0.91 by blocks.
template <class T>
void shard_gradients(const T* dz, const Matrix<T>& x, std::size_t cols,
                     const Shards& shards, T* dkernel, T* dbias) {
  // Of a block: rows that tiles divide, and 24 KB of floats, which L1 holds.
  constexpr std::size_t height = 48, width = 128;
  const Kernels<T>& k = kernels<T>();
  const std::size_t rows = x.rows, inputs = x.cols, depth = levels(shards);
  const auto part = [&](std::size_t shard, std::size_t row, std::size_t column,
                        bool onto) {
    const std::size_t first = shards.begin(shard), count = shards.rows(shard);
    const Matrix<T> own = Matrix<T>::contiguous(x.data + first * inputs, count, inputs);
    const Matrix<T> shape = Matrix<T>::contiguous(nullptr, count, cols);
    Product<T> p = product(own.transposed(), shape, static_cast<T*>(nullptr));
    p.a += row * p.a_row_stride;
    p.rows = std::min(height, inputs - row);
    p.b = dz + first * cols + column;
    p.cols = std::min(width, cols - column);
    p.accumulate = onto;
    return p;
  };
  if (dkernel) {
    const std::size_t units = (inputs + height - 1) / height;
    const auto size = static_cast<double>(rows * height * cols);
    const double cycles = cycles_of<T>(size / 16);
    const std::size_t workers = workers_for(units, cycles);
    std::size_t packed = 0;
    bool one_chain = true;  // of a product, which is added as a whole then
    for (std::size_t i = 0; i < shards.count; ++i) {
      one_chain &= shards.rows(i) <= chain;
      for (const std::size_t row : {std::size_t{0}, (units - 1) * height})
        for (const std::size_t column : {std::size_t{0}, (cols - 1) / width * width})
          for (const bool onto : {false, one_chain})
            packed = std::max(packed, k.gemm_scratch(part(i, row, column, onto)));
    }
    packed = (packed + 15) / 16 * 16;
    constexpr std::size_t block = height * width;
    const std::size_t own = depth * block + packed;
    const Kept scratch(workers * own * sizeof(T));
    parallel(units, cycles, workers,
             [&](std::size_t first, std::size_t count, std::size_t worker) {
               T* const spare = static_cast<T*>(scratch.get()) + worker * own;
               for (std::size_t row = first * height;
                    row < std::min((first + count) * height, inputs); row += height)
                 for (std::size_t column = 0; column < cols; column += width) {
                   T* const c = dkernel + row * cols + column;
                   const std::size_t wide = std::min(width, cols - column);
                   const std::size_t high = std::min(height, inputs - row);
                   const auto leaf = [&](std::size_t shard, T* to, bool onto) {
                     Product<T> p = part(shard, row, column, onto);
                     p.c = to;
                     p.c_row_stride = to == c ? cols : wide;
                     p.scratch = spare + depth * block;
                     k.gemm(p);
                   };
                   const auto add = [&](const T* from, T* to) {
                     if (to != c) return k.add(to, from, to, high * wide);
                     for (std::size_t i = 0; i < high; ++i)
                       k.add(to + i * cols, from + i * wide, to + i * cols, wide);
                   };
                   add_up(0, shards.count, c, spare, block, one_chain, leaf, add);
                 }
             });
  }
  if (dbias) {
    const Kept scratch(depth * cols * sizeof(T));
    parallel_columns(
        rows, cols, cycles_of<T>(0.15), [&](std::size_t first, std::size_t count) {
          const auto leaf = [&](std::size_t shard, T* to, bool) {
            k.column_sums(dz + shards.begin(shard) * cols + first, shards.rows(shard),
                          count, cols, to);
          };
          const auto add = [&](const T* from, T* to) { k.add(to, from, to, count); };
          add_up(0, shards.count, dbias + first, static_cast<T*>(scratch.get()) + first,
                 cols, false, leaf, add);
        });
  }
}

#define LAMINA_INSTANTIATE(T)                                                          \
  template void add(const T*, const T*, T*, std::size_t);                              \
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
  template void dense(const SparseRows<T>&, const T*, std::size_t, const T*,           \
                      const ActivationChoice&, const DropoutChoice*, T*, T*);          \
  template void gradient_by_product(const T*, const T*, const ActivationChoice&,       \
                                    const DropoutChoice*, std::size_t, std::size_t,    \
                                    T*);                                               \
  template void finish_dense(const Kernels<T>&, std::size_t, std::size_t, const T*,    \
                             const ActivationChoice&, const DropoutChoice*, T*, T*);   \
  template void dense_backward(const T*, const Matrix<T>&, const Matrix<T>&, const T*, \
                               const ActivationChoice&, const DropoutChoice*, T*, T*,  \
                               T*);                                                    \
  template void shard_gradients(const T*, const Matrix<T>&, std::size_t,               \
                                const Shards&, T*, T*);
LAMINA_INSTANTIATE(float)
LAMINA_INSTANTIATE(double)

}  // namespace lamina
