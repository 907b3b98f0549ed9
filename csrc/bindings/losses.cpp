#include "bindings/losses.hpp"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>

#include "bindings/arrays.hpp"
#include "bindings/call.hpp"

namespace lamina {

namespace {

constexpr const char* names[] = {
#define LAMINA_NAME(name, cycles) #name,
    LAMINA_LOSSES(LAMINA_NAME)
#undef LAMINA_NAME
};

// A copy of labels: what was checked must be what the kernel reads.
py::object checked_labels(const Argument& targets, std::size_t rows, std::size_t cols) {
  PyObject* converted = taking_gil([&] {
    return PyArray_FROM_OTF(reinterpret_cast<PyObject*>(targets.array()), NPY_INT64,
                            NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSURECOPY);
  });
  if (!converted) throw py::error_already_set();
  auto labels = py::reinterpret_steal<py::object>(converted);
  const auto* label = static_cast<const std::int64_t*>(
      PyArray_DATA(reinterpret_cast<PyArrayObject*>(converted)));
  for (std::size_t i = 0; i < rows; ++i)
    if (label[i] < 0 || static_cast<std::size_t>(label[i]) >= cols)
      throw py::value_error("labels must lie in [0, " + std::to_string(cols) +
                            "), got " + std::to_string(label[i]));
  return labels;
}

// core, outputs, targets, scale (of the mean where it is None), weights, gradient
py::object py_loss(const py::handle* arguments) {
  const LossChoice choice = loss_choice(arguments[0]);
  const py::handle weights = arguments[4], gradient = arguments[5];
  // All that may run Python comes before the first extent.
  const bool is_mean = arguments[3].is_none();
  const double given = is_mean ? 0 : number_of(arguments[3]);
  Argument o("outputs", arguments[1]), t("targets", arguments[2]);
  Argument w("weights", weights.is_none() ? arguments[1] : weights);
  o.require_dimensions(2, "(batch, units)");
  const std::size_t rows = o.extent(0), cols = o.extent(1);
  const double scale =
      is_mean ? 1 / static_cast<double>(std::max<std::size_t>(rows, 1)) : given;
  py::object labels;
  if (choice.kind == LossKind::softmax_cross_entropy && t.shape().size() == 1) {
    t.require_shape({rows}, "one label per row");
    labels = checked_labels(t, rows, cols);
  } else {
    t.require_shape({rows, cols}, "that of the outputs");
  }
  if (!weights.is_none()) w.require_shape({rows}, "one weight per row");
  return in_precision(o.needs_double(), [&](auto type) -> py::object {
    using T = decltype(type);
    const LossRows<T> in = {
        .outputs = o.contiguous<T>(),
        .targets = labels ? nullptr : t.contiguous<T>(),
        .labels = labels ? static_cast<const std::int64_t*>(PyArray_DATA(
                               reinterpret_cast<PyArrayObject*>(labels.ptr())))
                         : nullptr,
        .weights = weights.is_none() ? nullptr : w.contiguous<T>(),
        .rows = rows,
        .cols = cols};
    require_option<T>(choice);
    held<T>("scale", scale);
    T* g =
        gradient.is_none() ? nullptr : in_place<T>("gradient", gradient, rows * cols);
    if (g && (g == in.targets || g == in.weights))
      throw py::value_error(std::string("gradient must not be the array of the ") +
                            (g == in.targets ? "targets" : "weights"));
    const std::unique_ptr<T[]> losses(new T[rows]);
    LossResult result;
    run(rows * cols, [&] { result = loss(choice, in, scale, losses.get(), g); });
    return py::make_tuple(result.sum, result.correct);
  });
}

constexpr Positional loss_function = {
    "loss",
    "loss($module, core, outputs, targets, scale, weights=None, "
    "gradient=None, /)\n--\n\n",
    py_loss, 4, 6};

}  // namespace

LossChoice loss_choice(py::handle core) {
  const auto wrong = [&] {
    return "core must be (kind, label_smoothing, parameter), got " +
           std::string(py::repr(core));
  };
  const Py_ssize_t size = PyTuple_Check(core.ptr()) ? PyTuple_GET_SIZE(core.ptr()) : 0;
  if (size != 3 && !(size == 4 && PyFloat_Check(PyTuple_GET_ITEM(core.ptr(), 3))))
    throw py::type_error(wrong());
  PyObject* name = PyTuple_GET_ITEM(core.ptr(), 0);
  double numbers[2];
  for (Py_ssize_t i = 0; i < 2; ++i)
    numbers[i] = number_of(PyTuple_GET_ITEM(core.ptr(), i + 1));
  for (std::size_t kind = 0; PyUnicode_Check(name) && kind < std::size(names); ++kind)
    if (PyUnicode_CompareWithASCIIString(name, names[kind]) == 0)
      return {.kind = static_cast<LossKind>(kind),
              .label_smoothing = numbers[0],
              .parameter = numbers[1]};
  throw py::value_error(wrong());
}

double per_weight(py::handle core) {
  return PyTuple_GET_SIZE(core.ptr()) == 3
             ? 0
             : PyFloat_AS_DOUBLE(PyTuple_GET_ITEM(core.ptr(), 3));
}

template <class T>
void require_option(const LossChoice& choice) {
  const char* name = choice.kind == LossKind::huber     ? "delta"
                     : choice.kind == LossKind::pinball ? "quantile"
                                                        : "pos_weight";
  held<T>(name, choice.parameter);
}
template void require_option<float>(const LossChoice&);
template void require_option<double>(const LossChoice&);

void register_losses(py::module_& m) {
  m.attr("LOSSES") = names_of(names);
  define<loss_function>(m);
}

}  // namespace lamina
