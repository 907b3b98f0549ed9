#include "bindings/sparse.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace lamina {

namespace {

PyArrayObject* array_of(const py::object& value) {
  return reinterpret_cast<PyArrayObject*>(value.ptr());
}

bool is_plain(const py::object& value, int type) {
  return PyArray_Check(value.ptr()) && PyArray_TYPE(array_of(value)) == type &&
         PyArray_ISCARRAY_RO(array_of(value));
}

// As an array of that type, a copy if it is another one.
py::object integers(const char* name, const py::object& value, int type) {
  if (is_plain(value, type)) return value;
  PyObject* made = taking_gil([&]() -> PyObject* {
    PyObject* array = PyArray_FromAny(value.ptr(), nullptr, 0, 0, 0, nullptr);
    if (!array) return nullptr;
    const auto held = py::reinterpret_steal<py::object>(array);
    if (!PyTypeNum_ISINTEGER(PyArray_TYPE(array_of(held)))) {
      PyErr_Format(PyExc_TypeError,
                   "%s must have indices and indptr of integers, got dtype %S", name,
                   reinterpret_cast<PyObject*>(PyArray_DESCR(array_of(held))));
      return nullptr;
    }
    return PyArray_FROM_OTF(array, type, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
  });
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

}  // namespace

SparseArgument::SparseArgument(const char* name, py::handle value) {
  const std::string label(name);
  const py::object csr = value.attr("tocsr")();
  const auto [rows, cols] =
      py::cast<std::pair<std::size_t, std::size_t>>(csr.attr("shape"));
  if (cols > std::numeric_limits<std::int32_t>::max())
    throw py::value_error(label + " must have fewer than 2**31 columns, got " +
                          std::to_string(cols));
  values_.emplace(name, py::object(csr.attr("data")));
  columns_ = csr.attr("indices");
  starts_ = csr.attr("indptr");
  const bool narrow = is_plain(columns_, NPY_INT32) && is_plain(starts_, NPY_INT32);
  const int type = narrow ? NPY_INT32 : NPY_INT64;
  columns_ = integers(name, columns_, type);
  starts_ = integers(name, starts_, type);
  const auto entries = static_cast<std::size_t>(PyArray_SIZE(array_of(columns_)));
  const auto starts = static_cast<std::size_t>(PyArray_SIZE(array_of(starts_)));
  if (static_cast<std::size_t>(PyArray_SIZE(values_->array())) != entries ||
      PyArray_NDIM(array_of(starts_)) != 1 || starts != rows + 1)
    throw py::value_error(
        label + " must be sparse rows (CSR) with as many values as indices and " +
        std::to_string(rows + 1) + " numbers in indptr, got " +
        std::to_string(PyArray_SIZE(values_->array())) + ", " +
        std::to_string(entries) + " and " + std::to_string(starts));
  rows_ = {.name = name,
           .rows = rows,
           .cols = cols,
           .entries = entries,
           .wide = !narrow,
           .is_double = values_->needs_double(),
           .columns = PyArray_DATA(array_of(columns_)),
           .starts = PyArray_DATA(array_of(starts_))};
  rows_.values = rows_.is_double
                     ? static_cast<const void*>(values_->contiguous<double>())
                     : values_->contiguous<float>();
}

RowsArgument::RowsArgument(const char* name, py::handle value) {
  if (SparseArgument::is(value)) {
    sparse_.emplace(name, value);
    return;
  }
  array_.emplace(name, value);
  array_->require_dimensions(2, "(batch, features)");
}

void register_sparse(py::module_& m) {
  m.def("check_sparse", [](const std::string& name, py::handle rows) {
    check(SparseArgument(name.c_str(), rows).rows());
  });
}

}  // namespace lamina
