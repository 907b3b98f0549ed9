// How a bound function runs its kernels, and what the other files add to the module.
#pragma once

#include <optional>

#include "bindings/numpy.hpp"

namespace lamina {

// Releasing and taking the GIL costs 30 to 40 ns: 1 % of about 4 us, the time of this
// many multiply-adds or element operations.
inline constexpr std::size_t work_worth_releasing = 200000;

template <class Work>
void run(std::size_t amount, Work work) {
  std::optional<pybind11::gil_scoped_release> released;
  if (amount > work_worth_releasing) released.emplace();
  work();
}

// Calls f(float{}) or f(double{}): the type in which a function computes.
template <class Function>
auto in_precision(bool is_double, Function f) {
  return is_double ? f(double{}) : f(float{});
}

// matmul, dense, dropout and their backward; random words.
void register_functions(pybind11::module_& module);

// Losses and optimizers.
void register_training(pybind11::module_& module);

}  // namespace lamina
