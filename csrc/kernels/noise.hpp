// Normal noise from random bits. Element e has word e of its seed and stream, as
// random_words() numbers them: it depends on nothing else, neither threads nor register
// width. The normal number is one of float for both types, so that float32 and float64
// see the same noise.
#pragma once

#include "kernels/kernel_table.hpp"
#include "simd/math.hpp"
#include "simd/philox.hpp"
#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

// The normal quantile of (word + 1/2) / 2^32, by Wichura's PPND7 (Applied Statistics
// 37, 1988): from -6.23 to 6.23, relative error below 2^-21.2 over all words.
// Antisymmetric: a word and its complement give opposite numbers.
LAMINA_INLINE Vec<float> normal_of(I32 word) {
  using V = Vec<float>;
  constexpr double centre_over[] = {3.3871327179e0, 5.0434271938e1, 1.5929113202e2,
                                    5.9109374720e1};
  constexpr double centre_under[] = {1, 1.7895169469e1, 7.8757757664e1, 6.7187563600e1};
  constexpr double tail_over[] = {1.4234372777e0, 2.7568153900e0, 1.3067284816e0,
                                  1.7023821103e-1};
  constexpr double tail_under[] = {1, 7.3700164250e-1, 1.2021132975e-1};
  const auto to_float = [](I32 i) { return V(__builtin_convertvector(i, V::Native)); };
  const I32 top = -0x7fffffff - 1 - I32{};
  const I32 centred = word ^ top;  // word - 2^31
  const I32 magnitude = centred ^ (centred >> 31);
  // Distance from the middle, and from the nearer end, both in (0, 1/2), each as exact
  // as a float can be.
  const V q = (to_float(magnitude) + 0.5) * 0x1p-32;
  const V p = (to_float(magnitude ^ ~top) + 0.5) * 0x1p-32;
  const V from_centre = 0.180625 - q * q, from_end = sqrt(-log(p)) - 1.6;
  const auto central = q <= 0.425;
  const V over = select(central, q * polynomial(from_centre, centre_over),
                        polynomial(from_end, tail_over));
  const V under = select(central, polynomial(from_centre, centre_under),
                         polynomial(from_end, tail_under));
  return copysign(over / under, V::from_bits(centred));
}

// As many floats as Vec<T> has lanes, in T.
LAMINA_INLINE Vec<float> load_floats(const float* p, float) {
  return Vec<float>::load(p);
}
LAMINA_INLINE Vec<double> load_floats(const float* p, double) {
  VecTraits<float>::Half f;
  __builtin_memcpy(&f, p, sizeof f);
  return Vec<double>(__builtin_convertvector(f, VecTraits<double>::Native));
}

template <class T>
[[gnu::flatten]] void gaussian_noise(const T* x, T* y, std::size_t n,
                                     const NoiseBits& bits, T stddev) {
  using V = Vec<T>;
  constexpr std::size_t block = 4 * Philox::counters;  // words, one an element
  const Philox random(bits.seed, bits.stream);
  float normal[block + Vec<float>::lanes];
  Vec<float>(0.0).store(normal + block);  // the last load may reach past the block
  for (std::size_t i = 0; i < n;) {
    const std::uint64_t element = bits.offset + i;
    const std::size_t first = element % block, count = smaller(n - i, block - first);
    const Philox::Block words = random(element / block);
    repeat<4>([&](std::size_t j) __attribute__((always_inline)) {
      repeat<Philox::parts>([&](std::size_t p) __attribute__((always_inline)) {
        normal_of(words.word[j][p])
            .store(normal + Philox::counters * j + p * Vec<float>::lanes);
      });
    });
    std::size_t done = 0;
    for (; done + V::lanes <= count; done += V::lanes)
      fma(V(stddev), load_floats(normal + first + done, T{}), V::load(x + i + done))
          .store(y + i + done);
    if (done < count)
      fma(V(stddev), load_floats(normal + first + done, T{}),
          V::load_first(x + i + done, count - done))
          .store_first(y + i + done, count - done);
    i += count;
  }
}

}  // namespace lamina::LAMINA_TARGET
