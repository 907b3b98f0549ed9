// Sparse rows as the inputs of a net: those of a batch, the gradient of the kernel that
// they meet, and what a step need not do for the others of its rows.
#pragma once

#include "network/arena.hpp"
#include "ops/optimizers.hpp"
#include "ops/sparse.hpp"

namespace lamina {

// The first kernel while a call takes its steps. Rows that no batch meets have a
// gradient of 0: by plain SGD they stay, by Adam they move as their means decay. These
// wait, and make up for it when a batch meets them, or at the end: the same numbers as
// if they had moved each time, but weights and state, which no cache holds, are fetched
// once for many steps. What meets a batch is updated as its gradient is summed up,
// which is written out for the last step alone.
template <class T>
class WaitingRows {
 public:
  // Of a kernel (rows x units) and its state, whose steps have these rates, times the
  // factor, and updates from `update` on.
  WaitingRows(Arena::Lease&, std::size_t rows, std::size_t units, T* kernel, T* state,
              std::size_t stride, const OptimizerChoice&, const Paces&,
              const Pace& factors, std::uint64_t update, std::size_t steps);
  static std::size_t bytes(std::size_t rows, std::size_t steps);
  // Other rules are not worth it: momentum takes as long as the memory.
  static bool suits(const OptimizerChoice&, std::size_t units);

  // Before a step looks at those rows.
  void wake(const ByColumns<T>&);
  // The step itself, by the gradient dz of the product.
  void update(const ByColumns<T>&, const T* dz);
  // After the last step, for all rows.
  void finish();

 private:
  void ask(std::size_t row) const;
  void make_up(std::size_t row, std::size_t rows);

  const std::size_t rows_, units_;
  T *const kernel_, *const state_;
  const std::size_t stride_;
  const bool stay_;
  Update<T>* steps_;
  std::int32_t* done_;    // steps that a row has taken
  std::size_t step_ = 0;  // that comes next
};

// Of a call, in memory of the lease.
template <class T>
class SparseInputs {
 public:
  // For batches of so many rows and entries; `learns` if they will be grouped.
  SparseInputs(Arena::Lease&, const Csr&, std::size_t rows, std::size_t entries,
               bool learns);
  static std::size_t bytes(const Csr&, std::size_t rows, std::size_t entries,
                           bool learns);

  const Csr& source;
  Taken<T> rows;  // of the batch
  // Whether nothing but what is written here gets into the gradient of the kernel.
  bool alone = false;
  WaitingRows<T>* waiting = nullptr;  // of the kernel, if they do

  // The next batch: rows order[0], ..., or from `first` on.
  void take(const std::int64_t* order, std::size_t first, std::size_t count);
  // By columns, as backward needs it.
  void group();
  // From the gradient by the product, that by the kernel.
  void backward(const T* dz, std::size_t units, T* gradient);
  // That of the last step, if it has not been written.
  void finish(std::size_t units, T* gradient);

 private:
  void write(std::size_t units, T* gradient);

  ByColumns<T> columns_;
  const T* dz_ = nullptr;  // of these
  const std::size_t room_;
  std::int32_t *numbers_, *former_;
  std::size_t former_count_ = 0;  // of columns that have a gradient
  bool clean_ = false;            // and no others
};

}  // namespace lamina
