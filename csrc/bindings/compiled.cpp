#include "bindings/compiled.hpp"

#include <structmember.h>

#include <algorithm>

#include "bindings/function.hpp"

namespace lamina {

namespace py = pybind11;

namespace {

constexpr std::size_t most_parameters = 10;

struct Compiled {
  PyObject_HEAD;
  vectorcallfunc vectorcall;
  PyObject* attributes;  // __dict__
  PyObject* declaration;
  PyObject* names[most_parameters];     // interned
  PyObject* defaults[most_parameters];  // null where a value is required
  std::size_t positional;               // parameters after these come by keyword
  Definition definition;
};

Compiled* self_of(PyObject* self) { return reinterpret_cast<Compiled*>(self); }

// The place of a parameter; their number if there is none of that name.
std::size_t place_of(const Compiled* f, PyObject* name) {
  const auto first = f->names, last = first + f->definition.parameters;
  auto found = std::find(first, last, name);  // names written in a call are interned
  if (found == last)
    found = std::find_if(first, last, [&](PyObject* known) {
      return PyUnicode_Compare(known, name) == 0;
    });
  return static_cast<std::size_t>(found - first);
}

// Puts the arguments of a call, and defaults, where the definition wants them. False if
// they do not fit the declaration.
bool bind(const Compiled* f, PyObject* const* args, std::size_t count,
          PyObject* kwnames, PyObject** values) {
  if (count > f->positional) return false;
  const std::size_t parameters = f->definition.parameters;
  for (std::size_t i = 0; i < parameters; ++i)
    values[i] = i < count ? args[i] : nullptr;
  const Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < named; ++i) {
    const std::size_t place = place_of(f, PyTuple_GET_ITEM(kwnames, i));
    if (place == parameters || values[place]) return false;
    values[place] = args[count + static_cast<std::size_t>(i)];
  }
  for (std::size_t i = 0; i < parameters; ++i)
    if (!values[i] && !(values[i] = f->defaults[i])) return false;
  return true;
}

PyObject* compiled_call(PyObject* self, PyObject* const* args, std::size_t flags,
                        PyObject* kwnames) {
  const Compiled* f = self_of(self);
  const auto count = static_cast<std::size_t>(PyVectorcall_NARGS(flags));
  PyObject* values[most_parameters];
  if (bind(f, args, count, kwnames, values))
    return guarded([&] { return f->definition.call(values); });
  // Python says what is wrong with the call.
  return PyObject_Vectorcall(f->declaration, args, flags, kwnames);
}

void compiled_dealloc(PyObject* self) {
  Compiled* f = self_of(self);
  PyTypeObject* type = Py_TYPE(self);
  for (PyObject*& name : f->names) Py_CLEAR(name);
  for (PyObject*& value : f->defaults) Py_CLEAR(value);
  Py_CLEAR(f->declaration);
  Py_CLEAR(f->attributes);
  type->tp_free(self);
  Py_DECREF(type);
}

// A method of the class that holds it, as a Python function is; inspect and pydoc know
// routines by this.
PyObject* compiled_get(PyObject* self, PyObject* instance, PyObject*) {
  return instance ? PyMethod_New(self, instance) : Py_NewRef(self);
}

PyObject* compiled_repr(PyObject* self) {
  const auto name =
      py::reinterpret_steal<py::object>(PyObject_GetAttrString(self, "__name__"));
  return name ? PyUnicode_FromFormat("<lamina.%U>", name.ptr()) : nullptr;
}

// By name: what the module of the other process holds.
PyObject* compiled_reduce(PyObject* self, PyObject*) {
  return PyObject_GetAttrString(self, "__qualname__");
}

PyMemberDef compiled_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Compiled, vectorcall), READONLY,
     nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(Compiled, attributes), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef compiled_attributes[] = {
    {"__dict__", PyObject_GenericGetDict, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef compiled_methods[] = {{"__reduce__", compiled_reduce, METH_NOARGS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};

PyTypeObject* compiled_type() {
  PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(compiled_dealloc)},
                         {Py_tp_descr_get, reinterpret_cast<void*>(compiled_get)},
                         {Py_tp_getset, compiled_attributes},
                         {Py_tp_members, compiled_members},
                         {Py_tp_methods, compiled_methods},
                         {Py_tp_repr, reinterpret_cast<void*>(compiled_repr)},
                         {0, nullptr}};
  PyType_Spec spec = {"lamina._core.Compiled", static_cast<int>(sizeof(Compiled)), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
                          Py_TPFLAGS_DISALLOW_INSTANTIATION,
                      slots};
  static PyObject* const type = PyType_FromSpec(&spec);
  if (!type) throw py::error_already_set();
  return reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace

py::object make_compiled(py::handle declaration, const Definition& definition) {
  auto* f = allocate<Compiled>(compiled_type());
  auto result = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(f));
  f->vectorcall = compiled_call;
  f->declaration = Py_NewRef(declaration.ptr());
  f->definition = definition;

  const py::object code = declaration.attr("__code__");
  f->positional = code.attr("co_argcount").cast<std::size_t>();
  const std::size_t parameters =
      f->positional + code.attr("co_kwonlyargcount").cast<std::size_t>();
  if (parameters != definition.parameters || parameters > most_parameters)
    throw std::logic_error("a declaration has other parameters than its definition");
  const py::object names = code.attr("co_varnames");
  const py::object last = declaration.attr("__defaults__");
  const py::object by_keyword = declaration.attr("__kwdefaults__");
  const std::size_t required = f->positional - (last.is_none() ? 0 : py::len(last));
  for (std::size_t i = 0; i < parameters; ++i) {
    py::object name = names[py::int_(i)], value;
    if (i >= f->positional)
      value = by_keyword[name];
    else if (i >= required)
      value = last[py::int_(i - required)];
    f->names[i] = name.release().ptr();
    f->defaults[i] = value.release().ptr();
  }
  py::module_::import("functools").attr("update_wrapper")(result, declaration);
  return result;
}

}  // namespace lamina
