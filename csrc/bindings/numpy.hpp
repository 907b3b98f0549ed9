// NumPy's C API for every file of the bindings: one import, in module.cpp.
#pragma once

#include <pybind11/pybind11.h>

#define PY_ARRAY_UNIQUE_SYMBOL lamina_ARRAY_API
#define PY_UFUNC_UNIQUE_SYMBOL lamina_UFUNC_API
#ifndef LAMINA_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#define NO_IMPORT_UFUNC
#endif
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

namespace lamina {

// Calls work(argument), which may take the GIL and does not throw. Up to Python 3.13 a
// thread that takes it when the interpreter has ended is unwound by pthread_exit,
// through frames that must not be, or that drop references, or that another unwinder
// than the system's cannot read (in a wheel by zig). Here it sleeps to the end of the
// process instead, as by later versions.
void outliving(void (*work)(void*), void* argument);

// What f returns, called so.
template <class F>
auto taking_gil(F f) {
  struct Call {
    F& f;
    decltype(f()) result;
  } call{f, {}};
  outliving(
      [](void* argument) {
        auto* const call = static_cast<Call*>(argument);
        call->result = call->f();
      },
      &call);
  return call.result;
}

}  // namespace lamina
