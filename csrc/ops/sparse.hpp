// Sparse rows (CSR) without Python: what a call takes of them, by rows and by columns.
// Nothing else of the library sees the caller's own arrays, whose numbers may be wrong
// and may change meanwhile: what is taken has been checked.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/ops.hpp"

namespace lamina {

// As they lie in the caller's memory: row i has the entries starts[i] ... starts[i + 1]
// - 1, in any order of columns, of which each may come more than once.
struct Csr {
  const char* name = "x";  // in messages
  std::size_t rows = 0, cols = 0;
  std::size_t entries = 0;  // that there are
  bool wide = false;        // columns and starts are int64, else int32
  bool is_double = false;   // values are float64, else float32
  const void *values = nullptr, *columns = nullptr, *starts = nullptr;
};

// std::invalid_argument unless every row and column can be taken.
void check(const Csr&);

// How many entries those rows have, or rows 0 ... count - 1 if `order` is null; at
// most, in any `batch` of them. std::invalid_argument unless they are rows and entries.
std::size_t most_entries(const Csr&, const std::int64_t* order, std::size_t count,
                         std::size_t batch);

// Rows that were taken, in memory of the caller's.
template <class T>
struct Taken {
  std::size_t rows;
  std::size_t* starts;
  std::int32_t* columns;
  T* values;

  SparseRows<T> view() const { return {rows, starts, columns, values}; }
};

// Takes the rows order[0 ... to.rows - 1], or if that is null, those from `first` on.
// std::invalid_argument unless their columns are such, or if there are more entries
// than `room`.
template <class T>
void take(const Csr&, const std::int64_t* order, std::size_t first, std::size_t room,
          const Taken<T>& to);

// The same entries by columns: row i of `rows` is column columns[i], and its columns
// are the rows. Columns without entries are left out.
template <class T>
struct ByColumns {
  std::int32_t* columns;
  Taken<T> rows;
};

// `numbers` has one for each column, -1 before and after; to.rows.starts has two more
// than columns can come.
template <class T>
void transpose(const SparseRows<T>&, std::int32_t* numbers, ByColumns<T>& to);

// Row places[i] of y (null: row i) = row i of x, times w, whose rows are `cols` long;
// after(first, count) follows each part of the rows of x, on its thread.
template <class T, class After>
void multiply(const Kernels<T>& k, const SparseRows<T>& x, const T* w, std::size_t cols,
              const std::int32_t* places, T* y, const After& after) {
  // Most of it is waiting for rows of w.
  const double entries =
      static_cast<double>(x.starts[x.rows]) / static_cast<double>(x.rows + 1);
  const double cycles = entries * (8 + static_cast<double>(cols * sizeof(T)) / 16);
  parallel(x.rows, cycles, workers_for(x.rows, cycles),
           [&](std::size_t first, std::size_t count, std::size_t) {
             k.sparse_product({count, x.starts + first, x.columns, x.values}, w, cols,
                              places ? places + first : nullptr,
                              places ? y : y + first * cols);
             after(first, count);
           });
}

template <class T>
void multiply(const Kernels<T>& k, const SparseRows<T>& x, const T* w, std::size_t cols,
              const std::int32_t* places, T* y) {
  multiply(k, x, w, cols, places, y, [](std::size_t, std::size_t) {});
}

// y = dropout(activation(x kernel + bias)), as of dense rows; no output over an input.
template <class T>
void dense(const SparseRows<T>& x, const T* kernel, std::size_t cols, const T* bias,
           const ActivationChoice&, const DropoutChoice*, T* y, T* saved);

// The same of the caller's rows, some at a time.
template <class T>
void dense(const Csr& x, const T* kernel, std::size_t cols, const T* bias,
           const ActivationChoice&, const DropoutChoice*, T* y, T* saved);

// The mirror of it; dx is dense, and may be null.
template <class T>
void dense_backward(const T* dy, const Csr& x, const Matrix<T>& kernel, const T* saved,
                    const ActivationChoice&, const DropoutChoice*, T* dx, T* dkernel,
                    T* dbias);

}  // namespace lamina
