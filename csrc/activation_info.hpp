// What an activation says of itself, and the list type that everything else expands.
// Included by activations.hpp alone; plain data, no target code.
#pragma once

#include <cstddef>

namespace lamina {

// What backward reads: the output y, or the input x of the activation.
enum class Saves {
  output,
  input,
  output_unless_negative,  // x when the parameter is negative: y cannot be undone then
};

// Which values of a parameter have a meaning.
enum class Range { any, nonzero, positive, nonnegative };

struct Parameter {
  const char* name = nullptr;  // nullptr: the activation has none
  double initial = 0;
  Range range = Range::any;
};

// Indexed by precision: [0] float32, [1] float64.
struct Info {
  const char* name;
  const char* formula;
  Saves saves;
  Parameter parameter = {};
  // Promise for the forward: largest error over all inputs, in units in the last place.
  double max_ulp[2];
  // Promise for the derivative: largest absolute error, in units of 2^-24 or 2^-53.
  double max_derivative_error[2];
  // What computing an element of float32 takes with AVX-512, roughly: threads go by it.
  // Where the time goes into moving it, a second thread gains nothing within the
  // caches.
  double cycles = 1;
  const char* initializer = "glorot_uniform";  // what "auto" means for a layer with it
  const char* loss = nullptr;                  // what it implies as a last activation
};

// Whether backward reads y at this value of the parameter; otherwise it reads x.
[[gnu::always_inline]] constexpr bool saves_output(const Info& info, double parameter) {
  return info.saves == Saves::output ||
         (info.saves == Saves::output_unless_negative && parameter >= 0);
}

constexpr bool in_range(Range range, double value) {
  switch (range) {
    case Range::nonzero:
      return value < 0 || value > 0;
    case Range::positive:
      return value > 0;
    case Range::nonnegative:
      return value >= 0;
    default:
      return value == value;
  }
}

template <class... Activations>
struct List {
  static constexpr std::size_t size = sizeof...(Activations);
  static constexpr Info infos[] = {Activations::info...};
};

}  // namespace lamina
