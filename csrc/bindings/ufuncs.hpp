// NumPy ufuncs of the activations: inner loops over kernels, and their docstrings.
#pragma once

#include <chrono>

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

// Around a call of a ufunc, with the GIL: its loops, on this thread, look for signals
// about every 0.1 s. What a handler raises is kept here, since NumPy does not ask while
// it goes on; the loops do nothing from there on.
class Listening {
 public:
  Listening();
  ~Listening();
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  // What the call returned, unless a handler raised: then that is raised.
  PyObject* instead_of(PyObject* made) const;

  // For loops: before so many elements, whether there is nothing to do any more.
  static bool stopped(std::size_t elements);

 private:
  static bool signals_raise();
  Listening* const former_;
  const Poll former_poll_;
  PyThreadState* const state_;
  pybind11::object raised_;
  std::size_t elements_ = 0;
  std::chrono::steady_clock::time_point last_;
};

// Which values a parameter may take, in words.
const char* range_text(Range range);

}  // namespace lamina
