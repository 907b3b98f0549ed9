#include "bindings/arrays.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "bindings/packed.hpp"

namespace lamina {

namespace {

template <class T>
constexpr int type_number = NPY_FLOAT;
template <>
constexpr int type_number<double> = NPY_DOUBLE;

std::string dtype_name(PyArrayObject* array) {
  return py::str(reinterpret_cast<PyObject*>(PyArray_DESCR(array)));
}

std::string type_name(py::handle value) { return Py_TYPE(value.ptr())->tp_name; }

// NumPy loads numpy.ma when it is first used; before that nothing can be masked.
bool is_masked(py::handle value) {
  if (PyArray_CheckExact(value.ptr())) return false;
  const auto name = py::str("numpy.ma");
  const auto module = py::reinterpret_steal<py::object>(PyImport_GetModule(name.ptr()));
  return module && py::isinstance(value, module.attr("MaskedArray"));
}

// The bytes that an array can touch.
struct Extent {
  std::uintptr_t first, last;
};
Extent extent(PyArrayObject* array) {
  auto first = reinterpret_cast<std::uintptr_t>(PyArray_DATA(array));
  auto last = first + static_cast<std::uintptr_t>(PyArray_ITEMSIZE(array));
  for (int d = 0; d < PyArray_NDIM(array); ++d) {
    if (PyArray_DIM(array, d) == 0) return {first, first};
    const npy_intp span = (PyArray_DIM(array, d) - 1) * PyArray_STRIDE(array, d);
    if (span < 0)
      first -= static_cast<std::uintptr_t>(-span);
    else
      last += static_cast<std::uintptr_t>(span);
  }
  return {first, last};
}

bool overlap(PyArrayObject* a, PyArrayObject* b) {
  const Extent x = extent(a), y = extent(b);
  return x.first < y.last && y.first < x.last;
}

}  // namespace

Shape::Shape(std::initializer_list<std::size_t> extents) : size_(extents.size()) {
  npy_intp* next = extents_;
  for (const std::size_t extent : extents) *next++ = static_cast<npy_intp>(extent);
}
Shape::Shape(PyArrayObject* array)
    : size_(static_cast<std::size_t>(PyArray_NDIM(array))) {
  std::copy_n(PyArray_DIMS(array), size_, extents_);
}

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (std::size_t d = 0; d < shape.size(); ++d)
    text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

Argument::Argument(const char* name, py::handle value) : name_(name) {
  if (PyArray_CheckExact(value.ptr())) {
    object_ = py::reinterpret_borrow<py::object>(value);
  } else {
    if (is_masked(value))
      throw py::type_error(
          std::string(name) +
          " is a masked array, whose mask would be lost: fill it first");
    if (packed_kernel(value))
      throw py::type_error(std::string(name) +
                           " must be an array: only the kernel of dense may be packed");
    PyObject* array = taking_gil(
        [&] { return PyArray_FromAny(value.ptr(), nullptr, 0, 0, 0, nullptr); });
    if (!array) throw py::error_already_set();
    object_ = py::reinterpret_steal<py::object>(array);
  }
  const int type = PyArray_TYPE(this->array());
  if (type == NPY_FLOAT || type == NPY_DOUBLE) return;
  if (PyTypeNum_ISNUMBER(type) || type == NPY_BOOL || type == NPY_HALF)
    if (PyArray_CanCastSafely(type, NPY_DOUBLE)) return;
  throw py::type_error(
      std::string(name) + " must hold real numbers (float32, float64, " +
      "float16, bool or integers), got dtype " + dtype_name(this->array()));
}

bool Argument::needs_double() const {
  const int type = PyArray_TYPE(array());
  if (type == NPY_FLOAT || type == NPY_DOUBLE) return type == NPY_DOUBLE;
  return !PyArray_CanCastSafely(type, NPY_FLOAT);
}

template <class T>
void Argument::convert(int flags) {
  flags |= NPY_ARRAY_ALIGNED | NPY_ARRAY_NOTSWAPPED;
  if (PyArray_TYPE(array()) == type_number<T> &&
      PyArray_CHKFLAGS(array(), flags & ~NPY_ARRAY_NOTSWAPPED) &&
      PyArray_ISNOTSWAPPED(array()))
    return;
  PyObject* converted = taking_gil([&] {
    return PyArray_FromArray(array(), PyArray_DescrFromType(type_number<T>),
                             flags | NPY_ARRAY_FORCECAST);
  });
  if (!converted) throw py::error_already_set();
  object_ = py::reinterpret_steal<py::object>(converted);
}

template <class T>
const T* Argument::contiguous() {
  convert<T>(NPY_ARRAY_C_CONTIGUOUS);
  return static_cast<const T*>(PyArray_DATA(array()));
}

template <class T>
Matrix<T> Argument::matrix() {
  convert<T>(0);
  constexpr auto item = static_cast<npy_intp>(sizeof(T));
  for (bool copied = false;; copied = true) {
    const auto rows = static_cast<std::size_t>(PyArray_DIM(array(), 0));
    const auto cols = static_cast<std::size_t>(PyArray_DIM(array(), 1));
    const npy_intp down = PyArray_STRIDE(array(), 0) / item;
    const npy_intp right = PyArray_STRIDE(array(), 1) / item;
    const auto* data = static_cast<const T*>(PyArray_DATA(array()));
    if (rows == 0 || cols == 0) return Matrix<T>::contiguous(data, rows, cols);
    // The stride over an extent of 1 (or 0) is never used, and NumPy leaves it
    // arbitrary.
    if ((right == 1 || cols <= 1) && (down >= static_cast<npy_intp>(cols) || rows <= 1))
      return {data, rows, cols, rows <= 1 ? cols : static_cast<std::size_t>(down), 1};
    if ((down == 1 || rows <= 1) && (right >= static_cast<npy_intp>(rows) || cols <= 1))
      return {data, rows, cols, 1, cols <= 1 ? rows : static_cast<std::size_t>(right)};
    if (copied) throw std::logic_error("a contiguous copy has no unit stride");
    convert<T>(NPY_ARRAY_C_CONTIGUOUS);
  }
}

void Argument::require_dimensions(int count, const char* meaning) const {
  if (PyArray_NDIM(array()) != count)
    throw py::value_error(std::string(name_) + " must have " + std::to_string(count) +
                          (count == 1 ? " dimension " : " dimensions ") + meaning +
                          ", got shape " + to_string(shape()));
}

void Argument::require_shape(const Shape& expected, const char* meaning) const {
  if (!expected.is_of(array()))
    throw py::value_error(std::string(name_) + " must have shape " +
                          to_string(expected) + ", " + meaning + ", got " +
                          to_string(shape()));
}

bool any_double(std::initializer_list<const Argument*> arguments) {
  for (const Argument* argument : arguments)
    if (argument && argument->needs_double()) return true;
  return false;
}

Output::Output(const char* name, py::handle out, bool is_double, const Shape& shape,
               std::initializer_list<const Argument*> inputs) {
  const int type = is_double ? NPY_DOUBLE : NPY_FLOAT;
  const auto make = [&] {
    PyObject* made =
        PyArray_SimpleNew(static_cast<int>(shape.size()), shape.data(), type);
    if (!made) throw py::error_already_set();
    memory_ = py::reinterpret_steal<py::object>(made);
  };
  if (out.is_none()) {
    make();
    return;
  }
  const auto label = [name] { return std::string(name); };
  if (!PyArray_Check(out.ptr()) || is_masked(out))
    throw py::type_error(label() + " must be a NumPy array or None, got " +
                         type_name(out));
  auto* array = reinterpret_cast<PyArrayObject*>(out.ptr());
  if (PyArray_TYPE(array) != type)
    throw py::type_error(label() + " must have dtype " +
                         (is_double ? "float64" : "float32") + ", got " +
                         dtype_name(array));
  if (!shape.is_of(array))
    throw py::value_error(label() + " must have shape " + to_string(shape) + ", got " +
                          to_string(Shape(array)));
  if (!PyArray_ISWRITEABLE(array)) throw py::value_error(label() + " is read-only");
  out_ = py::reinterpret_borrow<py::object>(out);
  bool direct = PyArray_ISCARRAY(array);
  for (const Argument* input : inputs)
    if (input && overlap(array, input->array())) direct = false;
  if (direct)
    memory_ = out_;
  else
    make();
}

py::object Output::result() {
  if (!out_ || out_.is(memory_)) return memory_;
  const int failed = taking_gil([&] {
    return PyArray_CopyInto(reinterpret_cast<PyArrayObject*>(out_.ptr()), target());
  });
  if (failed) throw py::error_already_set();
  return out_;
}

bool Output::overlaps(const Output& other) const {
  if (!out_ || !other.out_) return false;
  if (!overlap(reinterpret_cast<PyArrayObject*>(out_.ptr()),
               reinterpret_cast<PyArrayObject*>(other.out_.ptr())))
    return false;
  // Columns of one matrix lie between each other and share nothing.
  const auto shares = py::module_::import("numpy").attr("shares_memory");
  return shares(out_, other.out_).cast<bool>();
}

bool is_double_array(const char* name, py::handle value) {
  if (PyArray_Check(value.ptr())) {
    auto* array = reinterpret_cast<PyArrayObject*>(value.ptr());
    if (PyArray_TYPE(array) == NPY_FLOAT) return false;
    if (PyArray_TYPE(array) == NPY_DOUBLE) return true;
    throw py::type_error(std::string(name) +
                         " must have dtype float32 or float64, got " +
                         dtype_name(array));
  }
  throw py::type_error(std::string(name) + " must be a NumPy array, got " +
                       type_name(value));
}

template <class T>
T* in_place(const char* name, py::handle value, std::size_t size) {
  const std::string label(name);
  if (is_double_array(name, value) != (type_number<T> == NPY_DOUBLE))
    throw py::type_error(label + " must have the dtype of the first array");
  auto* array = reinterpret_cast<PyArrayObject*>(value.ptr());
  if (!PyArray_ISCARRAY(array))
    throw py::value_error(label +
                          " must be contiguous, aligned, in native byte order and "
                          "writeable");
  if (static_cast<std::size_t>(PyArray_SIZE(array)) != size)
    throw py::value_error(label + " must have " + std::to_string(size) +
                          " elements, got " + std::to_string(PyArray_SIZE(array)));
  return static_cast<T*>(PyArray_DATA(array));
}

template <class T>
double held(const char* name, double value) {
  if (std::isfinite(static_cast<T>(value)) == std::isfinite(value)) return value;
  throw py::value_error(std::string(name) + " must be finite in float32, got " +
                        std::string(py::repr(py::float_(value))));
}

template double held<float>(const char*, double);
template double held<double>(const char*, double);
template const float* Argument::contiguous<float>();
template const double* Argument::contiguous<double>();
template Matrix<float> Argument::matrix<float>();
template Matrix<double> Argument::matrix<double>();
template float* in_place<float>(const char*, py::handle, std::size_t);
template double* in_place<double>(const char*, py::handle, std::size_t);

}  // namespace lamina
