// Optimizers as Python describes them.
#pragma once

#include "bindings/numpy.hpp"
#include "ops/optimizers.hpp"

namespace lamina {

// From `Optimizer.core`: (kind, first, second, epsilon, variant, weight_decay,
// clip_value, clip_norm, global_clip_norm), as OptimizerChoice has them. What its
// numbers may be has been checked there. TypeError or ValueError unless it is one.
OptimizerChoice optimizer_choice(pybind11::handle core);

// ValueError unless T holds its numbers: a step divides by epsilon where gradients are
// zero.
template <class T>
void require_numbers(const OptimizerChoice&);

// update, clip, limit_norms.
void register_optimizers(pybind11::module_& module);

}  // namespace lamina
