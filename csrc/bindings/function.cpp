#include "bindings/function.hpp"

#include <structmember.h>

#include <cstddef>

#include "bindings/call.hpp"

namespace lamina {

namespace py = pybind11;

PyObject* checked_parameter(const Info& info, PyObject* value) {
  const double number = PyFloat_AsDouble(value);
  if (number == -1.0 && PyErr_Occurred()) {
    PyErr_Format(PyExc_TypeError, "%s of %s must be a number, got %s",
                 info.parameter.name, info.name, Py_TYPE(value)->tp_name);
    return nullptr;
  }
  if (!in_range(info.parameter.range, number)) {
    PyErr_Format(PyExc_ValueError, "%s of %s must be %s, got %R", info.parameter.name,
                 info.name, range_text(info.parameter.range), value);
    return nullptr;
  }
  return PyFloat_FromDouble(number);
}

namespace {

// The loop that an input asks for; Python's integers and floats go with the others.
enum class Wish { none, single, precise };

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
      PyArray_FromAny(input, nullptr, 0, 0, 0, nullptr));
  if (array) return by_type(array.ptr());
  PyErr_Clear();  // the ufunc will say what is wrong
  return Wish::precise;
}

bool is_single(PyObject* const* args, Py_ssize_t inputs) {
  bool single = false;
  for (Py_ssize_t i = 0; i < inputs; ++i) {
    const Wish wish = wish_of(args[i]);
    if (wish == Wish::precise) return false;
    if (wish == Wish::single) single = true;
  }
  return single;
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
    if (!in_range(f->info->parameter.range, used) || used - used != 0) return nullptr;
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
  run(static_cast<std::size_t>(size), [&] {
    if (type == NPY_FLOAT)
      f->f32(kernels<float>(), f->index, operands, rows, cols,
             static_cast<float>(value));
    else
      f->f64(kernels<double>(), f->index, operands, rows, cols, value);
  });
  return result.release().ptr();
}

PyObject* function_call(PyObject* self, PyObject* const* args, std::size_t flags,
                        PyObject* kwnames) {
  const auto* f = reinterpret_cast<Function*>(self);
  PyObject* const made = call_kernel(f, args, PyVectorcall_NARGS(flags), kwnames);
  if (made || PyErr_Occurred()) return made;
  if (!f->parameter) return PyObject_Vectorcall(f->ufunc, args, flags, kwnames);

  constexpr Py_ssize_t most = 24;
  const Py_ssize_t count = PyVectorcall_NARGS(flags);
  const Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  const bool positional = count > f->inputs;
  if (count < f->inputs || count + named + 1 > most)
    return PyErr_Format(PyExc_TypeError,
                        "%s takes %zd array%s and %s, got %zd arguments", f->info->name,
                        f->inputs, f->inputs == 1 ? "" : "s", f->info->parameter.name,
                        count + named);
  // The ufunc's order: inputs, parameter, outputs, then what came by keyword.
  PyObject* stack[most + 1];
  PyObject** next = stack;
  for (Py_ssize_t i = 0; i < f->inputs; ++i) *next++ = args[i];
  PyObject** const slot = next++;
  *slot = positional ? args[f->inputs] : nullptr;
  for (Py_ssize_t i = f->inputs + 1; i < count; ++i) *next++ = args[i];
  Py_ssize_t found = -1;
  for (Py_ssize_t i = 0; i < named; ++i) {
    if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i),
                                         f->info->parameter.name) == 0) {
      found = i;
      if (positional)
        return PyErr_Format(PyExc_TypeError, "%s got %s twice", f->info->name,
                            f->info->parameter.name);
      *slot = args[count + i];
    } else {
      *next++ = args[count + i];
    }
  }
  py::object value = py::reinterpret_steal<py::object>(
      *slot ? checked_parameter(*f->info, *slot) : Py_NewRef(f->parameter));
  if (!value) return nullptr;
  // A Python float leaves float32 arrays alone but makes small integers float64, which
  // activations without a parameter do not: beside those it must be a float32 itself.
  if (is_single(args, f->inputs)) {
    const double wanted = PyFloat_AS_DOUBLE(value.ptr());
    auto number = static_cast<float>(wanted);
    const double given = static_cast<double>(number);
    if (!in_range(f->info->parameter.range, given) ||
        (given - given != 0 && wanted - wanted == 0))
      return PyErr_Format(PyExc_ValueError, "%s of %s must be %s in float32, got %R",
                          f->info->parameter.name, f->info->name,
                          range_text(f->info->parameter.range), value.ptr());
    if (!(PyArray_CheckExact(args[0]) &&
          PyArray_TYPE(reinterpret_cast<PyArrayObject*>(args[0])) == NPY_FLOAT))
      value = py::reinterpret_steal<py::object>(
          PyArray_Scalar(&number, PyArray_DescrFromType(NPY_FLOAT), nullptr));
    if (!value) return nullptr;
  }
  *slot = value.ptr();

  py::object names = py::reinterpret_borrow<py::object>(kwnames);
  if (found >= 0) {
    names = py::reinterpret_steal<py::object>(PyTuple_New(named - 1));
    if (!names) return nullptr;
    for (Py_ssize_t i = 0, j = 0; i < named; ++i)
      if (i != found)
        PyTuple_SET_ITEM(names.ptr(), j++, Py_NewRef(PyTuple_GET_ITEM(kwnames, i)));
  }
  return PyObject_Vectorcall(f->ufunc, stack,
                             static_cast<std::size_t>(positional ? count : count + 1),
                             names.ptr());
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
PyObject* get_ufunc_name(PyObject* self, void*) {
  return PyObject_GetAttrString(reinterpret_cast<Function*>(self)->ufunc, "__name__");
}

PyObject* function_repr(PyObject* self) {
  const auto* f = reinterpret_cast<Function*>(self);
  const auto name =
      py::reinterpret_steal<py::object>(PyObject_GetAttrString(f->ufunc, "__name__"));
  if (!name) return nullptr;
  if (!f->parameter) return PyUnicode_FromFormat("<lamina.%U>", name.ptr());
  return PyUnicode_FromFormat("<lamina.%U %s=%R>", name.ptr(), f->info->parameter.name,
                              f->parameter);
}

PyMemberDef function_members[] = {{"__vectorcalloffset__", T_PYSSIZET,
                                   offsetof(Function, vectorcall), READONLY, nullptr},
                                  {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef function_attributes[] = {
    {"ufunc", get_ufunc, nullptr,
     "The NumPy ufunc behind; its last input is the parameter.", nullptr},
    {"__name__", get_ufunc_name, nullptr, nullptr, nullptr},
    {"__doc__", get_function_doc, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

PyTypeObject* make_callable_type(const char* name, std::size_t size,
                                 std::vector<PyType_Slot> slots, PyTypeObject* base) {
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
  return reinterpret_cast<PyTypeObject*>(type);
}

PyTypeObject* function_type() {
  static PyTypeObject* const type =
      make_callable_type("lamina._core.Function", sizeof(Function),
                         {{Py_tp_dealloc, reinterpret_cast<void*>(function_dealloc)},
                          {Py_tp_getset, function_attributes},
                          {Py_tp_repr, reinterpret_cast<void*>(function_repr)}},
                         nullptr);
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

// The ufunc's own, without the signature that NumPy puts first: it counts the parameter
// among the arrays.
PyObject* get_function_doc(PyObject* self, void*) {
  return guarded([=]() -> py::object {
    const py::handle ufunc = reinterpret_cast<Function*>(self)->ufunc;
    return ufunc.attr("__doc__").attr("split")("\n\n", 1)[py::int_(1)];
  });
}

}  // namespace lamina
