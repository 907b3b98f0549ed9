#include "ops/processor.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lamina::processor {

#if defined(__x86_64__)

namespace {

struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;  // zeros where the processor has no such leaf
  explicit Leaf(unsigned leaf, unsigned part = 0) {
    __get_cpuid_count(leaf, part, &a, &b, &c, &d);
  }
};

constexpr bool all(unsigned bits, unsigned of) { return (bits & of) == of; }
constexpr unsigned bit(unsigned number) { return 1u << number; }

// The registers' halves that the operating system saves: bits of XCR0.
constexpr unsigned ymm = bit(1) | bit(2), zmm = ymm | bit(5) | bit(6) | bit(7);
bool saves(unsigned registers) {
  if (!all(Leaf(1).c, bit(27))) return false;  // osxsave
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return all(low, registers);
}

}  // namespace

bool has_avx2() {
  constexpr unsigned fma = bit(12), avx = bit(28), avx2 = bit(5);
  return saves(ymm) && all(Leaf(1).c, fma | avx) && all(Leaf(7).b, avx2);
}

bool has_avx512() {
  constexpr unsigned f = bit(16), dq = bit(17), cd = bit(28), bw = bit(30),
                     vl = bit(31);
  return has_avx2() && saves(zmm) && all(Leaf(7).b, f | dq | cd | bw | vl);
}

bool has_avx512_bf16() { return has_avx512() && all(Leaf(7, 1).a, bit(5)); }

#else

bool has_avx2() { return false; }
bool has_avx512() { return false; }
bool has_avx512_bf16() { return false; }

#endif

}  // namespace lamina::processor
