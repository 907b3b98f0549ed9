// NumPy ufuncs of the activations: inner loops over kernels, and their docstrings.
#pragma once

#include "bindings/numpy.hpp"
#include "ops/ops.hpp"

namespace lamina {

struct UfuncTriple {
  pybind11::object forward;
  pybind11::object derivative;  // null for activations that act on rows
  pybind11::object backward;
};

// A parameter is the last input of each.
UfuncTriple elementwise_ufuncs(std::size_t index);

// Generalised ufuncs over the last axis.
UfuncTriple row_ufuncs(std::size_t index);

// Which values a parameter may take, in words.
const char* range_text(Range range);

}  // namespace lamina
