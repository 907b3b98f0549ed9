// Losses, which a training loop calls on its own buffers: arrays that they write to
// must fit exactly.
#include <string>

#include "bindings/arrays.hpp"
#include "bindings/call.hpp"
#include "ops/ops.hpp"

namespace lamina {

namespace {

// ------------------------------

struct LossArrays {
  Argument outputs, targets;
  std::size_t rows, cols;
  bool is_double, labels;

  LossArrays(const char* name, py::handle o, py::handle t, bool allow_labels)
      : outputs(name, o), targets("targets", t) {
    outputs.require_dimensions(2, "(batch, units)");
    rows = outputs.extent(0);
    cols = outputs.extent(1);
    is_double = outputs.needs_double();
    labels = allow_labels && targets.shape().size() == 1;
    if (labels)
      targets.require_shape({rows}, "one label per row");
    else
      targets.require_shape({rows, cols}, "that of the outputs");
  }
};

template <class T>
T* optional_in_place(const char* name, py::handle value, std::size_t size) {
  return value.is_none() ? nullptr : in_place<T>(name, value, size);
}

// work(row, rows) over all rows, an element of which takes so many cycles.
template <class Work>
void run_rows(const LossArrays& a, double cycles, Work work) {
  const double of_row = cycles * static_cast<double>(a.cols);
  run(a.rows * a.cols, [&] {
    parallel(a.rows, of_row, workers_for(a.rows, of_row),
             [&](std::size_t row, std::size_t rows, std::size_t) { work(row, rows); });
  });
}

void py_softmax_cross_entropy(py::handle logits, py::handle targets, double scale,
                              py::handle losses, py::handle gradient) {
  LossArrays a("logits", logits, targets, true);
  // A copy: what was checked must be what the kernel reads.
  py::object labels;
  if (a.labels) {
    PyObject* converted =
        PyArray_FROM_OTF(reinterpret_cast<PyObject*>(a.targets.array()), NPY_INT64,
                         NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSURECOPY);
    if (!converted) throw py::error_already_set();
    labels = py::reinterpret_steal<py::object>(converted);
    const auto* label = static_cast<const std::int64_t*>(
        PyArray_DATA(reinterpret_cast<PyArrayObject*>(labels.ptr())));
    for (std::size_t i = 0; i < a.rows; ++i)
      if (label[i] < 0 || static_cast<std::size_t>(label[i]) >= a.cols)
        throw py::value_error("labels must lie in [0, " + std::to_string(a.cols) +
                              "), got " + std::to_string(label[i]));
  }
  in_precision(a.is_double, [&](auto type) {
    using T = decltype(type);
    const T* z = a.outputs.contiguous<T>();
    const T* t = a.labels ? nullptr : a.targets.contiguous<T>();
    T* l = optional_in_place<T>("losses", losses, a.rows);
    T* g = optional_in_place<T>("gradient", gradient, a.rows * a.cols);
    if (g && static_cast<const T*>(g) == t)
      throw py::value_error("gradient must not be the array of the targets");
    const auto* label = a.labels ? static_cast<const std::int64_t*>(PyArray_DATA(
                                       reinterpret_cast<PyArrayObject*>(labels.ptr())))
                                 : nullptr;
    const Kernels<T>& table = kernels<T>();
    run_rows(a, 2, [&](std::size_t row, std::size_t rows) {
      const std::size_t at = row * a.cols;
      table.softmax_cross_entropy(z + at, t ? t + at : nullptr,
                                  label ? label + row : nullptr, static_cast<T>(scale),
                                  l ? l + row : nullptr, g ? g + at : nullptr, rows,
                                  a.cols);
    });
  });
}

template <bool squared>
void py_row_loss(py::handle outputs, py::handle targets, double scale,
                 py::handle losses, py::handle gradient) {
  LossArrays a(squared ? "outputs" : "logits", outputs, targets, false);
  in_precision(a.is_double, [&](auto type) {
    using T = decltype(type);
    const T* z = a.outputs.contiguous<T>();
    const T* t = a.targets.contiguous<T>();
    T* l = optional_in_place<T>("losses", losses, a.rows);
    T* g = optional_in_place<T>("gradient", gradient, a.rows * a.cols);
    const auto kernel =
        squared ? kernels<T>().squared_error : kernels<T>().sigmoid_cross_entropy;
    run_rows(a, squared ? 0.5 : 2, [&](std::size_t row, std::size_t rows) {
      const std::size_t at = row * a.cols;
      kernel(z + at, t + at, static_cast<T>(scale), l ? l + row : nullptr,
             g ? g + at : nullptr, rows, a.cols);
    });
  });
}

}  // namespace

void register_training(py::module_& m) {
  const auto none = py::arg("losses") = py::none();
  m.def("softmax_cross_entropy", py_softmax_cross_entropy, py::arg("logits"),
        py::arg("targets"), py::arg("scale"), none, py::arg("gradient") = py::none());
  m.def("sigmoid_cross_entropy", py_row_loss<false>, py::arg("logits"),
        py::arg("targets"), py::arg("scale"), none, py::arg("gradient") = py::none());
  m.def("squared_error", py_row_loss<true>, py::arg("outputs"), py::arg("targets"),
        py::arg("scale"), none, py::arg("gradient") = py::none());
}

}  // namespace lamina
