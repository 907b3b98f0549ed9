#include "ops/dispatch.hpp"

#include <atomic>

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

bool activate(std::string_view name) {
  for (const Target& target : targets())
    if (target.available && target.table->name == name) {
      active_slot().store(target.table, std::memory_order_relaxed);
      return true;
    }
  return false;
}

}  // namespace lamina
