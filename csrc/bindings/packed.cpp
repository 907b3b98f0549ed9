#include "bindings/packed.hpp"

#include <optional>

#include "bindings/activation_function.hpp"
#include "bindings/arrays.hpp"
#include "bindings/call.hpp"

namespace lamina {

namespace {

bool is(py::handle value, const char* text) {
  return PyUnicode_Check(value.ptr()) &&
         PyUnicode_CompareWithASCIIString(value.ptr(), text) == 0;
}

void require_single(const Argument& argument) {
  if (argument.needs_double())
    throw py::type_error(std::string(argument.name()) +
                         " must be float32 with a packed kernel, got float64 or wider "
                         "integers");
}

const char* precision_of(const PackedKernel& kernel) {
  return kernel.is_bfloat16() ? "bf16" : "float32";
}

py::object unpacked(const PackedKernel& kernel) {
  Output array("kernel", py::none(), false, {kernel.rows(), kernel.cols()}, {});
  kernel.unpack(array.data<float>());
  return array.result();
}

std::string repr(const PackedKernel& kernel) {
  return "<lamina.PackedKernel " + to_string({kernel.rows(), kernel.cols()}) + " in " +
         precision_of(kernel) + ">";
}

}  // namespace

const PackedKernel* packed_kernel(py::handle value) {
  if (PyArray_CheckExact(value.ptr())) return nullptr;
  py::detail::make_caster<PackedKernel> caster;  // one look-up, where a cast takes two
  if (value.is_none() || !caster.load(value, false)) return nullptr;
  return static_cast<const PackedKernel*>(caster);
}

const Bfloat16Kernels* packing(py::handle precision) {
  const Bfloat16Support support = bfloat16();
  const bool wanted = is(precision, "bf16"), single = is(precision, "float32");
  if (!wanted && !single && !is(precision, "auto"))
    throw py::value_error("precision must be 'bf16', 'float32' or 'auto', got " +
                          std::string(py::str(py::repr(precision))));
  if (wanted && !support.kernels)
    throw py::value_error(
        std::string("precision 'bf16' needs the instructions avx512_bf16: ") +
        support.missing + "; 'auto' computes in float32 here");
  return single ? nullptr : support.kernels;
}

py::object pack(py::handle kernel, py::handle precision) {
  const Bfloat16Kernels* const kernels = packing(precision);
  Argument weights("kernel", kernel);
  weights.require_dimensions(2, "(features, units)");
  require_single(weights);
  const float* data = weights.contiguous<float>();
  return py::cast(std::make_unique<PackedKernel>(data, weights.extent(0),
                                                 weights.extent(1), kernels));
}

py::object dense_of_packed(py::handle x, const PackedKernel& kernel, py::handle bias,
                           const ActivationChoice& choice, const DropoutChoice* dropout,
                           py::handle out) {
  Argument input("x", x);
  std::optional<Argument> shift;
  if (!bias.is_none()) shift.emplace("bias", bias);
  input.require_dimensions(2, "(batch, features)");
  const std::size_t rows = input.extent(0), depth = kernel.rows(), cols = kernel.cols();
  input.require_shape({rows, depth}, "one column per row of kernel");
  require_single(input);
  if (shift) {
    shift->require_shape({cols}, "one value per unit of kernel");
    require_single(*shift);
  }
  require_parameter(choice, false);
  const float* in = input.contiguous<float>();
  const float* b = shift ? shift->contiguous<float>() : nullptr;
  Output y("out", out, false, {rows, cols}, {&input, shift ? &*shift : nullptr});
  run(rows * cols * depth,
      [&] { dense(in, rows, kernel, b, choice, dropout, y.data<float>()); });
  return y.result();
}

void register_packed(py::module_& m) {
  py::class_<PackedKernel> type(
      m, "PackedKernel",
      R"(The kernel of a dense layer as `pack` copied it: immutable.

Attributes
----------
shape : tuple of int
    (features, units)
precision : str
    "bf16" or "float32", in which `dense` computes with it.
nbytes : int
    Memory that it holds.

It can be pickled; where there is no bf16, unpickling one of "bf16" is a ValueError.)");
  // Nothing is made by calling it.
  type.attr("__signature__") = py::module_::import("inspect").attr("Signature")();
  type.def_property_readonly(
          "shape",
          [](const PackedKernel& k) { return py::make_tuple(k.rows(), k.cols()); })
      .def_property_readonly("precision", precision_of)
      .def_property_readonly("nbytes", &PackedKernel::bytes)
      .def("__repr__", repr)
      .def("__reduce__", [](const PackedKernel& k) {
        return py::make_tuple(py::module_::import("lamina").attr("pack"),
                              py::make_tuple(unpacked(k), precision_of(k)));
      });
}

}  // namespace lamina
