// The module as a table of contents.
#define LAMINA_IMPORTS_NUMPY
#include <cctype>
#include <cstdlib>
#include <string>

#include "bindings/activation_function.hpp"
#include "bindings/c_api.hpp"
#include "bindings/call.hpp"
#include "bindings/losses.hpp"
#include "bindings/optimizers.hpp"
#include "bindings/packed.hpp"
#include "bindings/sparse.hpp"

namespace lamina {

namespace py = pybind11;

namespace {

py::list target_names(bool available_only) {
  py::list names;
  for (const Target& target : targets())
    if (target.available || !available_only) names.append(target.table->name);
  return names;
}

void set_target(const std::string& name) {
  if (!activate(name))
    throw py::value_error("target must be one that this machine runs, of " +
                          std::string(py::str(target_names(true))) + ", got '" + name +
                          "'");
}

void choose_target_from_environment() {
  const char* wanted = std::getenv("LAMINA_TARGET");
  if (wanted && *wanted && !activate(wanted))
    throw py::import_error(
        "LAMINA_TARGET must name a target that this machine runs, of " +
        std::string(py::str(target_names(true))) + ", got '" + wanted + "'");
}

// OMP_NUM_THREADS is for everybody, and how joblib and Dask share out the processors:
// what Lamina cannot read there is not meant for it, or a list for nested regions.
void threads_from_environment() {
  const char* wanted = std::getenv("LAMINA_NUM_THREADS");
  char* end;
  if (!wanted || !*wanted) {
    const char* common = std::getenv("OMP_NUM_THREADS");
    const long count = common ? std::strtol(common, &end, 10) : 0;
    if (count > 0) set_threads(static_cast<std::size_t>(count));
    return;
  }
  const long count = std::strtol(wanted, &end, 10);
  while (std::isspace(static_cast<unsigned char>(*end))) ++end;
  if (*end || count < 1)
    throw py::import_error(std::string("LAMINA_NUM_THREADS must be a number from 1 up, "
                                       "got '") +
                           wanted + "'");
  set_threads(static_cast<std::size_t>(count));
}

// Of threads; what is more than can be counted is many.
std::size_t many(const py::int_& count) {
  const std::size_t number = PyLong_AsSize_t(count.ptr());
  if (PyErr_Occurred()) PyErr_Clear();
  return number;
}

}  // namespace

}  // namespace lamina

// By this name threadpoolctl finds the module among the libraries that are loaded.
extern "C" PYBIND11_EXPORT int lamina_threads() {
  return static_cast<int>(lamina::get_threads());
}

static int pybind11_exec__core(PyObject*);
PYBIND11_MODULE_EXEC(_core, m) {
  using namespace lamina;
  namespace py = pybind11;
  if (_import_array() < 0 || _import_umath() < 0) throw py::error_already_set();
  choose_target_from_environment();
  threads_from_environment();
  m.doc() = "The compiled part of lamina: kernels, arrays in and out.";
  m.attr("__version__") = LAMINA_VERSION;
  m.attr("compiler") = LAMINA_COMPILER;
  m.attr("_C_API") = py::capsule(&c_api, "lamina._core._C_API");

  register_activations(m);
  m.def("get_activation", activation_object);

  register_functions(m);
  register_losses(m);
  register_network(m);
  register_optimizers(m);
  register_packed(m);
  register_sparse(m);

  m.def("targets", target_names, py::arg("available_only") = false);
  m.def("get_target", [] { return active().name; });
  m.def("set_target", set_target);
  m.def("has_bf16", [] { return bfloat16().kernels != nullptr; });
  m.def("require_precision", [](py::handle precision) { packing(precision); });
  m.def("get_num_threads", get_threads);
  m.def("set_num_threads", [](const py::int_& n) { set_threads(many(n)); });
  m.def("limit_threads", [](const py::int_& n) { return limit_threads(many(n)); });
}

// NumPy has one copy of itself for the process, and so has what is kept here: another
// interpreter would wait for ever where pybind11 first wants the GIL. Which one imports
// is known when the module is filled; before, it may be the main one in its place.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  constexpr auto fill = [](PyObject* module) {
    if (PyInterpreterState_Get() == PyInterpreterState_Main())
      return pybind11_exec__core(module);
    PyErr_SetString(PyExc_ImportError,
                    "lamina works in the main interpreter alone, not in "
                    "sub-interpreters; use threads or processes");
    return -1;
  };
  static PyModuleDef_Slot slots[] = {
      {Py_mod_exec, reinterpret_cast<void*>(static_cast<int (*)(PyObject*)>(fill))},
#if PY_VERSION_HEX >= 0x030C0000
      {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
      {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
      {0, nullptr}};
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                                   "_core",
                                   nullptr,
                                   0,
                                   nullptr,
                                   slots,
                                   nullptr,
                                   nullptr,
                                   nullptr};
  return PyModuleDef_Init(&definition);
}
