#include "ops/sparse.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace lamina {

namespace {

using std::size_t, std::int32_t, std::int64_t;

[[noreturn]] void refuse(const Csr& x, const std::string& what) {
  throw std::invalid_argument(std::string(x.name) + " must be sparse rows (CSR) " +
                              what);
}

// Calls f with the arrays of indices.
template <class Function>
auto with_indices(const Csr& x, const Function& f) {
  if (x.wide)
    return f(static_cast<const int64_t*>(x.starts),
             static_cast<const int64_t*>(x.columns));
  return f(static_cast<const int32_t*>(x.starts),
           static_cast<const int32_t*>(x.columns));
}

struct Span {
  size_t begin, end;
};
template <class Index>
Span entries_of(const Csr& x, const Index* starts, size_t row) {
  if (row >= x.rows) throw std::out_of_range("rows must be numbers of rows");
  const auto begin = static_cast<int64_t>(starts[row]);
  const auto end = static_cast<int64_t>(starts[row + 1]);
  if (begin < 0 || end < begin || static_cast<size_t>(end) > x.entries)
    refuse(x, "whose indptr never decreases and ends within its " +
                  std::to_string(x.entries) + " entries, got " + std::to_string(begin) +
                  " and " + std::to_string(end) + " for row " + std::to_string(row));
  return {static_cast<size_t>(begin), static_cast<size_t>(end)};
}

// Of n columns: a sign bit tells of one that is negative or beyond the last.
template <class Index>
void check_columns(const Csr& x, const Index* columns, size_t n) {
  using Unsigned = std::make_unsigned_t<Index>;
  constexpr size_t turn = 64 / sizeof(Index);  // which the compiler makes vectors of
  constexpr size_t most = std::numeric_limits<Index>::max();
  // Of no columns none is right.
  const auto last =
      static_cast<Unsigned>(x.cols > 0 ? std::min(x.cols - 1, most) : ~size_t{0});
  Unsigned signs[turn] = {};
  const auto look = [&](size_t k, Index column) {
    const auto c = static_cast<Unsigned>(column);
    signs[k] |= c | (last - c);
  };
  size_t i = 0;
  for (; i + turn <= n; i += turn)
    for (size_t k = 0; k < turn; ++k) look(k, columns[i + k]);
  for (; i < n; ++i) look(0, columns[i]);
  const auto is_set = [](Unsigned s) { return static_cast<Index>(s) < 0; };
  if (std::none_of(signs, signs + turn, is_set)) return;
  const Index* const bad = std::find_if(columns, columns + n, [&](Index column) {
    return column < 0 || static_cast<size_t>(column) >= x.cols;
  });
  const auto found = bad < columns + n ? *bad : Index{0};  // it may be right by now
  refuse(x, "with indices in [0, " + std::to_string(x.cols) + "), got " +
                std::to_string(found));
}

template <class To, class From>
void take_numbers(const From* from, size_t n, To* to) {
  if constexpr (std::is_same_v<To, From>)
    std::copy_n(from, n, to);
  else
    for (size_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i]);
}

// Checked after they are copied: another thread may write to them.
template <class Index>
void take_columns(const Csr& x, const Index* from, size_t n, int32_t* to) {
  take_numbers(from, n, to);
  check_columns(x, to, n);
}

// Of what is taken.
template <class T>
class Memory {
 public:
  Memory(size_t rows, size_t entries)
      : starts_(rows + 1), columns_(entries), values_(entries) {}

  Taken<T> taken(size_t rows) {
    return {rows, starts_.data(), columns_.data(), values_.data()};
  }

 private:
  std::vector<size_t> starts_;
  std::vector<int32_t> columns_;
  std::vector<T> values_;
};

}  // namespace

void check(const Csr& x) {
  most_entries(x, nullptr, x.rows, 1);
  with_indices(x, [&](const auto* starts, const auto* columns) {
    if (x.rows == 0) return;
    const auto begin = static_cast<size_t>(starts[0]);
    check_columns(x, columns + begin, static_cast<size_t>(starts[x.rows]) - begin);
  });
}

size_t most_entries(const Csr& x, const int64_t* order, size_t count, size_t batch) {
  return with_indices(x, [&](const auto* starts, const auto*) {
    size_t most = 0, sum = 0;
    for (size_t i = 0; i < count; ++i) {
      if (i % batch == 0) sum = 0;
      const Span own = entries_of(x, starts, order ? static_cast<size_t>(order[i]) : i);
      sum += own.end - own.begin;
      most = std::max(most, sum);
    }
    return most;
  });
}

template <class T>
void take(const Csr& x, const int64_t* order, size_t first, size_t room,
          const Taken<T>& to) {
  with_indices(x, [&](const auto* starts, const auto* columns) {
    size_t at = 0;
    for (size_t i = 0; i < to.rows; ++i) {
      const Span own =
          entries_of(x, starts, order ? static_cast<size_t>(order[i]) : first + i);
      const size_t n = own.end - own.begin;
      to.starts[i] = at;
      if (n > room - at) refuse(x, "that stay as they are while they are used");
      take_columns(x, columns + own.begin, n, to.columns + at);
      if (x.is_double)
        take_numbers(static_cast<const double*>(x.values) + own.begin, n,
                     to.values + at);
      else
        take_numbers(static_cast<const float*>(x.values) + own.begin, n,
                     to.values + at);
      at += n;
    }
    to.starts[to.rows] = at;
  });
}

template <class T>
void transpose(const SparseRows<T>& x, int32_t* numbers, ByColumns<T>& to) {
  const size_t entries = x.starts[x.rows];
  Taken<T>& rows = to.rows;
  // First how many each column has, at starts[number + 2]; with their sums, where its
  // next entry goes is starts[number + 1], which ends as the start of the next column.
  size_t count = 0;
  rows.starts[0] = rows.starts[1] = 0;
  for (size_t e = 0; e < entries; ++e) {
    int32_t& number = numbers[x.columns[e]];
    if (number < 0) {
      number = static_cast<int32_t>(count);
      to.columns[count] = x.columns[e];
      rows.starts[++count + 1] = 0;
    }
    ++rows.starts[number + 2];
  }
  rows.rows = count;
  for (size_t i = 2; i <= count; ++i) rows.starts[i] += rows.starts[i - 1];
  for (size_t row = 0; row < x.rows; ++row)
    for (size_t e = x.starts[row]; e < x.starts[row + 1]; ++e) {
      const size_t at = rows.starts[numbers[x.columns[e]] + 1]++;
      rows.columns[at] = static_cast<int32_t>(row);
      rows.values[at] = x.values[e];
    }
  for (size_t i = 0; i < count; ++i) numbers[to.columns[i]] = -1;
}

template <class T>
void dense(const Csr& x, const T* kernel, size_t cols, const T* bias,
           const ActivationChoice& activation, const DropoutChoice* dropout, T* y,
           T* saved) {
  constexpr size_t chunk = 128;
  const size_t entries = most_entries(x, nullptr, x.rows, chunk);
  Memory<T> memory(std::min(chunk, x.rows), entries);
  for (size_t first = 0; first < x.rows; first += chunk) {
    const Taken<T> rows = memory.taken(std::min(chunk, x.rows - first));
    take(x, nullptr, first, entries, rows);
    DropoutChoice own = dropout ? *dropout : DropoutChoice{};
    own.bits.offset += first * cols;
    dense(rows.view(), kernel, cols, bias, activation, dropout ? &own : nullptr,
          y + first * cols, saved ? saved + first * cols : nullptr);
  }
}

template <class T>
void dense_backward(const T* dy, const Csr& x, const Matrix<T>& kernel, const T* saved,
                    const ActivationChoice& activation, const DropoutChoice* dropout,
                    T* dx, T* dkernel, T* dbias) {
  const size_t entries = most_entries(x, nullptr, x.rows, std::max<size_t>(x.rows, 1));
  const size_t most = std::min(entries, x.cols), count = x.rows * kernel.cols;
  Memory<T> by_rows(x.rows, entries), by_columns(most + 1, entries);
  const Taken<T> rows = by_rows.taken(x.rows);
  take(x, nullptr, 0, entries, rows);
  std::vector<int32_t> numbers(x.cols, -1), columns(most);
  ByColumns<T> grouped{columns.data(), by_columns.taken(0)};
  transpose(rows.view(), numbers.data(), grouped);

  std::vector<T> dz(count);
  gradient_by_product(dy, saved, activation, dropout, x.rows, kernel.cols, dz.data());
  std::fill_n(dkernel, x.cols * kernel.cols, T(0));
  multiply(kernels<T>(), grouped.rows.view(), dz.data(), kernel.cols, grouped.columns,
           dkernel);
  dense_backward<T>(dz.data(), Matrix<T>::contiguous(nullptr, x.rows, x.cols), kernel,
                    dz.data(), ActivationChoice{}, nullptr, dx, nullptr, dbias);
}

#define LAMINA_INSTANTIATE(T)                                                          \
  template void take(const Csr&, const int64_t*, size_t, size_t, const Taken<T>&);     \
  template void transpose(const SparseRows<T>&, int32_t*, ByColumns<T>&);              \
  template void dense(const Csr&, const T*, size_t, const T*, const ActivationChoice&, \
                      const DropoutChoice*, T*, T*);                                   \
  template void dense_backward(const T*, const Csr&, const Matrix<T>&, const T*,       \
                               const ActivationChoice&, const DropoutChoice*, T*, T*,  \
                               T*);
LAMINA_INSTANTIATE(float)
LAMINA_INSTANTIATE(double)

}  // namespace lamina
