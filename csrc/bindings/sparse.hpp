// Sparse rows as an argument: SciPy's matrices and arrays, and whatever else says
// tocsr() and has the arrays of that format. SciPy itself is not needed.
#pragma once

#include <optional>

#include "bindings/arrays.hpp"
#include "ops/sparse.hpp"

namespace lamina {

class SparseArgument {
 public:
  static bool is(py::handle value) {
    return !PyArray_CheckExact(value.ptr()) && py::hasattr(value, "tocsr");
  }
  // TypeError or ValueError unless its arrays fit together; what they hold is checked
  // where it is taken. Other formats are converted.
  SparseArgument(const char* name, py::handle value);

  const Csr& rows() const { return rows_; }
  const Argument& values() const { return *values_; }

 private:
  Csr rows_;
  std::optional<Argument> values_;
  py::object columns_, starts_;
};

// Rows of features, in an array or sparse.
class RowsArgument {
 public:
  RowsArgument(const char* name, py::handle value);

  bool is_sparse() const { return sparse_.has_value(); }
  const Csr& sparse() const { return sparse_->rows(); }
  template <class T>
  Matrix<T> matrix() {
    return array_->template matrix<T>();
  }
  std::size_t rows() const { return sparse_ ? sparse().rows : array_->extent(0); }
  std::size_t features() const { return sparse_ ? sparse().cols : array_->extent(1); }
  // What tells the precision, and what no output may lie over.
  const Argument* numbers() const { return sparse_ ? &sparse_->values() : &*array_; }

 private:
  std::optional<Argument> array_;
  std::optional<SparseArgument> sparse_;
};

void register_sparse(py::module_& module);

}  // namespace lamina
