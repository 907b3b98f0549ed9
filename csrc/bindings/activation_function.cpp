#include "bindings/activation_function.hpp"

#include <string>
#include <string_view>

#include "bindings/function.hpp"
#include "bindings/ufuncs.hpp"

namespace lamina {

namespace py = pybind11;

namespace {

// A Function with what belongs to an activation.
struct ActivationFunction {
  Function forward;
  ActivationChoice choice;
  PyObject* derivative;  // null for those that act on rows
  PyObject* backward;
};

PyTypeObject* activation_type = nullptr;

void activation_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  auto* a = reinterpret_cast<ActivationFunction*>(self);
  clear_function(&a->forward);
  Py_CLEAR(a->derivative);
  Py_CLEAR(a->backward);
  type->tp_free(self);
  Py_DECREF(type);
}

py::object make_activation(const Info& info, const ActivationChoice& choice,
                           const UfuncTriple& ufuncs) {
  auto* a = allocate<ActivationFunction>(activation_type);
  auto result = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(a));
  set_function(&a->forward, info, choice, ufuncs.forward, 1);
  a->choice = choice;
  if (ufuncs.derivative.object)
    a->derivative = make_function(info, choice, ufuncs.derivative, 1).release().ptr();
  a->backward = make_function(info, choice, ufuncs.backward, 2).release().ptr();
  return result;
}

// ---- Attributes

ActivationFunction* self_of(PyObject* self) {
  return reinterpret_cast<ActivationFunction*>(self);
}

PyObject* get_name(PyObject* self, void*) {
  return PyUnicode_FromString(self_of(self)->forward.info->name);
}
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
        info, choice, {ufunc_of(self), ufunc_of(a->derivative), ufunc_of(a->backward)});
  });
}

PyGetSetDef activation_attributes[] = {
    {"name", get_name, nullptr, "The name by which layers know it.", nullptr},
    {"formula", get_formula, nullptr, "The definition as text.", nullptr},
    {"saves", get_saves, nullptr, "What backward reads: 'output' or 'input'.", nullptr},
    {"parameters", get_parameters, nullptr, "Parameter names and values.", nullptr},
    {"promises", get_promises, nullptr,
     "Error bounds for (float32, float64): max_ulp of the forward, and "
     "max_derivative_error in units of 2^-24 and 2^-53.",
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
     METH_FASTCALL | METH_KEYWORDS,
     "using($self, /, **parameter)\n--\n\nThe same activation with another parameter."},
    {nullptr, nullptr, 0, nullptr}};

constexpr char activation_doc[] =
    R"(An activation function: called as a NumPy ufunc, or named to a layer.

Attributes
----------
name : str
    By which layers know it.
formula : str
    The definition as text.
saves : {"output", "input"}
    What `backward` reads.
parameters : dict
    Name and value of its parameter, if it has one; `using` sets it.
promises : dict
    Error bounds for (float32, float64): "max_ulp" of the function, and
    "max_derivative_error" in units of 2**-24 and 2**-53.
initializer : str
    The weights that "auto" draws for a layer with this activation.
loss : str or None
    The loss that it implies as a last activation.
ufunc : numpy.ufunc
    The ufunc behind; its last input is the parameter.
derivative : callable
    ``derivative(x)``, of those that act on elements.
backward : callable
    ``backward(dy, saved)``: dy times the derivative, in one pass.)";

// ---- The list

// By interned names: those written in a program are the same objects.
py::dict& known() {
  static auto* activations = new py::dict;
  return *activations;
}
py::object interned(const char* name) {
  return py::reinterpret_steal<py::object>(PyUnicode_InternFromString(name));
}

std::string known_names() {
  return py::str(", ").attr("join")(known().attr("keys")()).cast<std::string>();
}

// NumPy pickles a ufunc by name. Those with two have a place from NumPy 2.3 on, whose
// ufuncs take attributes.
void keep_ufuncs(py::module_ ufuncs) {
  const auto set = [](py::object ufunc, const char* name, const py::object& value) {
    if (PyObject_SetAttrString(ufunc.ptr(), name, value.ptr()) < 0) PyErr_Clear();
  };
  for (const auto& [name, activation] : known()) {
    const py::object ufunc = activation.attr("ufunc");
    ufuncs.attr(name) = ufunc;
    set(ufunc, "__module__", ufuncs.attr("__name__"));
    for (const char* part : {"derivative", "backward"}) {
      if (!py::hasattr(activation, part)) continue;
      const py::object own = activation.attr(part).attr("ufunc");
      set(own, "__module__", ufuncs.attr("__name__"));
      set(ufunc, part, own);
    }
  }
}

}  // namespace

void register_activations(py::module_& module) {
  const auto slot = [](int id, auto* what) {
    return PyType_Slot{id, reinterpret_cast<void*>(what)};
  };
  module.attr("Function") =
      py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(function_type()));
  activation_type = make_callable_type(
      "lamina.activations.ActivationFunction", sizeof(ActivationFunction),
      {slot(Py_tp_dealloc, activation_dealloc),
       slot(Py_tp_getset, activation_attributes),
       slot(Py_tp_methods, activation_methods), slot(Py_tp_repr, activation_repr),
       slot(Py_tp_richcompare, activation_compare), slot(Py_tp_hash, activation_hash)},
      activation_doc, function_type());
  for (std::size_t i = 0; i < Activations::size; ++i) {
    const Info& info = Activations::infos[i];
    known()[interned(info.name)] = make_activation(
        info, {ActivationChoice::Kind::elementwise, i, info.parameter.initial},
        elementwise_ufuncs(i));
  }
  constexpr ActivationChoice::Kind kinds[] = {ActivationChoice::Kind::softmax,
                                              ActivationChoice::Kind::log_softmax};
  for (std::size_t i = 0; i < RowActivations::size; ++i) {
    const Info& info = RowActivations::infos[i];
    known()[interned(info.name)] =
        make_activation(info, {kinds[i], i, 0}, row_ufuncs(i));
  }
  for (const auto& [name, activation] : known()) module.attr(name) = activation;
  keep_ufuncs(module.def_submodule("ufuncs", "By their names, as pickle finds them."));
  module.attr("__all__") = py::list(known().attr("keys")());
  module.attr("ActivationFunction") =
      py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(activation_type));
}

py::object activation_object(py::handle value) {
  if (PyObject_TypeCheck(value.ptr(), activation_type))
    return py::reinterpret_borrow<py::object>(value);
  static const py::handle identity = interned("identity").release();
  if (value.is_none()) value = identity;
  if (!py::isinstance<py::str>(value))
    throw py::type_error(
        "activation must be a name, an activation of lamina's or None, got " +
        std::string(Py_TYPE(value.ptr())->tp_name));
  if (PyObject* found = PyDict_GetItemWithError(known().ptr(), value.ptr()))
    return py::reinterpret_borrow<py::object>(found);
  if (PyErr_Occurred()) throw py::error_already_set();
  throw py::value_error("unknown activation " + std::string(py::repr(value)) +
                        "; known are " + known_names());
}

ActivationChoice activation_choice(py::handle value) {
  return self_of(activation_object(value).ptr())->choice;
}

void require_parameter(const ActivationChoice& choice, bool is_double) {
  if (is_double || choice.by_row()) return;
  const Info& info = Activations::infos[choice.index];
  if (info.parameter.name) require_single(info, choice.parameter);
}

}  // namespace lamina
