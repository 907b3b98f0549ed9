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

class Philox {
 public:
  static constexpr std::size_t counters = 16;  // of a block
  static constexpr std::size_t parts = 64 / LAMINA_VECTOR_BYTES;

  // Lane l of word j is word j of counter 16 block + l, a word being 64 bytes in
  // `parts` registers.
  struct Block {
    I32 word[4][parts];
  };

  LAMINA_INLINE Philox(std::uint64_t seed, std::uint64_t stream) : stream_(stream) {
    auto key0 = static_cast<std::uint32_t>(seed);
    auto key1 = static_cast<std::uint32_t>(seed >> 32);
    for (auto& key : keys_) {
      key[0] = key0;
      key[1] = key1;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
  }

  // Part by part: eight registers of state are as many as there is room for. Two blocks
  // at a time, where there are 32 registers, gain nothing; keys worked out anew for
  // every block lose 15 %.
  LAMINA_INLINE Block operator()(std::uint64_t block) const {
    const std::uint64_t first = counters * block;
    Block result;
    for (std::size_t p = 0; p < parts; ++p) {
      State even(first, p, 0, stream_), odd(first, p, 1, stream_);
#pragma GCC unroll 10
      for (int round = 0; round < 10; ++round) {
        even.step(broadcast(keys_[round][0]), broadcast(keys_[round][1]));
        odd.step(broadcast(keys_[round][0]), broadcast(keys_[round][1]));
      }
      result.word[0][p] = merge(even.c0, odd.c0);
      result.word[1][p] = merge(even.c1, odd.c1);
      result.word[2][p] = merge(even.c2, odd.c2);
      result.word[3][p] = merge(even.c3, odd.c3);
    }
    return result;
  }

  // Word j of each of these counters, in the low half of a lane of words[j].
  LAMINA_INLINE void words_of(U64 counter, U64 (&words)[4]) const {
    State state(counter, stream_);
    for (const auto& key : keys_) state.step(broadcast(key[0]), broadcast(key[1]));
    words[0] = state.c0, words[1] = state.c1, words[2] = state.c2, words[3] = state.c3;
  }

 private:
  // Of every second counter of a part. Members, not an array, which GCC 12 would keep
  // in memory: three times the time.
  struct State {
    U64 c0, c1, c2, c3;

    LAMINA_INLINE State(U64 counter, std::uint64_t stream)
        : c0(counter),
          c1(counter >> 32),
          c2(broadcast(stream & 0xffffffffu)),
          c3(broadcast(stream >> 32)) {}
    LAMINA_INLINE State(std::uint64_t first, std::size_t part, std::size_t odd,
                        std::uint64_t stream)
        : c1(broadcast(first >> 32)),
          c2(broadcast(stream & 0xffffffffu)),
          c3(broadcast(stream >> 32)) {
      constexpr std::size_t lanes = LAMINA_VECTOR_BYTES / 8;
      U64 steps;
      for (std::size_t lane = 0; lane < lanes; ++lane) steps[lane] = 2 * lane;
      c0 = broadcast((first & 0xffffffffu) + 2 * part * lanes + odd) + steps;
    }
    LAMINA_INLINE void step(U64 key0, U64 key1) {
      const U64 product0 = multiply_low(broadcast(0xD2511F53u), c0);
      const U64 product2 = multiply_low(broadcast(0xCD9E8D57u), c2);
      c0 = (product2 >> 32) ^ c1 ^ key0;
      c1 = product2;
      c2 = (product0 >> 32) ^ c3 ^ key1;
      c3 = product0;
    }
  };
  static LAMINA_INLINE I32 merge(U64 even, U64 odd) {
    return reinterpret_cast<I32>((even & broadcast(0xffffffffu)) | (odd << 32));
  }

  std::uint64_t keys_[10][2];  // of the rounds, 32 bits each
  std::uint64_t stream_;
};

}  // namespace lamina::LAMINA_TARGET
