// The module as a table of contents. Arrays are checked by Argument and Output; the GIL
// is released around work that is long enough to be worth it.
#define LAMINA_IMPORTS_NUMPY
#include <optional>

#include "bindings/arrays.hpp"
#include "bindings/c_api.hpp"
#include "bindings/ufuncs.hpp"

namespace lamina {

namespace {

// Releasing and taking the GIL costs 30 to 40 ns: 1 % of about 4 us, the time of this
// many multiply-adds or element operations.
constexpr std::size_t work_worth_releasing = 200000;

template <class Work>
void run(std::size_t amount, Work work) {
  std::optional<py::gil_scoped_release> released;
  if (amount > work_worth_releasing) released.emplace();
  work();
}

// Calls f(float{}) or f(double{}): the type in which a function computes.
template <class Function>
auto in_precision(bool is_double, Function f) {
  return is_double ? f(double{}) : f(float{});
}

DropoutChoice dropout_of(double rate, std::uint64_t seed, std::uint64_t stream,
                         std::uint64_t offset, const std::string& mode) {
  if (!(rate >= 0 && rate <= 1))
    throw py::value_error("rate must be the fraction to drop, from 0 to 1, got " +
                          std::string(py::str(py::float_(rate))));
  if (mode != "inverted" && mode != "classic")
    throw py::value_error("mode must be 'inverted' or 'classic', got '" + mode + "'");
  return dropout_choice(rate, seed, stream, offset, mode == "inverted");
}

// ---- Dense
// ------------------------------------------------------------------------------

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
                    py::handle activation, double rate, std::uint64_t seed,
                    std::uint64_t offset, py::handle out, bool return_saved) {
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
  const DropoutChoice dropout = dropout_of(rate, seed, 0, offset, "inverted");
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
                             py::handle saved, py::handle activation, double rate,
                             std::uint64_t seed, std::uint64_t offset,
                             bool input_gradient, py::handle out) {
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
  const DropoutChoice dropout = dropout_of(rate, seed, 0, offset, "inverted");
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
    run(rows * cols * depth, [&] {
      dense_backward(g, in, w, s, choice, dropout.bits.threshold ? &dropout : nullptr,
                     dx ? dx->data<T>() : nullptr, dkernel.data<T>(), dbias.data<T>());
    });
    return py::make_tuple(dx ? dx->result() : py::none(), dkernel.result(),
                          dbias.result());
  });
}

// ---- Dropout
// ----------------------------------------------------------------------------

std::size_t product_of(const Shape& shape) {
  std::size_t size = 1;
  for (const std::size_t extent : shape) size *= extent;
  return size;
}

py::object py_dropout(py::handle x, py::handle out, double rate, std::uint64_t seed,
                      std::uint64_t stream, std::uint64_t offset,
                      const std::string& mode) {
  const DropoutChoice dropout = dropout_of(rate, seed, stream, offset, mode);
  Argument input("x", x);
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
      kernels<T>().dropout(in, y.data<T>(), size, dropout.bits,
                           static_cast<T>(dropout.scale));
    });
    return y.result();
  });
}

py::object py_dropout_masked(py::handle dy, py::handle mask, py::handle out,
                             double rate, const std::string& mode) {
  const DropoutChoice dropout = dropout_of(rate, 0, 0, 0, mode);
  Argument gradient("dy", dy);
  const Shape shape = gradient.shape();
  const std::size_t size = product_of(shape), bytes = (size + 7) / 8;
  auto* bits = reinterpret_cast<PyArrayObject*>(mask.ptr());
  if (!PyArray_Check(mask.ptr()) || PyArray_TYPE(bits) != NPY_UINT8 ||
      !PyArray_ISCARRAY_RO(bits) ||
      static_cast<std::size_t>(PyArray_SIZE(bits)) != bytes)
    throw py::value_error("mask must be the contiguous uint8 array of " +
                          std::to_string(bytes) +
                          " bytes that dropout_mask gives for an array of dy's size");
  const bool is_double = gradient.needs_double();
  return in_precision(is_double, [&](auto type) {
    using T = decltype(type);
    const T* g = gradient.contiguous<T>();
    const bool same = out.ptr() == reinterpret_cast<PyObject*>(gradient.array());
    Output dx("out", out, is_double, shape, {same ? nullptr : &gradient});
    run(size, [&] {
      kernels<T>().dropout_masked(g,
                                  static_cast<const std::uint8_t*>(PyArray_DATA(bits)),
                                  dx.data<T>(), size, static_cast<T>(dropout.scale));
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

py::object py_dropout_mask(std::size_t size, double rate, std::uint64_t seed,
                           std::uint64_t offset) {
  const DropoutChoice dropout = dropout_of(rate, seed, 0, offset, "inverted");
  py::object mask = new_array(NPY_UINT8, (size + 7) / 8);
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

// ---- Losses and optimizers: exact arrays, written in place
// ------------------------------

struct LossArrays {
  Argument outputs, targets;
  std::size_t rows, cols;
  bool is_double, labels;

  LossArrays(const char* name, py::handle o, py::handle t, bool allow_labels)
      : outputs(name, o), targets("targets", t) {
    outputs.require_dimensions(2, "(batch, units)");
    rows = outputs.shape()[0];
    cols = outputs.shape()[1];
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

void py_softmax_cross_entropy(py::handle logits, py::handle targets, double scale,
                              py::handle losses, py::handle gradient) {
  LossArrays a("logits", logits, targets, true);
  py::object labels;
  if (a.labels) {
    PyObject* converted = PyArray_FROM_OTF(
        reinterpret_cast<PyObject*>(a.targets.array()), NPY_INT64, NPY_ARRAY_CARRAY_RO);
    if (!converted) throw py::error_already_set();
    labels = py::reinterpret_steal<py::object>(converted);
    const auto* label = static_cast<const std::int64_t*>(data_of(labels));
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
    const auto* label =
        a.labels ? static_cast<const std::int64_t*>(data_of(labels)) : nullptr;
    run(a.rows * a.cols, [&] {
      kernels<T>().softmax_cross_entropy(z, t, label, static_cast<T>(scale), l, g,
                                         a.rows, a.cols);
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
    run(a.rows * a.cols,
        [&] { kernel(z, t, static_cast<T>(scale), l, g, a.rows, a.cols); });
  });
}

std::size_t size_of(py::handle array) {
  return static_cast<std::size_t>(
      PyArray_SIZE(reinterpret_cast<PyArrayObject*>(array.ptr())));
}

void py_sgd(py::handle w, py::handle dw, py::handle v, double rate, double momentum,
            bool nesterov) {
  in_precision(is_double_array("w", w), [&](auto type) {
    using T = decltype(type);
    const std::size_t n = size_of(w);
    T* parameters = in_place<T>("w", w, n);
    const T* gradients = in_place<T>("dw", dw, n);
    T* velocity = optional_in_place<T>("v", v, n);
    run(n, [&] {
      kernels<T>().sgd(parameters, gradients, velocity, n, static_cast<T>(rate),
                       static_cast<T>(momentum), nesterov);
    });
  });
}

void py_adam(py::handle w, py::handle dw, py::handle m, py::handle v, double rate,
             double beta1, double beta2, double epsilon, double correction1,
             double correction2) {
  in_precision(is_double_array("w", w), [&](auto type) {
    using T = decltype(type);
    const std::size_t n = size_of(w);
    T* parameters = in_place<T>("w", w, n);
    const T* gradients = in_place<T>("dw", dw, n);
    T* mean = in_place<T>("m", m, n);
    T* square = in_place<T>("v", v, n);
    run(n, [&] {
      kernels<T>().adam(parameters, gradients, mean, square, n, static_cast<T>(rate),
                        static_cast<T>(beta1), static_cast<T>(beta2),
                        static_cast<T>(epsilon), static_cast<T>(correction1),
                        static_cast<T>(correction2));
    });
  });
}

// ---- Targets
// ----------------------------------------------------------------------------

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

}  // namespace

}  // namespace lamina

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  using namespace lamina;
  namespace py = pybind11;
  if (_import_array() < 0) throw py::error_already_set();
  choose_target_from_environment();
  m.doc() = "The compiled part of lamina: kernels, arrays in and out.";
  m.attr("__version__") = LAMINA_VERSION;
  m.attr("compiler") = LAMINA_COMPILER;
  m.attr("_C_API") = py::capsule(&c_api, "lamina._core._C_API");

  register_activations(m);
  m.def("get_activation", activation_object);

  m.def("matmul", py_matmul);
  m.def("dense", py_dense);
  m.def("dense_backward", py_dense_backward);
  m.def("dropout", py_dropout);
  m.def("dropout_masked", py_dropout_masked);
  m.def("dropout_mask", py_dropout_mask);
  m.def("random_words", py_random_words);

  const auto none = py::arg("losses") = py::none();
  m.def("softmax_cross_entropy", py_softmax_cross_entropy, py::arg("logits"),
        py::arg("targets"), py::arg("scale"), none, py::arg("gradient") = py::none());
  m.def("sigmoid_cross_entropy", py_row_loss<false>, py::arg("logits"),
        py::arg("targets"), py::arg("scale"), none, py::arg("gradient") = py::none());
  m.def("squared_error", py_row_loss<true>, py::arg("outputs"), py::arg("targets"),
        py::arg("scale"), none, py::arg("gradient") = py::none());
  m.def("sgd", py_sgd);
  m.def("adam", py_adam);

  m.def("targets", target_names, py::arg("available_only") = false);
  m.def("get_target", [] { return active().name; });
  m.def("set_target", set_target);
}
