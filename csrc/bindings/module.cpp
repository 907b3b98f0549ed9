// The module as a table of contents.
#define LAMINA_IMPORTS_NUMPY
#include <cstdlib>
#include <string>

#include "bindings/activation_function.hpp"
#include "bindings/c_api.hpp"
#include "bindings/call.hpp"
#include "bindings/losses.hpp"
#include "bindings/optimizers.hpp"
#include "bindings/packed.hpp"

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

void threads_from_environment() {
  const char* wanted = std::getenv("LAMINA_NUM_THREADS");
  if (!wanted || !*wanted) return;
  char* end;
  const long count = std::strtol(wanted, &end, 10);
  if (*end || count < 1)
    throw py::import_error(std::string("LAMINA_NUM_THREADS must be a number from 1 up, "
                                       "got '") +
                           wanted + "'");
  set_threads(static_cast<std::size_t>(count));
}

}  // namespace

}  // namespace lamina

// By this name threadpoolctl finds the module among the libraries that are loaded.
extern "C" __attribute__((visibility("default"))) int lamina_threads() {
  return static_cast<int>(lamina::get_threads());
}

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
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

  m.def("targets", target_names, py::arg("available_only") = false);
  m.def("get_target", [] { return active().name; });
  m.def("set_target", set_target);
  m.def("has_bf16", [] { return bfloat16().kernels != nullptr; });
  m.def("get_num_threads", get_threads);
  m.def("set_num_threads", set_threads);
  m.def("limit_threads", limit_threads);
}
