// Compiled: a function declared in Python (signature, annotations, docstring) and
// defined in C++; a call passes neither the interpreter nor a dispatcher.
#pragma once

#include <cstddef>
#include <utility>

#include "bindings/numpy.hpp"

namespace lamina {

// What a function does, given a value for each of its parameters.
struct Definition {
  std::size_t parameters;
  pybind11::object (*call)(PyObject* const* values);
};

// By a C++ function of so many handles.
template <class... Handles>
constexpr std::size_t count_of(pybind11::object (*)(Handles...)) {
  return sizeof...(Handles);
}
template <auto function>
constexpr Definition define() {
  constexpr std::size_t parameters = count_of(function);
  return {parameters, [](PyObject* const* values) {
            return [&]<std::size_t... i>(std::index_sequence<i...>) {
              return function(pybind11::handle(values[i])...);
            }(std::make_index_sequence<parameters>{});
          }};
}

// The callable that looks like the Python function `declaration`, whose body is never
// run.
pybind11::object make_compiled(pybind11::handle declaration, const Definition&);

}  // namespace lamina
