// Registers every activation as NumPy ufuncs behind a callable ActivationFunction.
#pragma once

#include "bindings/numpy.hpp"
#include "ops/ops.hpp"

namespace lamina {

// Adds one attribute per activation to the module, and their names as __all__.
void register_activations(pybind11::module_& module);

// What a layer's `activation` argument means: None, a name or an ActivationFunction.
// ValueError that lists the known names, or TypeError.
ActivationChoice activation_choice(pybind11::handle value);

// The ActivationFunction of that meaning.
pybind11::object activation_object(pybind11::handle value);

}  // namespace lamina
