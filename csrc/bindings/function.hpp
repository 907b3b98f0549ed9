// Function: a callable that fills in the parameter of a ufunc. The base of
// ActivationFunction, and what its derivative and backward are.
#pragma once

#include <cstddef>
#include <vector>

#include "bindings/numpy.hpp"
#include "ops/ops.hpp"

namespace lamina {

// A ufunc whose last input, the parameter, has a default and may come by keyword.
// Without a parameter a call goes straight through.
struct Function {
  PyObject_HEAD;
  vectorcallfunc vectorcall;
  PyObject* ufunc;
  PyObject* parameter;  // the current default, a Python float; null without a parameter
  const Info* info;
  Py_ssize_t inputs;  // of the ufunc, without the parameter
};

// Makes a callable type; its instances begin with a Function.
PyTypeObject* make_callable_type(const char* name, std::size_t size,
                                 std::vector<PyType_Slot> slots, PyTypeObject* base);

// The type of Function, made on first use.
PyTypeObject* function_type();

void set_function(Function* f, const Info& info, pybind11::object ufunc,
                  const pybind11::object& value, Py_ssize_t inputs);
void clear_function(Function* f);

// A Function, or without a parameter the ufunc itself: it needs no help.
pybind11::object make_function(const Info& info, pybind11::object ufunc,
                               const pybind11::object& value, Py_ssize_t inputs);

// The ufunc behind either.
pybind11::object ufunc_of(PyObject* function);

// A checked value of the parameter as a Python float (a 0-d float64 array would turn
// float32 into float64), or null with an exception set.
PyObject* checked_parameter(const Info& info, PyObject* value);

// The docstring of the ufunc behind, for a type's attributes.
PyObject* get_function_doc(PyObject* self, void*);

template <class Object>
Object* allocate(PyTypeObject* type) {
  PyObject* made = type->tp_alloc(type, 0);
  if (!made) throw pybind11::error_already_set();
  return reinterpret_cast<Object*>(made);
}

// Runs f, which may throw, where Python calls a C function.
template <class F>
PyObject* guarded(F f) {
  try {
    pybind11::object result = f();
    return result.release().ptr();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

}  // namespace lamina
