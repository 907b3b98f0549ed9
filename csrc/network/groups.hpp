// The rows of a batch by a code of each, and sums over the rows of every code.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "ops/dispatch.hpp"
#include "ops/scratch.hpp"

namespace lamina {

class Groups {
 public:
  using Code = std::uint32_t;

  // With room for so many numbers of the caller's.
  Groups(const Code* codes, std::size_t rows, std::size_t groups, std::size_t room = 0)
      : groups_(groups),
        scratch_(room * sizeof(double) + (groups + 1 + rows) * sizeof(Code)),
        ends_(reinterpret_cast<Code*>(static_cast<double*>(scratch_.get()) + room)) {
    Code* const ends = ends_;
    Code* const order = ends + groups + 1;
    std::fill_n(ends, groups + 1, Code{0});
    for (std::size_t row = 0; row < rows; ++row) ++ends[codes[row] + 1];
    std::partial_sum(ends, ends + groups + 1, ends);
    // Where each begins, until it has moved to its end.
    for (std::size_t row = 0; row < rows; ++row)
      order[ends[codes[row]]++] = static_cast<Code>(row);
  }

  // Of rows of x, in their order, times their factor unless that is null.
  template <class T>
  void sum(const T* x, const T* factor, std::size_t cols, std::size_t row_stride,
           T* sums) const {
    kernels<T>().group_sums(x, factor, ends_ + groups_ + 1, ends_, groups_, cols,
                            row_stride, sums);
  }
  void* room() const { return scratch_.get(); }

 private:
  const std::size_t groups_;
  const Kept scratch_;
  Code* const ends_;
};

}  // namespace lamina
