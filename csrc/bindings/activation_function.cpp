#include "bindings/activation_function.hpp"

#include <structmember.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/ufuncs.hpp"

namespace lamina {

namespace py = pybind11;

namespace {

// ---- Callables

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

// A Function with what belongs to an activation.
struct ActivationFunction {
  Function forward;
  ActivationChoice choice;
  PyObject* derivative;  // null for those that act on rows
  PyObject* backward;
};

PyTypeObject* function_type = nullptr;
PyTypeObject* activation_type = nullptr;

// A checked value of the parameter as a Python float (a 0-d float64 array would turn
// float32 into float64), or null with an exception set.
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

PyObject* function_call(PyObject* self, PyObject* const* args, std::size_t flags,
                        PyObject* kwnames) {
  const auto* f = reinterpret_cast<Function*>(self);
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

void function_clear(Function* f) {
  Py_CLEAR(f->ufunc);
  Py_CLEAR(f->parameter);
}

void function_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  function_clear(reinterpret_cast<Function*>(self));
  type->tp_free(self);
  Py_DECREF(type);
}

void activation_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  auto* a = reinterpret_cast<ActivationFunction*>(self);
  function_clear(&a->forward);
  Py_CLEAR(a->derivative);
  Py_CLEAR(a->backward);
  type->tp_free(self);
  Py_DECREF(type);
}

template <class Object>
Object* allocate(PyTypeObject* type) {
  PyObject* made = type->tp_alloc(type, 0);
  if (!made) throw py::error_already_set();
  return reinterpret_cast<Object*>(made);
}

void set_function(Function* f, const Info& info, py::object ufunc,
                  const py::object& value, Py_ssize_t inputs) {
  f->vectorcall = function_call;
  f->ufunc = ufunc.release().ptr();
  f->parameter = info.parameter.name ? py::object(value).release().ptr() : nullptr;
  f->info = &info;
  f->inputs = inputs;
}

// Without a parameter the ufunc itself; it needs no help.
py::object make_function(const Info& info, py::object ufunc, const py::object& value,
                         Py_ssize_t inputs) {
  if (!info.parameter.name) return ufunc;
  auto* f = allocate<Function>(function_type);
  auto result = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(f));
  set_function(f, info, std::move(ufunc), value, inputs);
  return result;
}

py::object ufunc_of(PyObject* function) {
  if (PyObject_TypeCheck(function, function_type))
    function = reinterpret_cast<Function*>(function)->ufunc;
  return py::reinterpret_borrow<py::object>(function);
}

py::object make_activation(const Info& info, const ActivationChoice& choice,
                           UfuncTriple ufuncs) {
  const py::object value = py::float_(choice.parameter);
  auto* a = allocate<ActivationFunction>(activation_type);
  auto result = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(a));
  set_function(&a->forward, info, std::move(ufuncs.forward), value, 1);
  a->choice = choice;
  if (ufuncs.derivative)
    a->derivative =
        make_function(info, std::move(ufuncs.derivative), value, 1).release().ptr();
  a->backward =
      make_function(info, std::move(ufuncs.backward), value, 2).release().ptr();
  return result;
}

// ---- Attributes

// Runs f, which may throw, where Python calls a C function.
template <class F>
PyObject* guarded(F f) {
  try {
    py::object result = f();
    return result.release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

ActivationFunction* self_of(PyObject* self) {
  return reinterpret_cast<ActivationFunction*>(self);
}

PyObject* get_name(PyObject* self, void*) {
  return PyUnicode_FromString(self_of(self)->forward.info->name);
}
// The ufunc's own, without the signature that NumPy puts first: it counts the parameter
// among the arrays.
PyObject* get_doc(PyObject* self, void*) {
  return guarded([=]() -> py::object {
    const py::handle ufunc = reinterpret_cast<Function*>(self)->ufunc;
    return ufunc.attr("__doc__").attr("split")("\n\n", 1)[py::int_(1)];
  });
}
PyObject* get_ufunc_name(PyObject* self, void*) {
  return PyObject_GetAttrString(reinterpret_cast<Function*>(self)->ufunc, "__name__");
}
PyObject* get_module(PyObject*, void*) { return PyUnicode_FromString("lamina"); }
PyObject* get_formula(PyObject* self, void*) {
  return PyUnicode_FromString(self_of(self)->forward.info->formula);
}
PyObject* get_saves(PyObject* self, void*) {
  const auto* a = self_of(self);
  return PyUnicode_FromString(
      saves_output(*a->forward.info, a->choice.parameter) ? "output" : "input");
}
PyObject* get_parameters(PyObject* self, void*) {
  const auto* f = &self_of(self)->forward;
  if (!f->parameter) return PyDict_New();
  return Py_BuildValue("{sO}", f->info->parameter.name, f->parameter);
}
PyObject* get_promises(PyObject* self, void*) {
  const Info& info = *self_of(self)->forward.info;
  return Py_BuildValue("{s(dd)s(dd)}", "max_ulp", info.max_ulp[0], info.max_ulp[1],
                       "max_derivative_error", info.max_derivative_error[0],
                       info.max_derivative_error[1]);
}
PyObject* get_initializer(PyObject* self, void*) {
  return PyUnicode_FromString(self_of(self)->forward.info->initializer);
}
PyObject* get_loss(PyObject* self, void*) {
  const char* loss = self_of(self)->forward.info->loss;
  if (!loss) Py_RETURN_NONE;
  return PyUnicode_FromString(loss);
}
PyObject* get_ufunc(PyObject* self, void*) {
  return Py_NewRef(reinterpret_cast<Function*>(self)->ufunc);
}
PyObject* get_backward(PyObject* self, void*) {
  return Py_NewRef(self_of(self)->backward);
}
PyObject* get_derivative(PyObject* self, void*) {
  const auto* a = self_of(self);
  if (a->derivative) return Py_NewRef(a->derivative);
  return PyErr_Format(PyExc_AttributeError,
                      "%s has no elementwise derivative: use %s.backward(dy, y)",
                      a->forward.info->name, a->forward.info->name);
}

PyObject* activation_repr(PyObject* self) {
  const auto* f = &self_of(self)->forward;
  if (!f->parameter) return PyUnicode_FromFormat("<lamina.%s>", f->info->name);
  return PyUnicode_FromFormat("<lamina.%s %s=%R>", f->info->name,
                              f->info->parameter.name, f->parameter);
}

PyObject* activation_compare(PyObject* self, PyObject* other, int operation) {
  if ((operation != Py_EQ && operation != Py_NE) ||
      !PyObject_TypeCheck(other, activation_type))
    Py_RETURN_NOTIMPLEMENTED;
  const auto *a = self_of(self), *b = self_of(other);
  const bool same =
      a->forward.info == b->forward.info && a->choice.parameter == b->choice.parameter;
  return PyBool_FromLong(same == (operation == Py_EQ));
}

Py_hash_t activation_hash(PyObject* self) {
  const auto* a = self_of(self);
  const auto name = std::hash<std::string_view>{}(a->forward.info->name);
  const auto hash =
      static_cast<Py_hash_t>(name ^ std::hash<double>{}(a->choice.parameter));
  return hash == -1 ? -2 : hash;
}

PyObject* activation_using(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* kwnames) {
  const auto* a = self_of(self);
  const Info& info = *a->forward.info;
  if (!info.parameter.name)
    return PyErr_Format(PyExc_TypeError, "%s has no parameter to set", info.name);
  if (count != 0 || !kwnames || PyTuple_GET_SIZE(kwnames) != 1 ||
      PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0),
                                       info.parameter.name) != 0)
    return PyErr_Format(PyExc_TypeError, "%s.using takes exactly %s=value", info.name,
                        info.parameter.name);
  const auto value =
      py::reinterpret_steal<py::object>(checked_parameter(info, args[0]));
  if (!value) return nullptr;
  return guarded([&] {
    ActivationChoice choice = a->choice;
    choice.parameter = PyFloat_AS_DOUBLE(value.ptr());
    return make_activation(
        info, choice,
        {ufunc_of(a->forward.ufunc), ufunc_of(a->derivative), ufunc_of(a->backward)});
  });
}

PyObject* activation_reduce(PyObject* self, PyObject*) {
  // By name: the object of the other process is the one that its module holds.
  const auto* a = self_of(self);
  return guarded([=] {
    const auto restore = py::module_::import("lamina.activations").attr("_restore");
    return py::make_tuple(restore,
                          py::make_tuple(a->forward.info->name, a->choice.parameter));
  });
}

PyObject* function_repr(PyObject* self) {
  const auto* f = reinterpret_cast<Function*>(self);
  const auto name =
      py::reinterpret_steal<py::object>(PyObject_GetAttrString(f->ufunc, "__name__"));
  if (!name) return nullptr;
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
    {"__doc__", get_doc, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyGetSetDef activation_attributes[] = {
    {"name", get_name, nullptr, "The name by which layers know it.", nullptr},
    {"__doc__", get_doc, nullptr, nullptr, nullptr},  // a type does not inherit it
    {"__module__", get_module, nullptr, nullptr, nullptr},
    {"formula", get_formula, nullptr, "The definition as text.", nullptr},
    {"saves", get_saves, nullptr, "What backward reads: 'output' or 'input'.", nullptr},
    {"parameters", get_parameters, nullptr, "Parameter names and values.", nullptr},
    {"promises", get_promises, nullptr,
     "Error bounds for (float32, float64): max_ulp of the forward, "
     "max_derivative_error in "
     "units of 2^-24 and 2^-53.",
     nullptr},
    {"initializer", get_initializer, nullptr,
     "The weights that \"auto\" draws for a layer with this activation.", nullptr},
    {"loss", get_loss, nullptr,
     "The loss that it implies as a last activation, or None.", nullptr},
    {"backward", get_backward, nullptr, "backward(dy, saved): dy f'(saved), one pass.",
     nullptr},
    {"derivative", get_derivative, nullptr, "derivative(x): f'(x).", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef activation_methods[] = {
    {"using",
     reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(activation_using)),
     METH_FASTCALL | METH_KEYWORDS, "The same activation with another parameter."},
    {"__reduce__", activation_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyTypeObject* make_type(const char* name, std::size_t size,
                        std::vector<PyType_Slot> slots, PyTypeObject* base) {
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

void make_types() {
  const auto slot = [](int id, auto* what) {
    return PyType_Slot{id, reinterpret_cast<void*>(what)};
  };
  function_type = make_type(
      "lamina._core.Function", sizeof(Function),
      {slot(Py_tp_dealloc, function_dealloc), slot(Py_tp_call, PyVectorcall_Call),
       slot(Py_tp_members, function_members), slot(Py_tp_getset, function_attributes),
       slot(Py_tp_repr, function_repr)},
      nullptr);
  activation_type = make_type(
      "lamina._core.ActivationFunction", sizeof(ActivationFunction),
      {slot(Py_tp_dealloc, activation_dealloc), slot(Py_tp_call, PyVectorcall_Call),
       slot(Py_tp_members, function_members), slot(Py_tp_getset, activation_attributes),
       slot(Py_tp_methods, activation_methods), slot(Py_tp_repr, activation_repr),
       slot(Py_tp_richcompare, activation_compare), slot(Py_tp_hash, activation_hash)},
      function_type);
}

// ---- The list

py::dict& known() {
  static auto* activations = new py::dict;
  return *activations;
}

std::string known_names() {
  return py::str(", ").attr("join")(known().attr("keys")()).cast<std::string>();
}

}  // namespace

void register_activations(py::module_& module) {
  make_types();
  for (std::size_t i = 0; i < Activations::size; ++i) {
    const Info& info = Activations::infos[i];
    known()[info.name] = make_activation(
        info, {ActivationChoice::Kind::elementwise, i, info.parameter.initial},
        elementwise_ufuncs(i));
  }
  constexpr ActivationChoice::Kind kinds[] = {ActivationChoice::Kind::softmax,
                                              ActivationChoice::Kind::log_softmax};
  for (std::size_t i = 0; i < RowActivations::size; ++i) {
    const Info& info = RowActivations::infos[i];
    known()[info.name] = make_activation(info, {kinds[i], i, 0}, row_ufuncs(i));
  }
  for (const auto& [name, activation] : known()) module.attr(name) = activation;
  module.attr("__all__") = py::list(known().attr("keys")());
  module.attr("ActivationFunction") =
      py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(activation_type));
}

py::object activation_object(py::handle value) {
  if (PyObject_TypeCheck(value.ptr(), activation_type))
    return py::reinterpret_borrow<py::object>(value);
  if (value.is_none()) return known()["identity"];
  if (!py::isinstance<py::str>(value))
    throw py::type_error(
        "activation must be a name, an activation of lamina's or None, got " +
        std::string(Py_TYPE(value.ptr())->tp_name));
  if (!known().contains(value))
    throw py::value_error("unknown activation " + std::string(py::repr(value)) +
                          "; known are " + known_names());
  return known()[value];
}

ActivationChoice activation_choice(py::handle value) {
  return self_of(activation_object(value).ptr())->choice;
}

}  // namespace lamina
