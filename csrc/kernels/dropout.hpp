// Dropout and its masks. The bits of element e depend on seed, stream and e alone,
// never on threads, register width, dtype or how an array is split ("philox-v1"): a
// block of 16 counters serves 128 elements with 16 bits each, element 128 b + 32 j + 16
// h + lane taking half h (0: low) of word j of counter 16 b + lane. So no register is
// shuffled.
#pragma once

#include "kernels/kernel_table.hpp"
#include "simd/philox.hpp"
#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

// For 128 elements, all ones where kept, zero where dropped.
struct KeepFlags {
  static constexpr std::size_t size = 128;
  std::int32_t flag[size];

  // 0 < threshold < 65536
  LAMINA_INLINE KeepFlags(std::uint64_t block, const DropoutBits& bits) {
    constexpr std::size_t lanes = LAMINA_VECTOR_BYTES / 4;
    constexpr std::uint32_t top = 0x80000000u;  // unsigned order by signed comparison
    const I32 flip = static_cast<std::int32_t>(top) - I32{};
    const I32 limit = static_cast<std::int32_t>((bits.threshold << 16) ^ top) - I32{};
    const PhiloxBlock random(block, bits.seed, bits.stream);
    std::int32_t* out = flag;
    for (std::size_t j = 0; j < 4; ++j, out += 32)
      for (std::size_t p = 0; p < PhiloxBlock::parts; ++p) {
        const I32 word = random.word[j][p];
        // The low bits of a whole word cannot change its comparison with threshold
        // << 16.
        const I32 low = ((word << 16) ^ flip) >= limit;
        const I32 high = (word ^ flip) >= limit;
        __builtin_memcpy(out + p * lanes, &low, sizeof low);
        __builtin_memcpy(out + 16 + p * lanes, &high, sizeof high);
      }
  }
};

// Calls use(i, flags, count) for the elements i ... i + count - 1 that share a block.
template <class Use>
LAMINA_INLINE void for_blocks(std::size_t n, const DropoutBits& bits, Use use) {
  for (std::size_t i = 0; i < n;) {
    const std::uint64_t element = bits.offset + i;
    const std::size_t first = element % KeepFlags::size;
    const std::size_t left = KeepFlags::size - first;
    const std::size_t count = n - i < left ? n - i : left;
    const KeepFlags flags(element / KeepFlags::size, bits);
    use(i, flags.flag + first, count);
    i += count;
  }
}

// As many flags as a register has lanes of T, widened to the mask of a Vec<T>.
LAMINA_INLINE Vec<float>::Mask load_flags(const std::int32_t* flags, float) {
  I32 f;
  __builtin_memcpy(&f, flags, sizeof f);
  return {f};
}
LAMINA_INLINE Vec<double>::Mask load_flags(const std::int32_t* flags, double) {
  std::int32_t __attribute__((vector_size(LAMINA_VECTOR_BYTES / 2))) f;
  __builtin_memcpy(&f, flags, sizeof f);
  return {__builtin_convertvector(f, Vec<double>::Bits)};
}

// Dropped values are selected away, so that an infinity or NaN among them leaves
// nothing behind.
template <class T>
[[gnu::flatten]] void dropout(const T* x, T* y, std::size_t n, const DropoutBits& bits,
                              const DropoutValues& values) {
  using V = Vec<T>;
  if (bits.threshold == 0) {
    for (std::size_t i = 0; i < n; ++i) y[i] = x[i];
    return;
  }
  if (bits.threshold >= 65536) {
    for (std::size_t i = 0; i < n; ++i) y[i] = 0;
    return;
  }
  const V scale = values.scale, shift = values.shift, fill = values.fill;
  for_blocks(n, bits,
             [=](std::size_t at, const std::int32_t* flags, std::size_t count) {
               const auto keep = [=](V v, const std::int32_t* kept) {
                 return select(load_flags(kept, T{}), fma(v, scale, shift), fill);
               };
               std::size_t i = 0;
               for (; i + V::lanes <= count; i += V::lanes)
                 keep(V::load(x + at + i), flags + i).store(y + at + i);
               // Fewer flags than lanes are left: pad them.
               if (i < count) {
                 std::int32_t last[V::lanes] = {};
                 for (std::size_t lane = 0; i + lane < count; ++lane)
                   last[lane] = flags[i + lane];
                 keep(V::load_first(x + at + i, count - i), last)
                     .store_first(y + at + i, count - i);
               }
             });
}

inline void dropout_mask(std::uint8_t* mask, std::size_t n, const DropoutBits& bits) {
  for (std::size_t byte = 0; byte < n / 8 + (n % 8 != 0); ++byte) mask[byte] = 0;
  if (bits.threshold >= 65536) return;
  const auto set = [=](std::size_t i, unsigned bit) {
    mask[i / 8] = static_cast<std::uint8_t>(mask[i / 8] | bit << (i % 8));
  };
  if (bits.threshold == 0) {
    for (std::size_t i = 0; i < n; ++i) set(i, 1);
    return;
  }
  for_blocks(n, bits,
             [=](std::size_t at, const std::int32_t* flags, std::size_t count) {
               for (std::size_t i = 0; i < count; ++i) set(at + i, flags[i] & 1);
             });
}

template <class T>
[[gnu::flatten]] void dropout_masked(const T* dy, const std::uint8_t* mask, T* dx,
                                     std::size_t n, T scale) {
  using V = Vec<T>;
  using Bits = typename V::Bits;
  Bits lane_bit;
  for (std::size_t lane = 0; lane < V::lanes; ++lane) lane_bit[lane] = 1 << lane;
  // The mask bits of the vector that starts at element i, a multiple of its lanes.
  const auto keep = [=](V v, std::size_t i, std::size_t count) {
    std::uint32_t word = mask[i / 8];
    if (V::lanes > 8 && count > 8)
      word |= static_cast<std::uint32_t>(mask[i / 8 + 1]) << 8;
    word >>= i % 8;
    const Bits bit = (static_cast<std::int32_t>(word) - Bits{}) & lane_bit;
    return select(typename V::Mask{bit != 0}, v * V(scale), V(0.0));
  };
  std::size_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes)
    keep(V::load(dy + i), i, V::lanes).store(dx + i);
  if (i < n) keep(V::load_first(dy + i, n - i), i, n - i).store_first(dx + i, n - i);
}

inline void random_words(std::uint32_t* words, std::size_t n, std::uint64_t seed,
                         std::uint64_t stream) {
  for (std::size_t i = 0; i < n; i += 64) {
    const PhiloxBlock random(i / 64, seed, stream);
    const std::size_t count = n - i < 64 ? n - i : 64;
    __builtin_memcpy(words + i, random.word, count * sizeof(std::uint32_t));
  }
}

}  // namespace lamina::LAMINA_TARGET
