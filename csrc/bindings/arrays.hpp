// NumPy array to raw pointer: every check of an array argument and every message about
// one. (Ufuncs are checked by NumPy itself.)
#pragma once

#include <initializer_list>
#include <string>

#include "bindings/numpy.hpp"
#include "ops/ops.hpp"

namespace lamina {

namespace py = pybind11;

// The extents of an array, without memory from the heap: a small call would feel it.
class Shape {
 public:
  Shape(std::initializer_list<std::size_t> extents);
  explicit Shape(PyArrayObject* array);
  Shape(const Shape&) = delete;
  Shape& operator=(const Shape&) = delete;

  std::size_t size() const { return size_; }
  std::size_t operator[](std::size_t i) const {
    return static_cast<std::size_t>(extents_[i]);
  }
  const npy_intp* data() const { return extents_; }
  bool is_of(PyArrayObject* array) const {
    bool same = size_ == static_cast<std::size_t>(PyArray_NDIM(array));
    for (std::size_t i = 0; same && i < size_; ++i)
      same = extents_[i] == PyArray_DIMS(array)[i];
    return same;
  }

 private:
  std::size_t size_;
  npy_intp extents_[NPY_MAXDIMS];
};
std::string to_string(const Shape& shape);

// An array argument: its name for messages, and the array that it was converted to.
class Argument {
 public:
  // Lists and the like become arrays. TypeError: no array, masked, or not of real
  // numbers that float64 holds. Integers of 32 bits and more and float64 need double
  // precision.
  Argument(const char* name, py::handle value);

  bool needs_double() const;
  PyArrayObject* array() const {
    return reinterpret_cast<PyArrayObject*>(object_.ptr());
  }
  const char* name() const { return name_; }
  Shape shape() const { return Shape(array()); }
  std::size_t extent(int dimension) const {
    return static_cast<std::size_t>(PyArray_DIM(array(), dimension));
  }

  // In T, aligned, in native byte order; C-contiguous.
  template <class T>
  const T* contiguous();
  // Two-dimensional with one stride of 1, so that a transposed view needs no copy.
  template <class T>
  Matrix<T> matrix();

  // ValueError unless the shape is this one; `meaning` says what the sizes are.
  void require_shape(const Shape& expected, const char* meaning) const;
  void require_dimensions(int count, const char* meaning) const;

 private:
  template <class T>
  void convert(int flags);
  const char* name_;
  py::object object_;
};

// Whether arrays that meet are computed in float64.
bool any_double(std::initializer_list<const Argument*> arguments);

// An array to write into: the caller's `out`, or a new one if that is None.
class Output {
 public:
  // TypeError or ValueError unless `out` is a writeable array of this dtype and shape.
  // `inputs` are what it must not overlap; if it does, or is not contiguous, a
  // temporary takes its place until result().
  Output(const char* name, py::handle out, bool is_double, const Shape& shape,
         std::initializer_list<const Argument*> inputs);

  template <class T>
  T* data() {
    return static_cast<T*>(PyArray_DATA(target()));
  }
  // The finished array.
  py::object result();
  // Whether both are the caller's and share memory.
  bool overlaps(const Output& other) const;

 private:
  PyArrayObject* target() const {
    return reinterpret_cast<PyArrayObject*>(memory_.ptr());
  }
  py::object out_, memory_;
};

// An array changed in place: exactly T, contiguous, writeable, of this size.
template <class T>
T* in_place(const char* name, py::handle value, std::size_t size);

// A number that is computed with in T: ValueError if it is finite and T holds only an
// infinity in its place.
template <class T>
double held(const char* name, double value);

// Whether `value` is a float64 array (else float32); TypeError if it is neither.
bool is_double_array(const char* name, py::handle value);

}  // namespace lamina
