// PackedKernel as Python has it, and the dense layer on one.
#pragma once

#include "bindings/numpy.hpp"
#include "ops/packed.hpp"

namespace lamina {

// Null if `value` is something else.
const PackedKernel* packed_kernel(pybind11::handle value);

// What a `precision` argument asks for: null is float32. ValueError: it is unknown, or
// cannot be had here.
const Bfloat16Kernels* packing(pybind11::handle precision);

// lamina.pack
pybind11::object pack(pybind11::handle kernel, pybind11::handle precision);

// lamina.dense
pybind11::object dense_of_packed(pybind11::handle x, const PackedKernel& kernel,
                                 pybind11::handle bias, const ActivationChoice&,
                                 const DropoutChoice*, pybind11::handle out);

void register_packed(pybind11::module_& module);

}  // namespace lamina
