// ActivationFunction: what users call, and how layers name an activation.
#pragma once

#include "bindings/numpy.hpp"
#include "ops/ops.hpp"

namespace lamina {

// Adds one attribute per activation to the module, and their names as __all__.
void register_activations(pybind11::module_& module);

// The ActivationFunction that an `activation` argument means: None, a name or one of
// its kind. ValueError that lists the known names, or TypeError.
pybind11::object activation_object(pybind11::handle value);

// The same for the kernels.
ActivationChoice activation_choice(pybind11::handle value);

// ValueError unless the type in which it is computed holds the activation's parameter.
void require_parameter(const ActivationChoice&, bool is_double);

}  // namespace lamina
