// Dropout and its masks. The bits of element e depend on seed, stream and e alone,
// never on threads, register width, dtype or how an array is split ("philox-v1"): a
// block of 16 counters serves 128 elements with 16 bits each, element 128 b + 32 j + 16
// h + lane taking half h (0: low) of word j of counter 16 b + lane. So no register is
// shuffled.
#pragma once

#include "kernels/elementwise.hpp"
#include "kernels/kernel_table.hpp"
#include "simd/philox.hpp"
#include "simd/registers.hpp"
#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

// The elements of a block, and of one call of use() below.
constexpr std::size_t block_size = 128;

// Calls use(i, kept) for i = 0, lanes, ... of the block, lanes being those of I32; kept
// is all ones where an element is kept, zero where dropped. 0 < threshold < 65536
template <class Use>
LAMINA_INLINE void keep_block(std::uint64_t block, const Philox& random,
                              std::uint32_t threshold, Use use) {
  constexpr std::size_t lanes = LAMINA_VECTOR_BYTES / 4;
  using U32 = std::uint32_t __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  const U32 limit = (threshold << 16) - U32{};
  const Philox::Block words = random(block);
  repeat<4>([&](std::size_t j) __attribute__((always_inline)) {
    repeat<Philox::parts>([&](std::size_t p) __attribute__((always_inline)) {
      const U32 word = reinterpret_cast<U32>(words.word[j][p]);
      // The low bits of a whole word cannot change its comparison with threshold << 16.
      use(32 * j + p * lanes, (word << 16) >= limit);
      use(32 * j + 16 + p * lanes, word >= limit);
    });
  });
}

// Calls whole(i, block, random) for the elements i ... i + 127 that make up a block,
// and some(i, flags, count) for fewer of one, with their flags.
template <class Whole, class Some>
LAMINA_INLINE void for_blocks(std::size_t n, const DropoutBits& bits, Whole whole,
                              Some some) {
  const Philox random(bits.seed, bits.stream);
  for (std::size_t i = 0; i < n;) {
    const std::uint64_t element = bits.offset + i, block = element / block_size;
    const std::size_t first = element % block_size;
    const std::size_t count = smaller(n - i, block_size - first);
    if (count == block_size) {
      whole(i, block, random);
    } else {
      std::int32_t flags[block_size];
      keep_block(block, random, bits.threshold, [&](std::size_t at, I32 kept) {
        __builtin_memcpy(flags + at, &kept, sizeof kept);
      });
      some(i, flags + first, count);
    }
    i += count;
  }
}

// The mask of a Vec<T> from as many flags.
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
  const auto finish = [=](V v, const std::int32_t* kept) {
    return select(load_flags(kept, T{}), fma(v, scale, shift), fill);
  };
  for_blocks(
      n, bits,
      [=, threshold = bits.threshold](std::size_t i, std::uint64_t block,
                                      const Philox& random) {
        keep_block(block, random, threshold, [=](std::size_t at, I32 kept) {
          std::int32_t flags[sizeof kept / 4];
          __builtin_memcpy(flags, &kept, sizeof kept);
          for (std::size_t part = 0; part < sizeof kept / 4; part += V::lanes) {
            const std::size_t to = i + at + part;
            finish(V::load_once(x + to), flags + part).store(y + to);
          }
        });
      },
      [=](std::size_t i, const std::int32_t* flags, std::size_t count) {
        std::size_t done = 0;
        for (; done + V::lanes <= count; done += V::lanes)
          finish(V::load(x + i + done), flags + done).store(y + i + done);
        if (done == count) return;
        std::int32_t last[V::lanes] = {};  // fewer flags than lanes are left
        for (std::size_t lane = 0; done + lane < count; ++lane)
          last[lane] = flags[done + lane];
        finish(V::load_first(x + i + done, count - done), last)
            .store_first(y + i + done, count - done);
      });
}

// Bits are written from the lowest up, 32 at a time; elements 32 j ... of a block are
// the bits of its word j.
inline void dropout_mask(std::uint8_t* mask, std::size_t n, const DropoutBits& bits) {
  const std::size_t bytes = n / 8 + (n % 8 != 0);
  const bool all = bits.threshold == 0;
  if (all || bits.threshold >= 65536) {
    for (std::size_t byte = 0; byte < bytes; ++byte) mask[byte] = all ? 0xff : 0;
    if (all && n % 8 != 0)
      mask[bytes - 1] = static_cast<std::uint8_t>(0xff >> (8 - n % 8));
    return;
  }
  std::uint64_t pending = 0;  // bits that are not written yet, `held` of them
  std::size_t held = 0;
  const auto append = [&](std::uint32_t word, std::size_t count) {
    pending |= static_cast<std::uint64_t>(word) << held;
    for (held += count; held >= 32; held -= 32) {
      const auto low = static_cast<std::uint32_t>(pending);
      __builtin_memcpy(mask, &low, sizeof low);
      mask += sizeof low;
      pending >>= 32;
    }
  };
  for_blocks(
      n, bits,
      [&](std::size_t, std::uint64_t block, const Philox& random) {
        std::uint32_t words[4] = {};
        keep_block(block, random, bits.threshold, [&](std::size_t at, I32 kept) {
          words[at / 32] |= native::top_bits(kept) << (at % 32);
        });
        for (const std::uint32_t word : words) append(word, 32);
      },
      [&](std::size_t, const std::int32_t* flags, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) append(flags[i] & 1, 1);
      });
  for (; held > 0; held -= smaller(held, 8), pending >>= 8)
    *mask++ = static_cast<std::uint8_t>(pending);
}

// 2^i at place i: in lanes, what bit i of a word is told by.
template <class T>
struct EachBit {
  alignas(64) typename Vec<T>::Integer of[32] = {};
  constexpr EachBit() {
    for (std::size_t i = 0; i < 32; ++i)
      of[i] = static_cast<typename Vec<T>::Integer>(std::uint32_t{1} << i);
  }
};

// 32 elements a turn: a vector a turn takes 1.4 times as long within the caches. A load
// that GCC merges into the product under the mask waits for the mask, which doubled the
// time of arrays in memory.
template <class T>
[[gnu::flatten]] void dropout_masked(const T* dy, const std::uint8_t* mask,
                                     std::size_t bit, T* dx, std::size_t n, T scale) {
  using V = Vec<T>;
  constexpr std::size_t turn = 32;
  static constexpr EachBit<T> each;
  // By the bits of `word` from number `first` on.
  const auto keep = [scale](V v, std::uint32_t word, std::size_t first) {
    typename V::Bits own;
    __builtin_memcpy(&own, each.of + first, sizeof own);
    const typename V::Bits all =
        static_cast<typename V::Integer>(word) - typename V::Bits{};
    return select(typename V::Mask{(all & own) != 0}, v * V(scale), V(0.0));
  };
  std::size_t i = 0;
  const std::size_t past = bit % 8;
  for (; i + turn <= n; i += turn) {
    const std::uint8_t* const from = mask + (bit + i) / 8;
    std::uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    if (past > 0) word = word >> past | std::uint32_t{from[4]} << (turn - past);
    repeat<turn / V::lanes>([&](std::size_t k) __attribute__((always_inline)) {
      const std::size_t at = k * V::lanes;
      keep(V::load_once(dy + i + at), word, at).store(dx + i + at);
    });
  }
  for (; i < n; i += V::lanes) {
    const std::size_t at = bit + i, count = smaller(n - i, V::lanes);
    std::uint32_t word = 0;
    for (std::size_t byte = 0; 8 * byte < at % 8 + count; ++byte)
      word |= std::uint32_t{mask[at / 8 + byte]} << 8 * byte;
    word >>= at % 8;
    if (count == V::lanes)
      keep(V::load(dy + i), word, 0).store(dx + i);
    else
      keep(V::load_first(dy + i, count), word, 0).store_first(dx + i, count);
  }
}

// The gradient of relu before a dropout, from what came out: zeros in y are one's or
// the other's, and the gradients of both are zero there.
template <class T>
[[gnu::flatten]] void relu_dropout_backward(const T* dy, const T* y, T* dx,
                                            std::size_t n, T scale) {
  transform(
      dx, n, [=](auto d, auto out) { return select(out > 0.0, d * scale, 0.0); }, dy,
      y);
}

inline void random_words(std::uint32_t* words, std::size_t first, std::size_t n,
                         std::uint64_t seed, std::uint64_t stream) {
  const Philox random(seed, stream);
  for (std::size_t i = 0; i < n; i += 64) {
    const Philox::Block block = random((first + i) / 64);
    const std::size_t count = n - i < 64 ? n - i : 64;
    __builtin_memcpy(words + i, block.word, count * sizeof(std::uint32_t));
  }
}

}  // namespace lamina::LAMINA_TARGET
