#include "network/sparse_inputs.hpp"

#include <algorithm>
#include <utility>

#include "ops/scratch.hpp"

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
      columns_{},
      room_(entries),
      numbers_(nullptr),
      former_(nullptr) {
  if (!learns) return;
  const size_t most = most_columns(x, entries);
  numbers_ = arena.take<int32_t>(x.cols);
  former_ = arena.take<int32_t>(most);
  columns_ = {.columns = arena.take<int32_t>(most),
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
  if (dz_ && !waiting) {
    std::swap(columns_.columns, former_);
    former_count_ = columns_.rows.rows;
  }
  dz_ = nullptr;
  transpose(rows.view(), numbers_, columns_);
  if (waiting) waiting->wake(columns_);
}

template <class T>
void SparseInputs<T>::backward(const T* dz, size_t units, T* gradient) {
  dz_ = dz;
  if (waiting)
    waiting->update(columns_, dz);
  else
    write(units, gradient);
}

template <class T>
void SparseInputs<T>::finish(size_t units, T* gradient) {
  if (!waiting) return;
  waiting->finish();
  if (dz_) write(units, gradient);
}

template <class T>
void SparseInputs<T>::write(size_t units, T* gradient) {
  if (!clean_) std::fill_n(gradient, source.cols * units, T(0));
  for (size_t i = 0; clean_ && i < former_count_; ++i)
    std::fill_n(gradient + static_cast<size_t>(former_[i]) * units, units, T(0));
  clean_ = alone;
  multiply(kernels<T>(), columns_.rows.view(), dz_, units, columns_.columns, gradient);
}

template <class T>
WaitingRows<T>::WaitingRows(Arena::Lease& arena, size_t rows, size_t units, T* kernel,
                            T* state, size_t stride, const OptimizerChoice& rule,
                            const Paces& paces, const Pace& factors,
                            std::uint64_t update, size_t steps)
    : rows_(rows),
      units_(units),
      kernel_(kernel),
      state_(state),
      stride_(stride),
      stay_(rule.kind == OptimizerKind::sgd),
      steps_(arena.take<Update<T>>(steps)),
      done_(arena.take<int32_t>(rows)) {
  std::fill_n(done_, rows, 0);
  for (size_t i = 0; i < steps; ++i)
    steps_[i] = numbers_of<T>(rule, paces[i] * factors, update + i);
}

template <class T>
size_t WaitingRows<T>::bytes(size_t rows, size_t steps) {
  return Arena::rounded(steps * sizeof(Update<T>)) +
         Arena::rounded(rows * sizeof(int32_t));
}

template <class T>
bool WaitingRows<T>::suits(const OptimizerChoice& rule, size_t units) {
  return (rule.kind == OptimizerKind::sgd && rule.first == 0) ||
         (rule.kind == OptimizerKind::adam && units >= 16);
}

template <class T>
void WaitingRows<T>::make_up(size_t row, size_t rows) {
  const auto done = static_cast<size_t>(done_[row]);
  const size_t at = row * units_;
  if (done < step_)
    kernels<T>().adam_steps(steps_ + done, step_ - done, nullptr, kernel_ + at,
                            state_ + at, state_ + stride_ + at, rows * units_);
}

// Asks for a row and its state before they are needed.
template <class T>
void WaitingRows<T>::ask(size_t row) const {
  const size_t end = (row + 1) * units_;
  for (size_t at = row * units_; at < end; at += 64 / sizeof(T)) {
    __builtin_prefetch(kernel_ + at, 1);
    __builtin_prefetch(state_ + at, 1);
    __builtin_prefetch(state_ + stride_ + at, 1);
  }
}

template <class T>
void WaitingRows<T>::wake(const ByColumns<T>& x) {
  if (stay_) return;
  const double cycles = 4 * static_cast<double>(units_ * sizeof(T));
  parallel(x.rows.rows, cycles, workers_for(x.rows.rows, cycles),
           [&](size_t first, size_t count, size_t) {
             const size_t end = first + count;
             for (size_t i = first; i < end; ++i) {
               if (i + 4 < end) ask(static_cast<size_t>(x.columns[i + 4]));
               make_up(static_cast<size_t>(x.columns[i]), 1);
               done_[x.columns[i]] = static_cast<int32_t>(step_);
             }
           });
}

template <class T>
void WaitingRows<T>::update(const ByColumns<T>& x, const T* dz) {
  const Kernels<T>& k = kernels<T>();
  const Update<T>* const step = steps_ + step_++;
  constexpr size_t most = 16;  // rows whose gradient stays in the cache
  const size_t units = (x.rows.rows + most - 1) / most;
  const double cycles =
      most * (40 + static_cast<double>(units_ * sizeof(T)) / (stay_ ? 4 : 1));
  const size_t workers = workers_for(units, cycles);
  const Kept scratch(stay_ ? 0 : workers * most * units_ * sizeof(T));
  parallel(units, cycles, workers, [&](size_t first, size_t count, size_t worker) {
    const size_t begin = first * most;
    const size_t end = std::min(begin + count * most, x.rows.rows);
    const auto part = [&](size_t from, size_t to) -> SparseRows<T> {
      return {to - from, x.rows.starts + from, x.rows.columns, x.rows.values};
    };
    if (stay_)
      return k.sparse_add(part(begin, end), dz, units_, x.columns + begin,
                          static_cast<T>(-step->rate), kernel_);
    T* const gradient = static_cast<T*>(scratch.get()) + worker * most * units_;
    for (size_t from = begin, to; from < end; from = to) {
      to = std::min(from + most, end);
      for (size_t i = from; i < to; ++i) ask(static_cast<size_t>(x.columns[i]));
      k.sparse_product(part(from, to), dz, units_, nullptr, gradient);
      for (size_t i = from; i < to; ++i) {
        const size_t at = static_cast<size_t>(x.columns[i]) * units_;
        k.adam_steps(step, 1, gradient + (i - from) * units_, kernel_ + at, state_ + at,
                     state_ + stride_ + at, units_);
        done_[x.columns[i]] = static_cast<int32_t>(step_);
      }
    }
  });
}

// Rows that have waited for as long make up for it together.
template <class T>
void WaitingRows<T>::finish() {
  if (stay_) return;
  const double cycles = 4 * static_cast<double>(units_ * sizeof(T));
  parallel(rows_, cycles, workers_for(rows_, cycles),
           [&](size_t first, size_t count, size_t) {
             const size_t end = first + count;
             for (size_t row = first, next; row < end; row = next) {
               next = row + 1;
               while (next < end && done_[next] == done_[row]) ++next;
               make_up(row, next - row);
             }
           });
}

template class SparseInputs<float>;
template class SparseInputs<double>;
template class WaitingRows<float>;
template class WaitingRows<double>;

}  // namespace lamina
