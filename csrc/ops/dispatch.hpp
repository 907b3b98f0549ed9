// Which targets were built, which of them run on this processor, and which is active.
#pragma once

#include <span>
#include <string_view>

#include "kernels/bfloat16.hpp"
#include "kernels/kernel_table.hpp"

namespace lamina {

struct Target {
  const KernelTable* table;
  bool available;  // this processor can run it
};

// From the least capable to the most.
std::span<const Target> targets();

// The table in use: the last available one unless activate() chose another.
const KernelTable& active();

// False, and nothing changed, if no available target has that name.
bool activate(std::string_view name);

// The products in bfloat16, which go with the target avx512; null, and what is missing,
// where there are none.
struct Bfloat16Support {
  const Bfloat16Kernels* kernels;
  const char* missing;
};
Bfloat16Support bfloat16();

template <class T>
const Kernels<T>& kernels();
template <>
inline const Kernels<float>& kernels<float>() {
  return active().f32;
}
template <>
inline const Kernels<double>& kernels<double>() {
  return active().f64;
}

}  // namespace lamina
