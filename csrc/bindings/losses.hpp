// How Python names a loss.
#pragma once

#include "bindings/numpy.hpp"
#include "ops/losses.hpp"

namespace lamina {

// Of `Loss.core`, the tuple (name of a LossKind, label_smoothing, parameter), to which
// a loss per weight adds its factor. TypeError, ValueError: it is something else.
LossChoice loss_choice(pybind11::handle core);

// That factor; 0 where the loss is the mean over rows.
double per_weight(pybind11::handle core);

// ValueError unless T holds its parameter.
template <class T>
void require_option(const LossChoice&);

void register_losses(pybind11::module_& module);

}  // namespace lamina
