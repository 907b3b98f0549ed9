// The columns that a layer takes in; the others, or all, pass as they are and come
// first in its output.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace lamina {

struct Columns {
  const std::size_t inputs;
  std::vector<std::size_t> taken, passed;

  Columns(std::vector<std::size_t> chosen, std::size_t inputs, bool all_pass = false)
      : inputs(inputs), taken(std::move(chosen)) {
    for (std::size_t j = 0; j < inputs; ++j)
      if (all_pass || std::find(taken.begin(), taken.end(), j) == taken.end())
        passed.push_back(j);
  }

  // From rows of all inputs to rows of `outputs` columns.
  template <class T>
  void pass(const T* x, T* y, std::size_t rows, std::size_t outputs) const {
    for (std::size_t row = 0; row < rows; ++row, x += inputs, y += outputs)
      for (std::size_t k = 0; k < passed.size(); ++k) y[k] = x[passed[k]];
  }
  // The gradient by what passes; 0 by what does not.
  template <class T>
  void pass_back(const T* dy, T* dx, std::size_t rows, std::size_t outputs) const {
    std::fill_n(dx, rows * inputs, T(0));
    for (std::size_t row = 0; row < rows; ++row, dx += inputs, dy += outputs)
      for (std::size_t k = 0; k < passed.size(); ++k) dx[passed[k]] = dy[k];
  }
};

}  // namespace lamina
