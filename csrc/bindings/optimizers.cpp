// Optimizers on the buffers of a net: arrays that they write to must fit exactly.
#include "bindings/optimizers.hpp"

#include <pybind11/stl.h>

#include <cmath>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/call.hpp"

namespace lamina {

namespace {

constexpr const char* names[] = {
#define LAMINA_NAME(name, cycles, slots) #name,
    LAMINA_OPTIMIZERS(LAMINA_NAME)
#undef LAMINA_NAME
};

OptimizerKind optimizer_kind(std::string_view name) {
  for (std::size_t kind = 0; kind < std::size(names); ++kind)
    if (name == names[kind]) return static_cast<OptimizerKind>(kind);
  throw py::value_error("kind must be one of " + std::string(py::str(names_of(names))) +
                        ", got '" + std::string(name) + "'");
}

std::size_t size_of(py::handle array) {
  return static_cast<std::size_t>(
      PyArray_SIZE(reinterpret_cast<PyArrayObject*>(array.ptr())));
}

// core, w, dw, state, rate, step
py::object py_update(const py::handle* arguments) {
  const OptimizerChoice rule = optimizer_choice(arguments[0]);
  const py::handle w = arguments[1], dw = arguments[2], state = arguments[3],
                   number = arguments[5];
  const double rate = number_of(arguments[4]);
  const long long step = PyLong_AsLongLong(number.ptr());  // takes whatever is an index
  if (PyErr_Occurred()) PyErr_Clear();
  if (step < 1)
    throw py::value_error("step must be a whole number >= 1, got " +
                          std::string(py::repr(number)));
  in_precision(is_double_array("w", w), [&](auto type) {
    using T = decltype(type);
    const std::size_t n = size_of(w);
    T* parameters = in_place<T>("w", w, n);
    const T* gradients = in_place<T>("dw", dw, n);
    T* kept = in_place<T>("state", state, slots(rule) * n);
    require_numbers<T>(rule);
    held<T>("learning_rate", rate);
    run_wholly(n, [&] {
      update(rule, {rate, rule.weight_decay}, static_cast<std::uint64_t>(step),
             parameters, gradients, kept, n, n);
    });
  });
  return py::none();
}

void py_follow(py::handle w, py::handle mean, double share) {
  in_precision(is_double_array("mean", mean), [&](auto type) {
    using T = decltype(type);
    const std::size_t n = size_of(mean);
    const T* parameters = in_place<T>("w", w, n);
    T* kept = in_place<T>("mean", mean, n);
    run_wholly(n, [&] { follow(parameters, kept, n, share); });
  });
}

double py_clip(py::handle core, py::handle dw, const std::vector<std::size_t>& sizes) {
  const OptimizerChoice rule = optimizer_choice(core);
  std::size_t n = 0;
  for (const std::size_t size : sizes) n += size;
  return in_precision(is_double_array("dw", dw), [&](auto type) {
    using T = decltype(type);
    T* gradients = in_place<T>("dw", dw, n);
    double norm = 0;
    run_wholly(n, [&] { norm = clip(rule, gradients, sizes.data(), sizes.size()); });
    return norm;
  });
}

void py_limit_norms(py::handle kernel, double limit) {
  in_precision(is_double_array("kernel", kernel), [&](auto type) {
    using T = decltype(type);
    Argument("kernel", kernel).require_dimensions(2, "(inputs, units)");
    auto* array = reinterpret_cast<PyArrayObject*>(kernel.ptr());
    const auto rows = static_cast<std::size_t>(PyArray_DIM(array, 0));
    const auto cols = static_cast<std::size_t>(PyArray_DIM(array, 1));
    T* weights = in_place<T>("kernel", kernel, rows * cols);
    run(rows * cols, [&] { limit_norms(weights, rows, cols, limit); });
  });
}

constexpr Positional update_function = {
    "update", "update($module, core, w, dw, state, rate, step, /)\n--\n\n", py_update,
    6, 6};

}  // namespace

// By the C API: an update of a thousand parameters takes no longer than pybind11's
// casts.
OptimizerChoice optimizer_choice(py::handle core) {
  constexpr Py_ssize_t count = 9;
  if (!PyTuple_Check(core.ptr()) || PyTuple_GET_SIZE(core.ptr()) != count)
    throw py::value_error("core must be a tuple of 9, got " +
                          std::string(py::repr(core)));
  const auto part = [&](Py_ssize_t i) { return PyTuple_GET_ITEM(core.ptr(), i); };
  const auto number = [&](Py_ssize_t i) { return number_of(part(i)); };
  const char* kind = PyUnicode_AsUTF8(part(0));
  if (!kind) throw py::error_already_set();
  return {.kind = optimizer_kind(kind),
          .first = number(1),
          .second = number(2),
          .epsilon = number(3),
          .variant = part(4) == Py_True,
          .weight_decay = number(5),
          .clip_value = number(6),
          .clip_norm = number(7),
          .global_clip_norm = number(8)};
}

template <class T>
void require_numbers(const OptimizerChoice& rule) {
  held<T>("weight_decay", rule.weight_decay);
  const auto epsilon = static_cast<T>(rule.epsilon);
  if (!std::isfinite(epsilon) || (epsilon == 0 && rule.epsilon != 0))
    throw py::value_error("epsilon must be a finite number > 0 in float32, got " +
                          std::string(py::repr(py::float_(rule.epsilon))));
}
template void require_numbers<float>(const OptimizerChoice&);
template void require_numbers<double>(const OptimizerChoice&);

void register_optimizers(py::module_& m) {
  m.attr("OPTIMIZERS") = names_of(names);
  define<update_function>(m);
  m.def("follow", py_follow, py::arg("w"), py::arg("mean"), py::arg("share"));
  m.def("clip", py_clip, py::arg("core"), py::arg("dw"), py::arg("sizes"));
  m.def("limit_norms", py_limit_norms, py::arg("kernel"), py::arg("limit"));
}

}  // namespace lamina
