// Functions on arrays of any kind: converted and checked by Argument and Output.
#include <optional>
#include <string>

#include "bindings/activation_function.hpp"
#include "bindings/arrays.hpp"
#include "bindings/call.hpp"

namespace lamina {

namespace {

// Checked here, not in Python, where it would cost more than a small array's kernel.

std::string shown(py::handle value) { return py::str(py::repr(value)); }

double fraction(const char* name, py::handle value) {
  const double number = PyFloat_AsDouble(value.ptr());
  const std::string message =
      number >= 0 && number <= 1
          ? ""
          : std::string(name) + " must be a number in [0, 1], got " + shown(value);
  if (number == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(message);
  }
  if (!message.empty()) throw py::value_error(message);
  return number;
}

std::uint64_t unsigned64(const char* name, py::handle value) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (index) {
    const auto number = PyLong_AsUnsignedLongLong(index.ptr());
    if (number != static_cast<unsigned long long>(-1) || !PyErr_Occurred())
      return number;
  }
  PyErr_Clear();
  const std::string message =
      std::string(name) + " must be an integer in [0, 2**64), got " + shown(value);
  if (!index) throw py::type_error(message);
  throw py::value_error(message);
}

DropoutMode dropout_mode(py::handle mode) {
  constexpr const char* names[] = {"inverted", "classic", "alpha"};
  if (PyUnicode_Check(mode.ptr()))
    for (int i = 0; i < 3; ++i)
      if (PyUnicode_CompareWithASCIIString(mode.ptr(), names[i]) == 0)
        return static_cast<DropoutMode>(i);
  throw py::value_error("mode must be 'inverted', 'classic' or 'alpha', got " +
                        shown(mode));
}

// `name` is what the caller's argument is called.
DropoutChoice dropout_of(const char* name, py::handle rate, py::handle seed,
                         py::handle offset, std::uint64_t stream = 0,
                         DropoutMode mode = DropoutMode::inverted) {
  return dropout_choice(fraction(name, rate), unsigned64("seed", seed), stream,
                        unsigned64("offset", offset), mode);
}

py::object py_matmul(py::handle a, py::handle b, py::handle out) {
  Argument left("a", a), right("b", b);
  left.require_dimensions(2, "(rows, depth)");
  right.require_dimensions(2, "(depth, columns)");
  const std::size_t rows = left.shape()[0], depth = left.shape()[1];
  const std::size_t cols = right.shape()[1];
  right.require_shape({depth, cols}, "as many rows as a has columns");
  const bool is_double = any_double({&left, &right});
  return in_precision(is_double, [&](auto type) {
    using T = decltype(type);
    const Matrix<T> x = left.matrix<T>(), y = right.matrix<T>();
    Output result("out", out, is_double, {rows, cols}, {&left, &right});
    run(rows * cols * depth, [&] { matmul(x, y, result.data<T>()); });
    return result.result();
  });
}

py::object py_dense(py::handle x, py::handle kernel, py::handle bias,
                    py::handle activation, py::handle rate, py::handle seed,
                    py::handle offset, py::handle out, bool return_saved) {
  const ActivationChoice choice = activation_choice(activation);
  Argument input("x", x), weights("kernel", kernel);
  std::optional<Argument> shift;
  if (!bias.is_none()) shift.emplace("bias", bias);
  input.require_dimensions(2, "(batch, features)");
  weights.require_dimensions(2, "(features, units)");
  const std::size_t rows = input.shape()[0], depth = input.shape()[1];
  const std::size_t cols = weights.shape()[1];
  weights.require_shape({depth, cols}, "one row per feature of x");
  if (shift) shift->require_shape({cols}, "one value per unit of kernel");
  const DropoutChoice dropout = dropout_of("dropout", rate, seed, offset);
  const bool drops = dropout.bits.threshold > 0;
  const bool is_double = any_double({&input, &weights, shift ? &*shift : nullptr});
  return in_precision(is_double, [&](auto type) -> py::object {
    using T = decltype(type);
    const Matrix<T> in = input.matrix<T>(), w = weights.matrix<T>();
    const T* b = shift ? shift->contiguous<T>() : nullptr;
    Output y("out", out, is_double, {rows, cols},
             {&input, &weights, shift ? &*shift : nullptr});
    // y itself is what backward reads, unless the activation needs its input or dropout
    // overwrites y.
    const bool by_row = choice.kind != ActivationChoice::Kind::elementwise;
    const bool own_saved =
        return_saved &&
        (drops || (!by_row &&
                   !saves_output(Activations::infos[choice.index], choice.parameter)));
    std::optional<Output> saved;
    if (own_saved)
      saved.emplace("saved", py::none(), is_double, Shape{rows, cols},
                    std::initializer_list<const Argument*>{});
    run(rows * cols * depth, [&] {
      dense(in, w, b, choice, drops ? &dropout : nullptr, y.data<T>(),
            saved ? saved->data<T>() : nullptr);
    });
    py::object result = y.result();
    if (!return_saved) return result;
    return py::make_tuple(result, saved ? saved->result() : result);
  });
}

py::object py_dense_backward(py::handle dy, py::handle x, py::handle kernel,
                             py::handle saved, py::handle activation, py::handle rate,
                             py::handle seed, py::handle offset, bool input_gradient,
                             py::handle out) {
  const ActivationChoice choice = activation_choice(activation);
  Argument gradient("dy", dy), input("x", x), weights("kernel", kernel),
      kept("saved", saved);
  input.require_dimensions(2, "(batch, features)");
  weights.require_dimensions(2, "(features, units)");
  const std::size_t rows = input.shape()[0], depth = input.shape()[1];
  const std::size_t cols = weights.shape()[1];
  weights.require_shape({depth, cols}, "one row per feature of x");
  gradient.require_shape({rows, cols}, "that of the output");
  kept.require_shape({rows, cols}, "that of the output");
  const DropoutChoice dropout = dropout_of("dropout", rate, seed, offset);
  py::object outs[3] = {py::none(), py::none(), py::none()};
  if (!out.is_none()) {
    if (!py::isinstance<py::tuple>(out) || py::len(out) != 3)
      throw py::type_error("out must be None or a tuple (dx, dkernel, dbias)");
    for (std::size_t i = 0; i < 3; ++i) outs[i] = out[py::int_(i)];
  }
  const auto all = {
      static_cast<const Argument*>(&gradient), static_cast<const Argument*>(&input),
      static_cast<const Argument*>(&weights), static_cast<const Argument*>(&kept)};
  const bool is_double = any_double(all);
  return in_precision(is_double, [&](auto type) -> py::object {
    using T = decltype(type);
    const T* g = gradient.contiguous<T>();
    const T* s = kept.contiguous<T>();
    const Matrix<T> in = input.matrix<T>(), w = weights.matrix<T>();
    std::optional<Output> dx;
    if (input_gradient)
      dx.emplace("out[0]", outs[0], is_double, Shape{rows, depth}, all);
    Output dkernel("out[1]", outs[1], is_double, {depth, cols}, all);
    Output dbias("out[2]", outs[2], is_double, {cols}, all);
    if (dkernel.overlaps(dbias) ||
        (dx && (dx->overlaps(dkernel) || dx->overlaps(dbias))))
      throw py::value_error("the arrays of out must not overlap each other");
    run(rows * cols * depth, [&] {
      dense_backward(g, in, w, s, choice, dropout.bits.threshold ? &dropout : nullptr,
                     dx ? dx->data<T>() : nullptr, dkernel.data<T>(), dbias.data<T>());
    });
    return py::make_tuple(dx ? dx->result() : py::none(), dkernel.result(),
                          dbias.result());
  });
}

// ---- Dropout
std::size_t product_of(const Shape& shape) {
  std::size_t size = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) size *= shape[i];
  return size;
}

py::object py_dropout(py::handle x, py::handle out, py::handle rate, py::handle seed,
                      std::uint64_t stream, py::handle offset, py::handle mode,
                      bool gradient) {
  const DropoutChoice dropout =
      dropout_of("rate", rate, seed, offset, stream, dropout_mode(mode));
  const DropoutValues values = gradient ? dropout.values.gradient() : dropout.values;
  Argument input(gradient ? "dy" : "x", x);
  const Shape shape = input.shape();
  const bool is_double = input.needs_double();
  return in_precision(is_double, [&](auto type) {
    using T = decltype(type);
    const T* in = input.contiguous<T>();
    // In place is allowed: out may be x itself.
    const bool same = out.ptr() == reinterpret_cast<PyObject*>(input.array());
    Output y("out", out, is_double, shape, {same ? nullptr : &input});
    const std::size_t size = product_of(shape);
    run(size, [&] {
      lamina::dropout(kernels<T>(), in, y.data<T>(), size, dropout.bits, values);
    });
    return y.result();
  });
}

py::object py_dropout_masked(py::handle dy, py::handle mask, py::handle out,
                             py::handle rate, py::handle mode) {
  const DropoutChoice dropout =
      dropout_choice(fraction("rate", rate), 0, 0, 0, dropout_mode(mode));
  Argument gradient("dy", dy), kept("mask", mask);
  const Shape shape = gradient.shape();
  const std::size_t size = product_of(shape), bytes = size / 8 + (size % 8 != 0);
  PyArrayObject* bits = kept.array();
  if (PyArray_TYPE(bits) != NPY_UINT8 || !PyArray_ISCARRAY_RO(bits) ||
      static_cast<std::size_t>(PyArray_SIZE(bits)) != bytes)
    throw py::value_error("mask must be the contiguous uint8 array of " +
                          std::to_string(bytes) +
                          " bytes that dropout_mask gives for an array of dy's size");
  const bool is_double = gradient.needs_double();
  return in_precision(is_double, [&](auto type) {
    using T = decltype(type);
    const T* g = gradient.contiguous<T>();
    const bool same = out.ptr() == reinterpret_cast<PyObject*>(gradient.array());
    Output dx("out", out, is_double, shape, {same ? nullptr : &gradient, &kept});
    run(size, [&] {
      dropout_masked(g, static_cast<const std::uint8_t*>(PyArray_DATA(bits)),
                     dx.data<T>(), size, static_cast<T>(dropout.values.scale));
    });
    return dx.result();
  });
}

py::object new_array(int type, std::size_t size) {
  auto length = static_cast<npy_intp>(size);
  PyObject* made = PyArray_SimpleNew(1, &length, type);
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

void* data_of(const py::object& array) {
  return PyArray_DATA(reinterpret_cast<PyArrayObject*>(array.ptr()));
}

py::object py_dropout_mask(std::size_t size, py::handle rate, py::handle seed,
                           py::handle offset) {
  const DropoutChoice dropout = dropout_of("rate", rate, seed, offset);
  py::object mask = new_array(NPY_UINT8, size / 8 + (size % 8 != 0));
  auto* bits = static_cast<std::uint8_t*>(data_of(mask));
  run(size, [&] { active().dropout_mask(bits, size, dropout.bits); });
  return mask;
}

py::object py_random_words(std::size_t size, std::uint64_t seed, std::uint64_t stream) {
  py::object words = new_array(NPY_UINT32, size);
  auto* data = static_cast<std::uint32_t*>(data_of(words));
  run(size, [&] { active().random_words(data, size, seed, stream); });
  return words;
}

}  // namespace

void register_functions(py::module_& m) {
  m.def("matmul", py_matmul);
  m.def("dense", py_dense);
  m.def("dense_backward", py_dense_backward);
  m.def("dropout", py_dropout);
  m.def("dropout_masked", py_dropout_masked);
  m.def("dropout_mask", py_dropout_mask);
  m.def("random_words", py_random_words);
}

}  // namespace lamina
