// Philox4x32-10 (Salmon et al. 2011), a counter-based generator: sixteen counters at a
// time, the same words on every target.
//
// The state stands in 64-bit lanes, even counters in one set of registers and odd ones
// in another: a round's multiplication is then one instruction (32 x 32 -> 64 bits) and
// its high word one shift. Only the low halves count; the high ones may hold anything.
#pragma once

#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

using U64 = std::uint64_t __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
using I32 = VecTraits<float>::Bits;

LAMINA_INLINE U64 broadcast(std::uint64_t s) { return s - U64{}; }

// Products of the low halves.
LAMINA_INLINE U64 multiply_low(U64 a, U64 b) {
#if defined(__AVX512F__) && LAMINA_VECTOR_BYTES == 64
  return reinterpret_cast<U64>(
      _mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__) && LAMINA_VECTOR_BYTES == 32
  return reinterpret_cast<U64>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__x86_64__)
  return reinterpret_cast<U64>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  const U64 low = broadcast(0xffffffffu);
  return (a & low) * (b & low);
#endif
}

// The four output words of the counters 16 block ... 16 block + 15: lane l of word j is
// word j of counter 16 block + l, a word being 64 bytes in `parts` registers.
struct PhiloxBlock {
  static constexpr std::size_t counters = 16;
  static constexpr std::size_t parts = 64 / LAMINA_VECTOR_BYTES;
  I32 word[4][parts];

  LAMINA_INLINE PhiloxBlock(std::uint64_t block, std::uint64_t seed,
                            std::uint64_t stream) {
    constexpr std::size_t lanes = LAMINA_VECTOR_BYTES / 8;
    const std::uint64_t first = counters * block;
    U64 state[2 * parts][4];  // even counters of each part, then odd ones
    for (std::size_t s = 0; s < 2 * parts; ++s) {
      U64 number = broadcast(first & 0xffffffffu);
      for (std::size_t lane = 0; lane < lanes; ++lane)
        number[lane] += 2 * (lane + (s % parts) * lanes) + s / parts;
      state[s][0] = number;
      state[s][1] = broadcast(first >> 32);
      state[s][2] = broadcast(stream & 0xffffffffu);
      state[s][3] = broadcast(stream >> 32);
    }
    const U64 multiplier0 = broadcast(0xD2511F53u),
              multiplier2 = broadcast(0xCD9E8D57u);
    std::uint32_t key0 = static_cast<std::uint32_t>(seed);
    std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      for (std::size_t s = 0; s < 2 * parts; ++s) {
        U64(&c)[4] = state[s];
        const U64 product0 = multiply_low(multiplier0, c[0]);
        const U64 product2 = multiply_low(multiplier2, c[2]);
        c[0] = (product2 >> 32) ^ c[1] ^ broadcast(key0);
        c[1] = product2;
        c[2] = (product0 >> 32) ^ c[3] ^ broadcast(key1);
        c[3] = product0;
      }
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    const U64 low = broadcast(0xffffffffu);
    for (std::size_t j = 0; j < 4; ++j)
      for (std::size_t p = 0; p < parts; ++p)
        word[j][p] =
            reinterpret_cast<I32>((state[p][j] & low) | (state[parts + p][j] << 32));
  }
};

}  // namespace lamina::LAMINA_TARGET
