#include "bindings/function.hpp"

#include <structmember.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>

#include "bindings/call.hpp"

namespace lamina {

namespace py = pybind11;

PyObject* checked_parameter(const Info& info, PyObject* value) {
  const double number = PyFloat_AsDouble(value);
  if (number == -1.0 && PyErr_Occurred()) {
    if (PyErr_ExceptionMatches(PyExc_TypeError))
      return PyErr_Format(PyExc_TypeError, "%s of %s must be a number, got %s",
                          info.parameter.name, info.name, Py_TYPE(value)->tp_name);
    if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return nullptr;
  }
  if (PyErr_Occurred() || !in_range(info.parameter.range, number)) {
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "%s of %s must be %s, got %R", info.parameter.name,
                 info.name, range_text(info.parameter.range), value);
    return nullptr;
  }
  return PyFloat_FromDouble(number);
}

void require_single(const Info& info, double parameter) {
  const auto single = static_cast<double>(static_cast<float>(parameter));
  if (in_range(info.parameter.range, single) &&
      std::isfinite(single) == std::isfinite(parameter))
    return;
  throw py::value_error(std::string(info.parameter.name) + " of " + info.name +
                        " must be " + range_text(info.parameter.range) +
                        " in float32, got " +
                        std::string(py::repr(py::float_(parameter))));
}

namespace {

constexpr Py_ssize_t most_arguments = 25;

// The loop that an input asks for; Python's integers and floats go with the others.
enum class Wish { none, single, precise };

// That of the one input. Throws what its conversion raises, but for errors, which the
// ufunc will meet too.
Wish wish_of(PyObject* input) {
  const auto by_type = [](PyObject* array) {
    const int type = PyArray_TYPE(reinterpret_cast<PyArrayObject*>(array));
    return PyArray_CanCastSafely(type, NPY_FLOAT) ? Wish::single : Wish::precise;
  };
  if (PyArray_Check(input)) return by_type(input);
  if (PyBool_Check(input)) return Wish::single;
  if (PyLong_CheckExact(input)) return Wish::none;
  if (PyFloat_CheckExact(input) || PyObject_HasAttrString(input, "__array_ufunc__"))
    if (!PyArray_IsScalar(input, Generic)) return Wish::precise;
  const auto array = py::reinterpret_steal<py::object>(
      taking_gil([=] { return PyArray_FromAny(input, nullptr, 0, 0, 0, nullptr); }));
  if (array) return by_type(array.ptr());
  if (!PyErr_ExceptionMatches(PyExc_Exception)) throw py::error_already_set();
  PyErr_Clear();
  return Wish::precise;
}

Wish wish_of(PyObject* const* args, Py_ssize_t inputs) {
  Wish wish = Wish::none;
  for (Py_ssize_t i = 0; i < inputs; ++i) {
    const Wish one = wish_of(args[i]);
    if (one == Wish::precise) return one;
    if (one == Wish::single) wish = one;
  }
  return wish;
}

// That of dtype= or signature=: a type, a tuple of them, or text as "ff->f".
Wish wish_of_types(PyObject* types) {
  if (PyTuple_Check(types)) {
    Wish wish = Wish::none;
    for (Py_ssize_t i = 0; wish == Wish::none && i < PyTuple_GET_SIZE(types); ++i)
      wish = wish_of_types(PyTuple_GET_ITEM(types, i));
    return wish;
  }
  if (types == Py_None) return Wish::none;
  if (PyUnicode_Check(types)) {
    const char* const text = PyUnicode_AsUTF8(types);
    if (text && std::strstr(text, "->"))
      return std::strchr(text, 'd') ? Wish::precise : Wish::single;
  }
  PyArray_Descr* type = nullptr;
  if (PyArray_DescrConverter(types, &type) == NPY_FAIL) {
    PyErr_Clear();  // the ufunc will say what is wrong
    return Wish::none;
  }
  const int number = type->type_num;
  Py_DECREF(type);
  return number == NPY_FLOAT    ? Wish::single
         : number == NPY_DOUBLE ? Wish::precise
                                : Wish::none;
}

PyArrayObject* as_array(PyObject* object) {
  return reinterpret_cast<PyArrayObject*>(object);
}

// Whether the kernel can read `array` as it reads `model`: all of its elements, in
// order.
bool is_plain(PyObject* array, PyArrayObject* model) {
  if (!PyArray_CheckExact(array)) return false;
  PyArrayObject* a = as_array(array);
  return PyArray_TYPE(a) == PyArray_TYPE(model) && PyArray_ISCARRAY_RO(a) &&
         PyArray_SAMESHAPE(a, model);
}

// The call where NumPy has nothing to do: plain arrays of one type and shape, a result
// that is new, in place or apart from them. At 16 elements it takes a third of the
// ufunc's time. Null without an exception where that does not hold. The floating-point
// status may change: NumPy clears it before it looks.
PyObject* call_kernel(const Function* f, PyObject* const* args, Py_ssize_t count,
                      PyObject* kwnames) {
  if (count != f->inputs || !PyArray_CheckExact(args[0])) return nullptr;
  PyArrayObject* model = as_array(args[0]);
  const int type = PyArray_TYPE(model);
  const npy_intp size = PyArray_SIZE(model);
  if ((type != NPY_FLOAT && type != NPY_DOUBLE) || PyArray_NDIM(model) == 0 ||
      size == 0)
    return nullptr;
  for (Py_ssize_t i = 0; i < count; ++i)
    if (!is_plain(args[i], model)) return nullptr;

  PyObject* out = nullptr;
  PyObject* parameter = f->parameter;
  const Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(kwnames, i);
    if (PyUnicode_CompareWithASCIIString(name, "out") == 0)
      out = args[count + i];
    else if (parameter && PyFloat_CheckExact(args[count + i]) &&
             PyUnicode_CompareWithASCIIString(name, f->info->parameter.name) == 0)
      parameter = args[count + i];
    else
      return nullptr;
  }
  double value = 0;
  if (parameter) {
    value = PyFloat_AS_DOUBLE(parameter);
    const double used =
        type == NPY_FLOAT ? static_cast<double>(static_cast<float>(value)) : value;
    const Range range = f->info->parameter.range;
    if (!in_range(range, value) || !in_range(range, used) || !std::isfinite(used))
      return nullptr;
  }
  if (out == Py_None) out = nullptr;
  if (out && !(is_plain(out, model) && PyArray_ISWRITEABLE(as_array(out))))
    return nullptr;
  py::object result = py::reinterpret_steal<py::object>(
      out ? Py_NewRef(out)
          : PyArray_SimpleNew(PyArray_NDIM(model), PyArray_DIMS(model), type));
  if (!result) return nullptr;
  char* const y = PyArray_BYTES(as_array(result.ptr()));
  void* operands[3];
  for (Py_ssize_t i = 0; i < count; ++i) {
    char* const x = PyArray_BYTES(as_array(args[i]));
    const npy_intp distance = y - x, bytes = PyArray_NBYTES(model);
    if (distance != 0 && distance < bytes && -distance < bytes) return nullptr;
    operands[i] = x;
  }
  operands[count] = y;
  const auto cols = static_cast<std::size_t>(
      f->by_row ? PyArray_DIM(model, PyArray_NDIM(model) - 1) : size);
  const std::size_t rows = static_cast<std::size_t>(size) / cols;
  return guarded([&] {
    run(static_cast<std::size_t>(size), [&] {
      if (type == NPY_FLOAT)
        f->f32(kernels<float>(), f->index, operands, rows, cols,
               static_cast<float>(value));
      else
        f->f64(kernels<double>(), f->index, operands, rows, cols, value);
    });
    return std::move(result);
  });
}

// The call by the ufunc.
PyObject* call_ufunc(const Function* f, PyObject* const* args, std::size_t count,
                     PyObject* kwnames) {
  Listening listening;
  PyObject* const made =
      taking_gil([&] { return PyObject_Vectorcall(f->ufunc, args, count, kwnames); });
  return listening.instead_of(made);
}

bool is_one_of(PyObject* name, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [=](const char* known) {
    return PyUnicode_CompareWithASCIIString(name, known) == 0;
  });
}

// Frames of pandas hand their blocks, which lie transposed, to a ufunc that comes
// without keywords: the axis is named.
PyObject* call_rows(const Function* f, PyObject* const* args, Py_ssize_t count,
                    PyObject* kwnames) {
  const Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  bool plain = std::all_of(args, args + count, [](PyObject* argument) {
    return PyArray_CheckExact(argument);
  });
  for (Py_ssize_t i = 0; i < named; ++i)
    plain |= is_one_of(PyTuple_GET_ITEM(kwnames, i), {"axis", "axes"});
  if (plain || count + named >= most_arguments)
    return call_ufunc(f, args, static_cast<std::size_t>(count), kwnames);
  return guarded([&] {
    PyObject* stack[most_arguments];
    std::copy_n(args, count + named, stack);
    const py::int_ last(-1);
    stack[count + named] = last.ptr();
    py::tuple names(static_cast<std::size_t>(named + 1));
    for (Py_ssize_t i = 0; i < named; ++i)
      names[static_cast<std::size_t>(i)] = py::handle(PyTuple_GET_ITEM(kwnames, i));
    names[static_cast<std::size_t>(named)] = py::str("axis");
    return py::reinterpret_steal<py::object>(
        call_ufunc(f, stack, static_cast<std::size_t>(count), names.ptr()));
  });
}

PyObject* function_call(PyObject* self, PyObject* const* args, std::size_t flags,
                        PyObject* kwnames) {
  const auto* f = reinterpret_cast<Function*>(self);
  const Py_ssize_t count = PyVectorcall_NARGS(flags);
  PyObject* const made = call_kernel(f, args, count, kwnames);
  if (made || PyErr_Occurred()) return made;
  if (f->by_row) return call_rows(f, args, count, kwnames);
  if (!f->parameter)
    return call_ufunc(f, args, static_cast<std::size_t>(count), kwnames);

  const Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  const bool positional = count > f->inputs;
  if (count < f->inputs || count + named >= most_arguments)
    return PyErr_Format(PyExc_TypeError,
                        "%s takes %zd array%s and %s, got %zd arguments", f->info->name,
                        f->inputs, f->inputs == 1 ? "" : "s", f->info->parameter.name,
                        count + named);
  // The ufunc's order: inputs, parameter, outputs, then what came by keyword.
  PyObject* stack[most_arguments];
  PyObject** next = stack;
  for (Py_ssize_t i = 0; i < f->inputs; ++i) *next++ = args[i];
  PyObject** const slot = next++;
  *slot = positional ? args[f->inputs] : nullptr;
  for (Py_ssize_t i = f->inputs + 1; i < count; ++i) *next++ = args[i];
  Py_ssize_t found = -1;
  Wish wish = Wish::none;
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(kwnames, i);
    if (PyUnicode_CompareWithASCIIString(name, f->info->parameter.name) == 0) {
      found = i;
      if (positional)
        return PyErr_Format(PyExc_TypeError, "%s got %s twice", f->info->name,
                            f->info->parameter.name);
      *slot = args[count + i];
    } else {
      if (is_one_of(name, {"dtype", "sig", "signature"}))
        wish = wish_of_types(args[count + i]);
      *next++ = args[count + i];
    }
  }
  return guarded([&] {
    auto value = py::reinterpret_steal<py::object>(
        *slot ? checked_parameter(*f->info, *slot) : Py_NewRef(f->parameter));
    if (!value) throw py::error_already_set();
    if (wish == Wish::none) wish = wish_of(args, f->inputs);
    // A Python float leaves float32 arrays alone but makes small integers float64,
    // which activations without a parameter do not: beside those it must be a float32
    // itself.
    if (wish == Wish::single) {
      const double wanted = PyFloat_AS_DOUBLE(value.ptr());
      require_single(*f->info, wanted);
      auto number = static_cast<float>(wanted);
      if (!(PyArray_CheckExact(args[0]) &&
            PyArray_TYPE(reinterpret_cast<PyArrayObject*>(args[0])) == NPY_FLOAT)) {
        const auto type = py::reinterpret_steal<py::object>(
            reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_FLOAT)));
        value = py::reinterpret_steal<py::object>(PyArray_Scalar(
            &number, reinterpret_cast<PyArray_Descr*>(type.ptr()), nullptr));
      }
      if (!value) throw py::error_already_set();
    }
    *slot = value.ptr();

    auto names = py::reinterpret_borrow<py::object>(kwnames);
    if (found >= 0) {
      names = py::reinterpret_steal<py::object>(PyTuple_New(named - 1));
      if (!names) throw py::error_already_set();
      for (Py_ssize_t i = 0, j = 0; i < named; ++i)
        if (i != found)
          PyTuple_SET_ITEM(names.ptr(), j++, Py_NewRef(PyTuple_GET_ITEM(kwnames, i)));
    }
    return py::reinterpret_steal<py::object>(
        call_ufunc(f, stack, static_cast<std::size_t>(positional ? count : count + 1),
                   names.ptr()));
  });
}

void function_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  clear_function(reinterpret_cast<Function*>(self));
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* get_ufunc(PyObject* self, void*) {
  return Py_NewRef(reinterpret_cast<Function*>(self)->ufunc);
}

// Where it is found in lamina.
py::object path_of(const Function* f) { return py::handle(f->ufunc).attr("__name__"); }
PyObject* get_path(PyObject* self, void*) {
  return guarded([=] { return path_of(reinterpret_cast<Function*>(self)); });
}

PyObject* function_repr(PyObject* self) {
  return guarded([=] {
    const auto* f = reinterpret_cast<Function*>(self);
    const py::object path = path_of(f);
    return py::reinterpret_steal<py::object>(
        f->parameter ? PyUnicode_FromFormat("<lamina.%U %s=%R>", path.ptr(),
                                            f->info->parameter.name, f->parameter)
                     : PyUnicode_FromFormat("<lamina.%U>", path.ptr()));
  });
}

// By name: the object of the other process is the one that its module holds.
PyObject* function_reduce(PyObject* self, PyObject*) {
  return guarded([=] {
    const auto* f = reinterpret_cast<Function*>(self);
    const auto value = py::reinterpret_borrow<py::object>(f->parameter);
    const auto restore = py::module_::import("lamina.activations").attr("_restore");
    return py::make_tuple(restore,
                          py::make_tuple(path_of(f), value ? value : py::none()));
  });
}

// The ufunc's docstring, without the signature that NumPy puts first: it counts the
// parameter among the arrays.
py::object doc_of(const Function* f) {
  return py::handle(f->ufunc).attr("__doc__").attr("split")("\n\n", 1)[py::int_(1)];
}

py::object signature_of(const Function* f) {
  const auto value = py::reinterpret_borrow<py::object>(f->parameter);
  return py::module_::import("lamina.activations")
      .attr("_signature")(f->inputs, f->info->parameter.name,
                          value ? value : py::none(), f->by_row);
}

// An attribute of objects, which says something else of their type.
struct Own {
  PyObject_HEAD;
  py::object (*of_object)(const Function*);
  PyObject* of_type;
};

PyObject* own_get(PyObject* self, PyObject* object, PyObject*) {
  const auto* own = reinterpret_cast<Own*>(self);
  if (!object) return Py_NewRef(own->of_type);
  return guarded([=] { return own->of_object(reinterpret_cast<Function*>(object)); });
}

void set_own(PyTypeObject* type, const char* name,
             py::object (*of_object)(const Function*), const py::object& of_type) {
  static PyType_Slot slots[] = {{Py_tp_descr_get, reinterpret_cast<void*>(own_get)},
                                {0, nullptr}};
  static PyType_Spec spec = {"lamina._core.Own", static_cast<int>(sizeof(Own)), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                             slots};
  static PyObject* const own_type = PyType_FromSpec(&spec);
  if (!own_type) throw py::error_already_set();
  auto* own = allocate<Own>(reinterpret_cast<PyTypeObject*>(own_type));
  own->of_object = of_object;
  own->of_type = py::object(of_type).release().ptr();  // as long as the type
  const auto kept = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(own));
  py::setattr(reinterpret_cast<PyObject*>(type), name, kept);
}

PyMemberDef function_members[] = {{"__vectorcalloffset__", T_PYSSIZET,
                                   offsetof(Function, vectorcall), READONLY, nullptr},
                                  {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef function_attributes[] = {
    {"ufunc", get_ufunc, nullptr,
     "The NumPy ufunc behind; its last input is the parameter.", nullptr},
    {"__name__", get_path, nullptr, nullptr, nullptr},
    {"__qualname__", get_path, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef function_methods[] = {{"__reduce__", function_reduce, METH_NOARGS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};

}  // namespace

PyTypeObject* make_callable_type(const char* name, std::size_t size,
                                 std::vector<PyType_Slot> slots, const char* doc,
                                 PyTypeObject* base) {
  slots.push_back({Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)});
  slots.push_back({Py_tp_members, function_members});
  slots.push_back({0, nullptr});
  PyType_Spec spec = {name, static_cast<int>(size), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
                          Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_BASETYPE,
                      slots.data()};
  PyObject* type =
      base ? PyType_FromSpecWithBases(&spec, reinterpret_cast<PyObject*>(base))
           : PyType_FromSpec(&spec);
  if (!type) throw py::error_already_set();
  auto* const made = reinterpret_cast<PyTypeObject*>(type);
  set_own(made, "__doc__", doc_of, py::str(doc));
  set_own(made, "__signature__", signature_of, py::none());
  return made;
}

PyTypeObject* function_type() {
  static PyTypeObject* const type =
      make_callable_type("lamina._core.Function", sizeof(Function),
                         {{Py_tp_dealloc, reinterpret_cast<void*>(function_dealloc)},
                          {Py_tp_getset, function_attributes},
                          {Py_tp_methods, function_methods},
                          {Py_tp_repr, reinterpret_cast<void*>(function_repr)}},
                         "The derivative or the backward of an activation.", nullptr);
  return type;
}

void set_function(Function* f, const Info& info, const ActivationChoice& choice,
                  const Ufunc& ufunc, int inputs) {
  f->vectorcall = function_call;
  f->ufunc = py::object(ufunc.object).release().ptr();
  f->parameter =
      info.parameter.name ? py::float_(choice.parameter).release().ptr() : nullptr;
  f->info = &info;
  f->index = choice.index;
  f->f32 = ufunc.f32;
  f->f64 = ufunc.f64;
  f->inputs = inputs;
  f->by_row = choice.kind != ActivationChoice::Kind::elementwise;
}

void clear_function(Function* f) {
  Py_CLEAR(f->ufunc);
  Py_CLEAR(f->parameter);
}

py::object make_function(const Info& info, const ActivationChoice& choice,
                         const Ufunc& ufunc, int inputs) {
  auto* f = allocate<Function>(function_type());
  auto result = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(f));
  set_function(f, info, choice, ufunc, inputs);
  return result;
}

Ufunc ufunc_of(PyObject* function) {
  if (!function) return {};
  const auto* f = reinterpret_cast<Function*>(function);
  return {py::reinterpret_borrow<py::object>(f->ufunc), f->f32, f->f64};
}

}  // namespace lamina
