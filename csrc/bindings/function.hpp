// Function: a callable that fills in the parameter of a ufunc. The base of
// ActivationFunction, and what its derivative and backward are.
#pragma once

#include <cstddef>
#include <vector>

#include "bindings/call.hpp"
#include "bindings/numpy.hpp"
#include "bindings/ufuncs.hpp"
#include "ops/ops.hpp"

namespace lamina {

// A ufunc whose last input, the parameter if there is one, has a default and may come
// by keyword. Calls that leave nothing to the ufunc go to the kernel.
struct Function {
  PyObject_HEAD;
  vectorcallfunc vectorcall;
  PyObject* ufunc;
  PyObject* parameter;  // the current default, a Python float; null without a parameter
  const Info* info;
  std::size_t index;  // of the activation in its list
  Kernel<float> f32;
  Kernel<double> f64;
  int inputs;  // of the ufunc, without the parameter
  bool by_row;
};

// Makes a callable type; its instances begin with a Function.
PyTypeObject* make_callable_type(const char* name, std::size_t size,
                                 std::vector<PyType_Slot> slots, const char* doc,
                                 PyTypeObject* base);

// The type of Function, made on first use.
PyTypeObject* function_type();

// Of the activation that `choice` names, whose parameter becomes the default.
void set_function(Function* f, const Info& info, const ActivationChoice& choice,
                  const Ufunc& ufunc, int inputs);
void clear_function(Function* f);

pybind11::object make_function(const Info& info, const ActivationChoice& choice,
                               const Ufunc& ufunc, int inputs);

// What a Function was made from; nothing from null.
Ufunc ufunc_of(PyObject* function);

// A checked value of the parameter as a Python float (a 0-d float64 array would turn
// float32 into float64), or null with an exception set.
PyObject* checked_parameter(const Info& info, PyObject* value);

// ValueError unless float32 holds the value: within the parameter's range, and finite
// if it is.
void require_single(const Info& info, double parameter);

template <class Object>
Object* allocate(PyTypeObject* type) {
  PyObject* made = type->tp_alloc(type, 0);
  if (!made) throw pybind11::error_already_set();
  return reinterpret_cast<Object*>(made);
}

}  // namespace lamina
