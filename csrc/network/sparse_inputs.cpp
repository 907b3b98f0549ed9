#include "network/sparse_inputs.hpp"

#include <algorithm>
#include <utility>

namespace lamina {

using std::size_t, std::int32_t;

namespace {

// That many columns at most can come in a batch.
size_t most_columns(const Csr& x, size_t entries) { return std::min(x.cols, entries); }

}  // namespace

template <class T>
SparseInputs<T>::SparseInputs(Arena::Lease& arena, const Csr& x, size_t rows,
                              size_t entries, bool learns)
    : source(x),
      rows{.rows = rows,
           .starts = arena.take<size_t>(rows + 1),
           .columns = arena.take<int32_t>(entries),
           .values = arena.take<T>(entries)},
      columns{},
      room_(entries),
      numbers_(nullptr),
      former_(nullptr) {
  if (!learns) return;
  const size_t most = most_columns(x, entries);
  numbers_ = arena.take<int32_t>(x.cols);
  former_ = arena.take<int32_t>(most);
  columns = {.columns = arena.take<int32_t>(most),
             .rows = {.rows = 0,
                      .starts = arena.take<size_t>(most + 2),
                      .columns = arena.take<int32_t>(entries),
                      .values = arena.take<T>(entries)}};
  std::fill_n(numbers_, x.cols, -1);
}

template <class T>
size_t SparseInputs<T>::bytes(const Csr& x, size_t rows, size_t entries, bool learns) {
  const auto of = Arena::rounded;
  const size_t taken = of(entries * sizeof(int32_t)) + of(entries * sizeof(T));
  const size_t most = most_columns(x, entries);
  return of((rows + 1) * sizeof(size_t)) + taken +
         (learns ? of(x.cols * sizeof(int32_t)) + 2 * of(most * sizeof(int32_t)) +
                       of((most + 2) * sizeof(size_t)) + taken
                 : 0);
}

template <class T>
void SparseInputs<T>::take(const std::int64_t* order, size_t first, size_t count) {
  rows.rows = count;
  lamina::take(source, order, first, room_, rows);
}

template <class T>
void SparseInputs<T>::group() {
  if (kept) {
    std::swap(columns.columns, former_);
    former_count_ = columns.rows.rows;
  }
  transpose(rows.view(), numbers_, columns);
}

template <class T>
void SparseInputs<T>::clear(T* gradient, size_t units) {
  if (!kept) {
    std::fill_n(gradient, source.cols * units, T(0));
    return;
  }
  for (size_t i = 0; i < former_count_; ++i)
    std::fill_n(gradient + static_cast<size_t>(former_[i]) * units, units, T(0));
}

template <class T>
WaitingRows<T>::WaitingRows(Arena::Lease& arena, size_t rows, size_t units, T* kernel,
                            T* state, size_t stride, const OptimizerChoice& rule,
                            const double* rates, const Pace& factors,
                            std::uint64_t update, size_t steps)
    : rows_(rows),
      units_(units),
      block_(std::max<size_t>(units, 1024)),
      kernel_(kernel),
      state_(state),
      still_(rule.kind == OptimizerKind::sgd && rule.first == 0),
      rule_(kernel_of<T>(rule)),
      steps_(arena.take<Update<T>>(steps)),
      done_(arena.take<int32_t>(rows)),
      zeros_(arena.take<T>(block_)) {
  std::fill_n(done_, rows, 0);
  std::fill_n(zeros_, block_, T(0));
  for (size_t i = 0; i < steps; ++i) {
    steps_[i] =
        numbers_of<T>(rule, Pace{rates[i], rule.weight_decay} * factors, update + i);
    steps_[i].stride = stride;
  }
}

template <class T>
size_t WaitingRows<T>::bytes(size_t rows, size_t units, size_t steps) {
  return Arena::rounded(steps * sizeof(Update<T>)) +
         Arena::rounded(rows * sizeof(int32_t)) +
         Arena::rounded(std::max<size_t>(units, 1024) * sizeof(T));
}

template <class T>
void WaitingRows<T>::run(size_t step, size_t row, size_t rows, const T* gradient) {
  Update<T> part = steps_[step];
  part.w = kernel_ + row * units_;
  part.dw = gradient;
  part.state = state_ + row * units_;
  part.n = rows * units_;
  rule_(part);
}

template <class T>
void WaitingRows<T>::make_up(size_t row, size_t rows, size_t step) {
  for (auto s = static_cast<size_t>(done_[row]); s < step; ++s)
    run(s, row, rows, zeros_);
}

template <class T>
void WaitingRows<T>::wake(const ByColumns<T>& x, size_t step) {
  if (still_) return;
  const double cycles = 4 * static_cast<double>(units_ * sizeof(T));
  parallel(x.rows.rows, cycles, workers_for(x.rows.rows, cycles),
           [&](size_t first, size_t count, size_t) {
             for (size_t i = first; i < first + count; ++i)
               make_up(static_cast<size_t>(x.columns[i]), 1, step);
           });
}

template <class T>
void WaitingRows<T>::update(const ByColumns<T>& x, size_t step, const T* gradient) {
  const double cycles = 40 + static_cast<double>(units_ * sizeof(T));
  parallel(x.rows.rows, cycles, workers_for(x.rows.rows, cycles),
           [&](size_t first, size_t count, size_t) {
             for (size_t i = first; i < first + count; ++i) {
               const auto row = static_cast<size_t>(x.columns[i]);
               run(step, row, 1, gradient + row * units_);
               done_[row] = static_cast<int32_t>(step + 1);
             }
           });
}

// Rows that have waited for as long make up for it together.
template <class T>
void WaitingRows<T>::finish(size_t steps) {
  if (still_) return;
  const double cycles = 4 * static_cast<double>(units_ * sizeof(T));
  parallel(rows_, cycles, workers_for(rows_, cycles),
           [&](size_t first, size_t count, size_t) {
             const size_t end = first + count, most = block_ / units_;
             for (size_t row = first, rows; row < end; row += rows) {
               for (rows = 1; rows < most && row + rows < end; ++rows)
                 if (done_[row + rows] != done_[row]) break;
               make_up(row, rows, steps);
             }
           });
}

template class SparseInputs<float>;
template class SparseInputs<double>;
template class WaitingRows<float>;
template class WaitingRows<double>;

}  // namespace lamina
