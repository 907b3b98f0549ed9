// NumPy ufuncs of the activations: inner loops over kernels, and their docstrings.
#pragma once

#include "bindings/numpy.hpp"
#include "ops/ops.hpp"

namespace lamina {

// The kernel behind a ufunc, on contiguous operands of rows x cols, the result last (it
// may be one of the inputs). `index` is the activation's in its list; `parameter` means
// nothing where there is none. One call of a user's stays with one table.
template <class T>
using Kernel = void (*)(const Kernels<T>&, std::size_t index, void* const* operands,
                        std::size_t rows, std::size_t cols, T parameter);

struct Ufunc {
  pybind11::object object;  // null for what an activation does not have
  Kernel<float> f32;
  Kernel<double> f64;
};

struct UfuncTriple {
  Ufunc forward;
  Ufunc derivative;  // of those that act on elements
  Ufunc backward;
};

// A parameter is the last input of each.
UfuncTriple elementwise_ufuncs(std::size_t index);

// Generalised ufuncs over the last axis.
UfuncTriple row_ufuncs(std::size_t index);

// Which values a parameter may take, in words.
const char* range_text(Range range);

}  // namespace lamina
