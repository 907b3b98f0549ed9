#include "ops/dispatch.hpp"

#include <atomic>

#include "ops/processor.hpp"

// targets.inc is written by CMake from its table of targets: a row
// LAMINA_TARGET_ROW(name, test) for each, test being true where the processor (and its
// operating system) runs it.
#define LAMINA_TARGET_ROW(name, test)    \
  namespace name {                       \
  extern const KernelTable kernel_table; \
  }
namespace lamina {
#include "targets.inc"
}
#undef LAMINA_TARGET_ROW
#ifdef LAMINA_BFLOAT16
namespace lamina::LAMINA_BFLOAT16 {
extern const Bfloat16Kernels bfloat16_kernels;
}
#endif

namespace lamina {

std::span<const Target> targets() {
#define LAMINA_TARGET_ROW(name, test) {&name::kernel_table, static_cast<bool>(test)},
  static const Target rows[] = {
#include "targets.inc"
  };
#undef LAMINA_TARGET_ROW
  return rows;
}

namespace {

const KernelTable* best_available() {
  const KernelTable* best = nullptr;
  for (const Target& target : targets())
    if (target.available) best = target.table;
  return best;
}

std::atomic<const KernelTable*>& active_slot() {
  static std::atomic<const KernelTable*> slot{best_available()};
  return slot;
}

}  // namespace

const KernelTable& active() { return *active_slot().load(std::memory_order_relaxed); }

Bfloat16Support bfloat16() {
#ifdef LAMINA_BFLOAT16
  // Asked once: where the machine is virtual, cpuid takes 30 us.
  static const bool available = processor::has_avx512_bf16();
  if (!available) return {nullptr, "this processor does not have avx512_bf16"};
  if (active().vector_bytes != 64)
    return {nullptr, "the active target is not avx512, of which it is a part"};
  return {&LAMINA_BFLOAT16::bfloat16_kernels, nullptr};
#else
  return {nullptr, "this build is without it: the compiler had no avx512_bf16"};
#endif
}

bool activate(std::string_view name) {
  for (const Target& target : targets())
    if (target.available && target.table->name == name) {
      active_slot().store(target.table, std::memory_order_relaxed);
      return true;
    }
  return false;
}

}  // namespace lamina
