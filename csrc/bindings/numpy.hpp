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
