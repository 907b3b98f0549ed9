// Functions on arrays of any kind: converted and checked by Argument and Output.
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "bindings/activation_function.hpp"
#include "bindings/arrays.hpp"
#include "bindings/call.hpp"
#include "bindings/compiled.hpp"
#include "bindings/packed.hpp"
#include "bindings/sparse.hpp"

namespace lamina {

namespace {

// Checked here, not in Python, where it would cost more than a small array's kernel.

std::string shown(py::handle value) { return py::str(py::repr(value)); }

// After a conversion of an argument: whether it failed by the value, if at all, and not
// by the type; what else an object's method raised is thrown.
bool fits_type() {
  if (!PyErr_Occurred()) return true;
  const bool fits = PyErr_ExceptionMatches(PyExc_OverflowError);
  if (!fits && !PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
  PyErr_Clear();
  return fits;
}

double fraction(const char* name, py::handle value) {
  const double number = PyFloat_AsDouble(value.ptr());
  if (number >= 0 && number <= 1) return number;
  const bool is_number = fits_type();
  const std::string message =
      std::string(name) + " must be a number in [0, 1], got " + shown(value);
  if (!is_number) throw py::type_error(message);
  throw py::value_error(message);
}

std::uint64_t unsigned64(const char* name, py::handle value) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (index) {
    const auto number = PyLong_AsUnsignedLongLong(index.ptr());
    if (number != static_cast<unsigned long long>(-1) || !PyErr_Occurred())
      return number;
  }
  const bool is_integer = fits_type();
  const std::string message =
      std::string(name) + " must be an integer in [0, 2**64), got " + shown(value);
  if (!is_integer) throw py::type_error(message);
  throw py::value_error(message);
}

// As `if value` in Python.
bool truth(py::handle value) {
  const int result = PyObject_IsTrue(value.ptr());
  if (result < 0) throw py::error_already_set();
  return result != 0;
}

std::uint64_t random_seed() {
  std::random_device random;
  return std::uint64_t{random()} << 32 | random();
}

// None draws a seed.
std::uint64_t new_seed(py::handle seed) {
  return seed.is_none() ? random_seed() : unsigned64("seed", seed);
}

// That of an earlier call, which cannot be drawn anew.
std::uint64_t seed_again(py::handle seed, py::handle rate) {
  if (!seed.is_none()) return unsigned64("seed", seed);
  if (truth(rate))
    throw py::value_error("seed must be the one that the forward call was given");
  return 0;
}

// `name` is what the caller's argument is called.
DropoutChoice dropout_of(const char* name, py::handle rate, std::uint64_t seed,
                         py::handle offset, DropoutMode mode = DropoutMode::inverted) {
  return dropout_choice(fraction(name, rate), seed, 0, unsigned64("offset", offset),
                        mode);
}

py::object py_matmul(py::handle a, py::handle b, py::handle out) {
  Argument left("a", a), right("b", b);
  left.require_dimensions(2, "(rows, depth)");
  right.require_dimensions(2, "(depth, columns)");
  const std::size_t rows = left.extent(0), depth = left.extent(1);
  const std::size_t cols = right.extent(1);
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
                    py::handle activation, py::handle out, py::handle rate,
                    py::handle seed, py::handle offset, py::handle return_saved) {
  const bool saves = truth(return_saved), draws = seed.is_none() && truth(rate);
  if (saves && draws)
    throw py::value_error("seed must be given with return_saved: backward needs it");
  const std::uint64_t key = seed.is_none() && !draws ? 0 : new_seed(seed);
  const ActivationChoice choice = activation_choice(activation);
  const DropoutChoice dropout = dropout_of("dropout", rate, key, offset);
  const bool drops = dropout.bits.threshold > 0;
  if (const PackedKernel* packed = packed_kernel(kernel)) {
    if (saves)
      throw py::value_error(
          "return_saved needs an array as kernel: a packed one is for inference");
    return dense_of_packed(x, *packed, bias, choice, drops ? &dropout : nullptr, out);
  }
  RowsArgument input("x", x);
  Argument weights("kernel", kernel);
  std::optional<Argument> shift;
  if (!bias.is_none()) shift.emplace("bias", bias);
  weights.require_dimensions(2, "(features, units)");
  const std::size_t rows = input.rows(), depth = input.features();
  const std::size_t cols = weights.extent(1);
  weights.require_shape({depth, cols}, "one row per feature of x");
  if (shift) shift->require_shape({cols}, "one value per unit of kernel");
  const bool is_double =
      any_double({input.numbers(), &weights, shift ? &*shift : nullptr});
  require_parameter(choice, is_double);
  return in_precision(is_double, [&](auto type) -> py::object {
    using T = decltype(type);
    const Matrix<T> in = input.is_sparse() ? Matrix<T>{} : input.matrix<T>();
    const Matrix<T> w =
        input.is_sparse() ? Matrix<T>::contiguous(weights.contiguous<T>(), depth, cols)
                          : weights.matrix<T>();
    const T* b = shift ? shift->contiguous<T>() : nullptr;
    Output y("out", out, is_double, {rows, cols},
             {input.numbers(), &weights, shift ? &*shift : nullptr});
    // y itself is what backward reads, unless the activation needs its input or dropout
    // overwrites y.
    const bool by_row = choice.kind != ActivationChoice::Kind::elementwise;
    const bool own_saved =
        saves && (drops || (!by_row && !saves_output(Activations::infos[choice.index],
                                                     choice.parameter)));
    std::optional<Output> saved;
    if (own_saved)
      saved.emplace("saved", py::none(), is_double, Shape{rows, cols},
                    std::initializer_list<const Argument*>{});
    const DropoutChoice* const drawn = drops ? &dropout : nullptr;
    T* const kept = saved ? saved->data<T>() : nullptr;
    run(rows * cols * depth, [&] {
      if (input.is_sparse())
        dense(input.sparse(), w.data, cols, b, choice, drawn, y.data<T>(), kept);
      else
        dense(in, w, b, choice, drawn, y.data<T>(), kept);
    });
    py::object result = y.result();
    if (!saves) return result;
    return py::make_tuple(result, saved ? saved->result() : result);
  });
}

py::object py_dense_backward(py::handle dy, py::handle x, py::handle kernel,
                             py::handle saved, py::handle activation, py::handle rate,
                             py::handle seed, py::handle offset,
                             py::handle input_gradient, py::handle out) {
  const std::uint64_t key = seed_again(seed, rate);
  const ActivationChoice choice = activation_choice(activation);
  RowsArgument input("x", x);
  Argument gradient("dy", dy), weights("kernel", kernel), kept("saved", saved);
  weights.require_dimensions(2, "(features, units)");
  const std::size_t rows = input.rows(), depth = input.features();
  const std::size_t cols = weights.extent(1);
  weights.require_shape({depth, cols}, "one row per feature of x");
  gradient.require_shape({rows, cols}, "that of the output");
  kept.require_shape({rows, cols}, "that of the output");
  const DropoutChoice dropout = dropout_of("dropout", rate, key, offset);
  py::object outs[3] = {py::none(), py::none(), py::none()};
  if (!out.is_none()) {
    if (!py::isinstance<py::tuple>(out) || py::len(out) != 3)
      throw py::type_error("out must be None or a tuple (dx, dkernel, dbias)");
    for (std::size_t i = 0; i < 3; ++i) outs[i] = out[py::int_(i)];
  }
  const auto all = {static_cast<const Argument*>(&gradient), input.numbers(),
                    static_cast<const Argument*>(&weights),
                    static_cast<const Argument*>(&kept)};
  const bool is_double = any_double(all);
  require_parameter(choice, is_double);
  return in_precision(is_double, [&](auto type) -> py::object {
    using T = decltype(type);
    const T* g = gradient.contiguous<T>();
    const T* s = kept.contiguous<T>();
    const Matrix<T> in = input.is_sparse() ? Matrix<T>{} : input.matrix<T>();
    const Matrix<T> w = weights.matrix<T>();
    std::optional<Output> dx;
    if (truth(input_gradient))
      dx.emplace("out[0]", outs[0], is_double, Shape{rows, depth}, all);
    Output dkernel("out[1]", outs[1], is_double, {depth, cols}, all);
    Output dbias("out[2]", outs[2], is_double, {cols}, all);
    if (dkernel.overlaps(dbias) ||
        (dx && (dx->overlaps(dkernel) || dx->overlaps(dbias))))
      throw py::value_error("the arrays of out must not overlap each other");
    const DropoutChoice* const drawn = dropout.bits.threshold ? &dropout : nullptr;
    T* const down = dx ? dx->data<T>() : nullptr;
    run(rows * cols * depth, [&] {
      if (input.is_sparse())
        dense_backward(g, input.sparse(), w, s, choice, drawn, down, dkernel.data<T>(),
                       dbias.data<T>());
      else
        dense_backward(g, in, w, s, choice, drawn, down, dkernel.data<T>(),
                       dbias.data<T>());
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

py::object apply_dropout(py::handle x, py::handle out, const DropoutChoice& dropout,
                         bool gradient) {
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

py::object py_dropout(py::handle x, py::handle rate, py::handle seed, py::handle offset,
                      py::handle mode, py::handle out) {
  return apply_dropout(
      x, out, dropout_of("rate", rate, new_seed(seed), offset, dropout_mode(mode)),
      false);
}

// A layer's: each of its steps is a stream of the seed.
py::object py_dropout_stream(py::handle x, double rate, std::uint64_t seed,
                             std::uint64_t stream, std::uint64_t offset,
                             py::handle mode, bool gradient) {
  return apply_dropout(x, py::none(),
                       dropout_choice(rate, seed, stream, offset, dropout_mode(mode)),
                       gradient);
}

py::object py_dropout_backward(py::handle dy, py::handle rate, py::handle seed,
                               py::handle offset, py::handle mask, py::handle mode,
                               py::handle out) {
  if (mask.is_none())
    return apply_dropout(
        dy, out,
        dropout_of("rate", rate, seed_again(seed, rate), offset, dropout_mode(mode)),
        true);
  if (!seed.is_none())
    throw py::value_error("give seed or mask, not both: each says what was dropped");
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

// A layer's, likewise.
py::object py_gaussian_noise(py::handle x, double stddev, std::uint64_t seed,
                             std::uint64_t stream, std::uint64_t offset) {
  Argument input("x", x);
  const Shape shape = input.shape();
  const bool is_double = input.needs_double();
  return in_precision(is_double, [&](auto type) {
    using T = decltype(type);
    held<T>("stddev", stddev);
    const T* in = input.contiguous<T>();
    Output y("out", py::none(), is_double, shape, {&input});
    const std::size_t size = product_of(shape);
    run(size, [&] {
      gaussian_noise(kernels<T>(), in, y.data<T>(), size, {seed, stream, offset},
                     stddev);
    });
    return y.result();
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
  const DropoutChoice dropout =
      dropout_of("rate", rate, unsigned64("seed", seed), offset);
  py::object mask = new_array(NPY_UINT8, size / 8 + (size % 8 != 0));
  auto* bits = static_cast<std::uint8_t*>(data_of(mask));
  run(size, [&] { dropout_mask(bits, size, dropout.bits); });
  return mask;
}

py::object py_random_words(std::size_t size, std::uint64_t seed, std::uint64_t stream) {
  py::object words = new_array(NPY_UINT32, size);
  auto* data = static_cast<std::uint32_t*>(data_of(words));
  run(size, [&] { random_words(data, size, seed, stream); });
  return words;
}

py::object py_normal_quantile(py::handle p) {
  Argument probabilities("p", p);
  probabilities.require_dimensions(1, "(n,)");
  const std::size_t n = probabilities.extent(0);
  const auto* from = probabilities.contiguous<double>();
  py::object found = new_array(NPY_FLOAT64, n);
  auto* to = static_cast<double*>(data_of(found));
  run(8 * n, [&] { normal_quantile(from, to, n); });
  return found;
}

// Of random keys, whose upper halves come before all lower ones.
py::object py_sorted_order(py::handle words) {
  Argument keys("words", words);
  auto* array = keys.array();
  if (PyArray_TYPE(array) != NPY_UINT32 || PyArray_NDIM(array) != 1 ||
      !PyArray_ISCARRAY_RO(array) || PyArray_SIZE(array) % 2 != 0)
    throw py::type_error("words must be a contiguous uint32 array (2 n,)");
  const auto n = static_cast<std::size_t>(PyArray_SIZE(array)) / 2;
  const auto* high = static_cast<const std::uint32_t*>(PyArray_DATA(array));
  py::object order = new_array(NPY_INT64, n);
  auto* to = static_cast<std::int64_t*>(data_of(order));
  run_wholly(20 * n, [&] { sorted_order(high, high + n, n, to); });
  return order;
}

// What lamina.functional declares.
py::object compiled(py::handle declaration) {
  static const std::map<std::string_view, Definition> definitions = {
      {"matmul", define<py_matmul>()},
      {"dense", define<py_dense>()},
      {"dense_backward", define<py_dense_backward>()},
      {"dropout", define<py_dropout>()},
      {"dropout_backward", define<py_dropout_backward>()},
      {"pack", define<pack>()}};
  const auto name = declaration.attr("__name__").cast<std::string>();
  return make_compiled(declaration, definitions.at(name));
}

}  // namespace

DropoutMode dropout_mode(py::handle mode) {
  constexpr const char* names[] = {"inverted", "classic", "alpha"};
  if (PyUnicode_Check(mode.ptr()))
    for (int i = 0; i < 3; ++i)
      if (PyUnicode_CompareWithASCIIString(mode.ptr(), names[i]) == 0)
        return static_cast<DropoutMode>(i);
  throw py::value_error("mode must be 'inverted', 'classic' or 'alpha', got " +
                        shown(mode));
}

void register_functions(py::module_& m) {
  m.def("compiled", compiled);
  m.def("dropout", py_dropout_stream);
  m.def("gaussian_noise", py_gaussian_noise, py::arg("x"), py::arg("stddev"),
        py::arg("seed"), py::arg("stream"), py::arg("offset") = 0);
  m.def("dropout_mask", py_dropout_mask);
  m.def("random_words", py_random_words);
  m.def("normal_quantile", py_normal_quantile);
  m.def("sorted_order", py_sorted_order);
  m.def("random_seed", random_seed);
}

}  // namespace lamina
