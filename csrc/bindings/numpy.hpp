// NumPy's C API for every file of the bindings: one import, in module.cpp.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

#define PY_ARRAY_UNIQUE_SYMBOL lamina_ARRAY_API
#define PY_UFUNC_UNIQUE_SYMBOL lamina_UFUNC_API
#ifndef LAMINA_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#define NO_IMPORT_UFUNC
#endif
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

namespace lamina {

// What f returns, which may take the GIL and does not throw. Up to Python 3.13 a thread
// that takes it when the interpreter has ended is unwound by pthread_exit, through
// frames that must not be, or that drop references. Here it sleeps to the end of the
// process instead, as by later versions.
template <class F>
[[gnu::noinline]] auto taking_gil(F f) {
  struct Sleep {
    bool wanted = true;
    ~Sleep() {
      while (wanted) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  } sleep;
  auto result = f();
  sleep.wanted = false;
  return result;
}

// Without pybind11's casts, which take longer than a small loss.
inline double number_of(pybind11::handle value) {
  const double number = PyFloat_AsDouble(value.ptr());
  if (number == -1 && PyErr_Occurred()) throw pybind11::error_already_set();
  return number;
}

}  // namespace lamina
