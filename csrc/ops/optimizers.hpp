// One step of training by a rule, and the limits on gradients and weights, on raw
// pointers: what a network's step and the bindings call. Results do not depend on the
// number of threads or, with fma, on the target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "ops/dispatch.hpp"

namespace lamina {

enum class OptimizerKind {
#define LAMINA_KIND(name, cycles, slots) name,
  LAMINA_OPTIMIZERS(LAMINA_KIND)
#undef LAMINA_KIND
};

struct OptimizerChoice {
  OptimizerKind kind{};
  double first = 0;    // momentum (sgd, rmsprop) or beta_1 (adam, lion)
  double second = 0;   // rho (rmsprop) or beta_2 (adam, lion)
  double epsilon = 0;  // outside the root (rmsprop, adagrad, adam)
  bool variant =
      false;  // Nesterov's form (sgd), centered (rmsprop), epsilon hat (adam)
  // Decoupled (adam, lion): before the step, w loses rate weight_decay w. What a step
  // goes by is its Pace.
  double weight_decay = 0;
  // Of gradients; infinity: no limit.
  double clip_value = std::numeric_limits<double>::infinity();
  double clip_norm = std::numeric_limits<double>::infinity();
  double global_clip_norm = std::numeric_limits<double>::infinity();
};

// The learning rate and the weight decay of a step, or factors of them.
struct Pace {
  double rate = 1, decay = 1;
  bool operator==(const Pace&) const = default;
  Pace operator*(const Pace& by) const { return {rate * by.rate, decay * by.decay}; }
};

// Those of steps numbered from 0.
struct Paces {
  const double* rates;
  const double* decays;  // null: the decay is the same in all
  double decay;
  Pace operator[](std::size_t step) const {
    return {rates[step], decays ? decays[step] : decay};
  }
};

// How many arrays of n elements `state` holds, all zero before the first step.
std::size_t slots(const OptimizerChoice&);

// The numbers of a step; `step` counts from 1. Arrays and sizes are left out.
template <class T>
Update<T> numbers_of(const OptimizerChoice&, const Pace&, std::uint64_t step);

// The kernel that works by them.
template <class T>
auto kernel_of(const OptimizerChoice& rule) {
  return kernels<T>().optimizers[static_cast<std::size_t>(rule.kind)];
}

// One fused pass over n parameters; `step` counts from 1. The arrays of the state begin
// `stride` elements after each other.
template <class T>
void update(const OptimizerChoice&, const Pace&, std::uint64_t step, T* w, const T* dw,
            T* state, std::size_t n, std::size_t stride);

// mean += share (w - mean), n elements: a running mean of parameters.
template <class T>
void follow(const T* w, T* mean, std::size_t n, double share);

// Limits the gradients dw, arrays of these sizes one after the other: each element,
// then each array by its norm, then all by their norm. Norms are exact to rounding and
// summed in float64; one that is not finite limits nothing, and is returned. Else
// returns the norm of all before it is limited, 0 if no global_clip_norm is asked for.
template <class T>
double clip(const OptimizerChoice&, T* dw, const std::size_t* sizes,
            std::size_t arrays);

// Scales every column of the contiguous kernel whose norm is finite and above the limit
// down to it.
template <class T>
void limit_norms(T* kernel, std::size_t rows, std::size_t cols, double limit);

}  // namespace lamina
