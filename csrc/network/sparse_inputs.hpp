// Sparse rows as the inputs of a net: the rows of a batch, the same by columns, and
// what a step need not do for the rows of the first kernel that no row of the batch
// meets.
#pragma once

#include "network/arena.hpp"
#include "ops/optimizers.hpp"
#include "ops/sparse.hpp"

namespace lamina {

// In memory of the lease.
template <class T>
class SparseInputs {
 public:
  // For batches of so many rows and entries; `learns` if they will be grouped.
  SparseInputs(Arena::Lease&, const Csr&, std::size_t rows, std::size_t entries,
               bool learns);
  static std::size_t bytes(const Csr&, std::size_t rows, std::size_t entries,
                           bool learns);

  const Csr& source;
  Taken<T> rows;         // of the batch
  ByColumns<T> columns;  // the same, once they are grouped

  // The next batch: rows order[0], ..., or from `first` on.
  void take(const std::int64_t* order, std::size_t first, std::size_t count);
  void group();

  // Makes the gradient of a kernel 0, so that the rows of the batch can be written. If
  // it is `kept`, nothing but the batch before is in it.
  void clear(T* gradient, std::size_t units);
  bool kept = false;

 private:
  const std::size_t room_;
  std::int32_t *numbers_, *former_;
  std::size_t former_count_ = 0;
};

// The first kernel while a call takes its steps. Rows that no batch meets have a
// gradient of 0, by which they would move all the same: means decay. They wait, and
// make up for it when a batch meets them, or at the end: the same numbers as if they
// had moved each time, but state and weights, which no cache holds, are moved once for
// many steps.
template <class T>
class WaitingRows {
 public:
  // Of that kernel (source.cols x units) and its state. Steps are numbered from 0, and
  // have these rates, times that factor, and updates from `update` on.
  WaitingRows(Arena::Lease&, std::size_t rows, std::size_t units, T* kernel, T* state,
              std::size_t stride, const OptimizerChoice&, const double* rates,
              const Pace& factors, std::uint64_t update, std::size_t steps);
  static std::size_t bytes(std::size_t rows, std::size_t units, std::size_t steps);

  // Before a step looks at those rows.
  void wake(const ByColumns<T>&, std::size_t step);
  // The step itself.
  void update(const ByColumns<T>&, std::size_t step, const T* gradient);
  // After so many steps.
  void finish(std::size_t steps);

 private:
  void make_up(std::size_t row, std::size_t rows, std::size_t step);
  void run(std::size_t step, std::size_t row, std::size_t rows, const T* gradient);

  const std::size_t rows_, units_, block_;
  T *const kernel_, *const state_;
  const bool still_;  // a gradient of 0 changes nothing
  void (*const rule_)(const Update<T>&);
  Update<T>* steps_;
  std::int32_t* done_;  // steps that a row has taken
  T* zeros_;
};

}  // namespace lamina
