// Function: a callable that fills in the parameter of a ufunc. The base of
// ActivationFunction, and what its derivative and backward are.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

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

// Runs f, which may throw, where Python calls a C function.
template <class F>
PyObject* guarded(F f) {
  try {
    pybind11::object result = f();
    return result.release().ptr();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const pybind11::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// What Python calls for `function`, whose arguments, the later ones None if they are
// not given, come by position alone: where a call is most of the work, pybind11's
// dispatcher takes half of it.
template <pybind11::object (*function)(const pybind11::handle*), Py_ssize_t least,
          Py_ssize_t most>
PyObject* positional(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([=] {
    if (count < least || count > most)
      throw pybind11::type_error("takes " + std::to_string(least) + " to " +
                                 std::to_string(most) + " arguments, got " +
                                 std::to_string(count));
    pybind11::handle values[most];
    for (Py_ssize_t i = 0; i < most; ++i) values[i] = i < count ? args[i] : Py_None;
    return function(values);
  });
}

// The signature as text, for inspect: "name($module, a, b, /)\n--\n\n".
template <pybind11::object (*function)(const pybind11::handle*), Py_ssize_t least,
          Py_ssize_t most>
PyMethodDef positional_method(const char* name, const char* signature) {
  const auto call = reinterpret_cast<void (*)()>(positional<function, least, most>);
  return {name, reinterpret_cast<PyCFunction>(call), METH_FASTCALL, signature};
}

}  // namespace lamina
