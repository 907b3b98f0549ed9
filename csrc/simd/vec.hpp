// Vec<T>: one vector register of float or double; Pair: two or more of them side by
// side; Lanes<T>: the sixteen (float) or eight (double) virtual lanes in which every
// reduction runs. Included by the kernels of each target; knows nothing of mathematics,
// arrays or threads.
//
// The width comes from LAMINA_VECTOR_BYTES and the instructions from the compiler's
// flags, both set by a row of the table in CMakeLists.txt. Operators are the compiler's
// vector extension; an intrinsic stands only where GCC has no portable spelling or
// picks worse code. Everything lives in the target's own namespace, so that no inline
// function compiled for one instruction set can be linked into another.
#pragma once

#include <cstddef>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LAMINA_INLINE inline __attribute__((always_inline))

namespace lamina::LAMINA_TARGET {

template <class T>
struct VecTraits;
template <>
struct VecTraits<float> {
  using Native = float __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  using Bits = std::int32_t __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  using Unsigned = std::uint32_t __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  using Half = float __attribute__((vector_size(LAMINA_VECTOR_BYTES / 2)));
  using Narrow = float __attribute__((vector_size(16)));  // on every target
  using Integer = std::int32_t;
};
template <>
struct VecTraits<double> {
  using Native = double __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  using Bits = std::int64_t __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  using Unsigned = std::uint64_t __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  using Half = double __attribute__((vector_size(LAMINA_VECTOR_BYTES / 2)));
  using Narrow = double __attribute__((vector_size(16)));
  using Integer = std::int64_t;
};

// The few operations that need intrinsics, by instruction set. `maximum(a, b)` and
// `minimum(a, b)` return b when either is NaN; bit i of `top_bits` is the sign of lane
// i.
namespace native {
using F = VecTraits<float>::Native;
using D = VecTraits<double>::Native;
using FBits = VecTraits<float>::Bits;
using DBits = VecTraits<double>::Bits;

#if defined(__AVX512F__) && LAMINA_VECTOR_BYTES == 64
LAMINA_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
LAMINA_INLINE D fma(D a, D b, D c) { return _mm512_fmadd_pd(a, b, c); }
using HalfF = VecTraits<float>::Half;
using HalfD = VecTraits<double>::Half;
LAMINA_INLINE HalfF fma(HalfF a, HalfF b, HalfF c) { return _mm256_fmadd_ps(a, b, c); }
LAMINA_INLINE HalfD fma(HalfD a, HalfD b, HalfD c) { return _mm256_fmadd_pd(a, b, c); }
LAMINA_INLINE F maximum(F a, F b) { return _mm512_max_ps(a, b); }
LAMINA_INLINE D maximum(D a, D b) { return _mm512_max_pd(a, b); }
LAMINA_INLINE F minimum(F a, F b) { return _mm512_min_ps(a, b); }
LAMINA_INLINE D minimum(D a, D b) { return _mm512_min_pd(a, b); }
LAMINA_INLINE F square_root(F a) { return _mm512_sqrt_ps(a); }
LAMINA_INLINE D square_root(D a) { return _mm512_sqrt_pd(a); }
LAMINA_INLINE F scale(F a, F n) { return _mm512_scalef_ps(a, n); }
LAMINA_INLINE D scale(D a, D n) { return _mm512_scalef_pd(a, n); }
LAMINA_INLINE std::uint32_t top_bits(FBits a) {
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(a));
}
LAMINA_INLINE void stream(float* p, F v) { _mm512_stream_ps(p, v); }
LAMINA_INLINE void stream(double* p, D v) { _mm512_stream_pd(p, v); }
LAMINA_INLINE __mmask16 first16(std::size_t n) {
  return static_cast<__mmask16>((1u << n) - 1u);
}
LAMINA_INLINE __mmask8 first8(std::size_t n) {
  return static_cast<__mmask8>((1u << n) - 1u);
}
LAMINA_INLINE F load_first(const float* p, std::size_t n) {
  return _mm512_maskz_loadu_ps(first16(n), p);
}
LAMINA_INLINE D load_first(const double* p, std::size_t n) {
  return _mm512_maskz_loadu_pd(first8(n), p);
}
LAMINA_INLINE void store_first(float* p, F v, std::size_t n) {
  _mm512_mask_storeu_ps(p, first16(n), v);
}
LAMINA_INLINE void store_first(double* p, D v, std::size_t n) {
  _mm512_mask_storeu_pd(p, first8(n), v);
}
LAMINA_INLINE HalfF lower_half(F a) { return _mm512_castps512_ps256(a); }
LAMINA_INLINE HalfD lower_half(D a) { return _mm512_castpd512_pd256(a); }
LAMINA_INLINE HalfF load_half(const float* p, std::size_t n) {
  return _mm256_maskz_loadu_ps(static_cast<__mmask8>(first16(n)), p);
}
LAMINA_INLINE HalfD load_half(const double* p, std::size_t n) {
  return _mm256_maskz_loadu_pd(first8(n), p);
}
LAMINA_INLINE void store_half(float* p, HalfF v, std::size_t n) {
  _mm256_mask_storeu_ps(p, static_cast<__mmask8>(first16(n)), v);
}
LAMINA_INLINE void store_half(double* p, HalfD v, std::size_t n) {
  _mm256_mask_storeu_pd(p, first8(n), v);
}
#elif defined(__AVX2__) && LAMINA_VECTOR_BYTES == 32
LAMINA_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
LAMINA_INLINE D fma(D a, D b, D c) { return _mm256_fmadd_pd(a, b, c); }
LAMINA_INLINE F maximum(F a, F b) { return _mm256_max_ps(a, b); }
LAMINA_INLINE D maximum(D a, D b) { return _mm256_max_pd(a, b); }
LAMINA_INLINE F minimum(F a, F b) { return _mm256_min_ps(a, b); }
LAMINA_INLINE D minimum(D a, D b) { return _mm256_min_pd(a, b); }
LAMINA_INLINE F square_root(F a) { return _mm256_sqrt_ps(a); }
LAMINA_INLINE D square_root(D a) { return _mm256_sqrt_pd(a); }
LAMINA_INLINE std::uint32_t top_bits(FBits a) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(reinterpret_cast<F>(a)));
}
LAMINA_INLINE void stream(float* p, F v) { _mm256_stream_ps(p, v); }
LAMINA_INLINE void stream(double* p, D v) { _mm256_stream_pd(p, v); }
LAMINA_INLINE __m256i first8(std::size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}
LAMINA_INLINE __m256i first4(std::size_t n) {
  const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(n)), lane);
}
LAMINA_INLINE F load_first(const float* p, std::size_t n) {
  return _mm256_maskload_ps(p, first8(n));
}
LAMINA_INLINE D load_first(const double* p, std::size_t n) {
  return _mm256_maskload_pd(p, first4(n));
}
// Pieces of 4, 2 and 1 instead of a mask take up to 1.1 of a short row's time (Zen 5).
LAMINA_INLINE void store_first(float* p, F v, std::size_t n) {
  _mm256_maskstore_ps(p, first8(n), v);
}
LAMINA_INLINE void store_first(double* p, D v, std::size_t n) {
  _mm256_maskstore_pd(p, first4(n), v);
}
#else
// 16-byte targets. A loop over at most three lanes; a memcpy of variable length costs
// six times as much (measured in a matrix product with ten columns).
template <class V, class T>
LAMINA_INLINE V load_lanes(const T* p, std::size_t n) {
  V v = {};
  for (std::size_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
LAMINA_INLINE F load_first(const float* p, std::size_t n) {
  return load_lanes<F>(p, n);
}
LAMINA_INLINE D load_first(const double* p, std::size_t n) {
  return load_lanes<D>(p, n);
}
LAMINA_INLINE void store_first(float* p, F v, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) p[i] = v[i];
}
LAMINA_INLINE void store_first(double* p, D v, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) p[i] = v[i];
}
#if defined(__aarch64__)
LAMINA_INLINE std::uint32_t top_bits(FBits a) {
  std::uint32_t bits = 0;
  for (unsigned i = 0; i < 4; ++i) bits |= (a[i] < 0 ? 1u : 0u) << i;
  return bits;
}
// GCC has no name for stores that pass the caches there.
LAMINA_INLINE void stream(float* p, F v) { __builtin_memcpy(p, &v, sizeof v); }
LAMINA_INLINE void stream(double* p, D v) { __builtin_memcpy(p, &v, sizeof v); }
LAMINA_INLINE F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
LAMINA_INLINE D fma(D a, D b, D c) { return vfmaq_f64(c, a, b); }
LAMINA_INLINE F maximum(F a, F b) { return a > b ? a : b; }
LAMINA_INLINE D maximum(D a, D b) { return a > b ? a : b; }
LAMINA_INLINE F minimum(F a, F b) { return a < b ? a : b; }
LAMINA_INLINE D minimum(D a, D b) { return a < b ? a : b; }
LAMINA_INLINE F square_root(F a) { return vsqrtq_f32(a); }
LAMINA_INLINE D square_root(D a) { return vsqrtq_f64(a); }
#else
// SSE2 has no fused multiply-add: results differ from the other targets in the last
// bits, within the bounds that the activations promise.
LAMINA_INLINE F fma(F a, F b, F c) { return a * b + c; }
LAMINA_INLINE D fma(D a, D b, D c) { return a * b + c; }
LAMINA_INLINE F maximum(F a, F b) { return _mm_max_ps(a, b); }
LAMINA_INLINE D maximum(D a, D b) { return _mm_max_pd(a, b); }
LAMINA_INLINE F minimum(F a, F b) { return _mm_min_ps(a, b); }
LAMINA_INLINE D minimum(D a, D b) { return _mm_min_pd(a, b); }
LAMINA_INLINE std::uint32_t top_bits(FBits a) {
  return static_cast<std::uint32_t>(_mm_movemask_ps(reinterpret_cast<F>(a)));
}
LAMINA_INLINE void stream(float* p, F v) { _mm_stream_ps(p, v); }
LAMINA_INLINE void stream(double* p, D v) { _mm_stream_pd(p, v); }
LAMINA_INLINE F square_root(F a) { return _mm_sqrt_ps(a); }
LAMINA_INLINE D square_root(D a) { return _mm_sqrt_pd(a); }
#endif
#endif
}  // namespace native

#if defined(__x86_64__)
#define LAMINA_IN_REGISTER "+v"
#else
#define LAMINA_IN_REGISTER "+w"
#endif

// A register of T. Scalars convert implicitly (broadcast), so formulas read as on
// paper.
template <class T>
struct Vec {
  using Scalar = T;
  using Native = typename VecTraits<T>::Native;
  using Bits = typename VecTraits<T>::Bits;
  using Unsigned = typename VecTraits<T>::Unsigned;
  struct Mask {
    Bits bits;  // all ones where true
    friend LAMINA_INLINE Mask operator&(Mask a, Mask b) { return {a.bits & b.bits}; }
    friend LAMINA_INLINE Mask operator|(Mask a, Mask b) { return {a.bits | b.bits}; }
  };
  using Integer = typename VecTraits<T>::Integer;
  static constexpr std::size_t lanes = LAMINA_VECTOR_BYTES / sizeof(T);

  Native value;

  LAMINA_INLINE Vec() : value{} {}
  LAMINA_INLINE Vec(Native v) : value(v) {}
  // s - 0 keeps the sign of a negative zero.
  LAMINA_INLINE Vec(double s) : value(static_cast<T>(s) - Native{}) {}

  // 0, 1, ...: Clang, told not to unroll loops, would number lanes one by one, each
  // time: softmax of 100 columns took 3 times as long.
  struct Numbers {
    alignas(sizeof(Bits)) Integer of[lanes] = {};
    constexpr Numbers() {
      for (std::size_t i = 0; i < lanes; ++i) of[i] = static_cast<Integer>(i);
    }
  };
  // Of lanes 0 ... n - 1.
  static LAMINA_INLINE Mask first(std::size_t n) {
    static constexpr Numbers numbers;
    Bits lane;
    __builtin_memcpy(&lane, numbers.of, sizeof lane);
    return {lane < static_cast<Integer>(n) - Bits{}};
  }
  static LAMINA_INLINE Vec load(const T* p, std::size_t i = 0) {
    Native v;
    __builtin_memcpy(&v, p + i, sizeof v);
    return v;
  }
  // By an instruction of its own: GCC reads memory anew for each use, and under a mask
  // where there is one. Where loads are most of the work and lie across borders of
  // cache lines, or come from memory, that takes up to 2.3 times as long.
  static LAMINA_INLINE Vec load_once(const T* p, std::size_t i = 0) {
    return load(p, i).loaded();
  }
  LAMINA_INLINE Vec loaded() const {
    Native v = value;
    asm("" : LAMINA_IN_REGISTER(v));
    return v;
  }
  LAMINA_INLINE void store(T* p, std::size_t i = 0) const {
    __builtin_memcpy(p + i, &value, sizeof value);
  }
  // Past the caches, to a border of registers; visible to others after a fence.
  LAMINA_INLINE void stream(T* p) const { native::stream(p, value); }
  // The first n lanes, 0 <= n < lanes; the others are zero, their memory not touched.
  static LAMINA_INLINE Vec load_first(const T* p, std::size_t n) {
    return native::load_first(p, n);
  }
  LAMINA_INLINE void store_first(T* p, std::size_t n) const {
    native::store_first(p, value, n);
  }

  friend LAMINA_INLINE Vec operator+(Vec a, Vec b) { return a.value + b.value; }
  friend LAMINA_INLINE Vec operator-(Vec a, Vec b) { return a.value - b.value; }
  friend LAMINA_INLINE Vec operator*(Vec a, Vec b) { return a.value * b.value; }
  friend LAMINA_INLINE Vec operator/(Vec a, Vec b) { return a.value / b.value; }
  friend LAMINA_INLINE Vec operator-(Vec a) { return -a.value; }
  friend LAMINA_INLINE Mask operator>(Vec a, Vec b) { return {a.value > b.value}; }
  friend LAMINA_INLINE Mask operator<(Vec a, Vec b) { return {a.value < b.value}; }
  friend LAMINA_INLINE Mask operator>=(Vec a, Vec b) { return {a.value >= b.value}; }
  friend LAMINA_INLINE Mask operator<=(Vec a, Vec b) { return {a.value <= b.value}; }
  friend LAMINA_INLINE Mask operator==(Vec a, Vec b) { return {a.value == b.value}; }
  friend LAMINA_INLINE Mask operator!=(Vec a, Vec b) { return {a.value != b.value}; }

  friend LAMINA_INLINE Vec select(Mask m, Vec a, Vec b) {
    return m.bits ? a.value : b.value;
  }
  // a*b + c, rounded once where the target has fma.
  friend LAMINA_INLINE Vec fma(Vec a, Vec b, Vec c) {
    return native::fma(a.value, b.value, c.value);
  }
  // NaN in the second argument comes out: write max(limit, x), never max(x, limit).
  friend LAMINA_INLINE Vec max(Vec a, Vec b) {
    return native::maximum(a.value, b.value);
  }
  friend LAMINA_INLINE Vec min(Vec a, Vec b) {
    return native::minimum(a.value, b.value);
  }
  friend LAMINA_INLINE Vec sqrt(Vec a) { return native::square_root(a.value); }
  friend LAMINA_INLINE Bits bits(Vec a) { return reinterpret_cast<Bits>(a.value); }
  friend LAMINA_INLINE Unsigned unsigned_bits(Vec a) {
    return reinterpret_cast<Unsigned>(a.value);
  }
  static LAMINA_INLINE Vec from_bits(Bits b) { return reinterpret_cast<Native>(b); }
  static LAMINA_INLINE Vec from_bits(Unsigned b) { return reinterpret_cast<Native>(b); }
  friend LAMINA_INLINE Vec abs(Vec a) { return from_bits(bits(a) & ~bits(Vec(-0.0))); }
  // -|a|, of which two operations would be made.
  friend LAMINA_INLINE Vec minus_abs(Vec a) {
    return from_bits(bits(a) | bits(Vec(-0.0)));
  }
  friend LAMINA_INLINE Vec copysign(Vec magnitude, Vec sign) {
    const Bits top = bits(Vec(-0.0));
    return from_bits((bits(magnitude) & ~top) | (bits(sign) & top));
  }
  // `result`, or x itself where x is NaN: for formulas whose comparisons would drop it.
  friend LAMINA_INLINE Vec keep_nan(Vec x, Vec result) {
    return select(x == x, result, x);
  }
};

// Two side by side: an operation is done with one, then with the other, so that chains
// of them stand beside each other in the code as they should in the processor. Of
// vectors or, again, of pairs.
template <class A, class B>
struct Pair {
  using Scalar = typename A::Scalar;
  struct Mask {
    typename A::Mask a;
    typename B::Mask b;
    friend LAMINA_INLINE Mask operator&(Mask x, Mask y) {
      return {x.a & y.a, x.b & y.b};
    }
    friend LAMINA_INLINE Mask operator|(Mask x, Mask y) {
      return {x.a | y.a, x.b | y.b};
    }
  };
  static constexpr std::size_t lanes = A::lanes + B::lanes;

  A a;
  B b;

  LAMINA_INLINE Pair(A first, B second) : a(first), b(second) {}
  LAMINA_INLINE Pair(Vec<Scalar> same) : a(same), b(same) {}
  LAMINA_INLINE Pair(double s) : a(s), b(s) {}
  // From p + i on, and to there. GCC counts i alone up, not each sum of the two.
  static LAMINA_INLINE Pair load(const Scalar* p, std::size_t i) {
    return {A::load(p, i), B::load(p, i + A::lanes)};
  }
  static LAMINA_INLINE Pair load_once(const Scalar* p, std::size_t i) {
    return {A::load_once(p, i), B::load_once(p, i + A::lanes)};
  }
  LAMINA_INLINE Pair loaded() const { return {a.loaded(), b.loaded()}; }
  LAMINA_INLINE void store(Scalar* p, std::size_t i) const {
    a.store(p, i);
    b.store(p, i + A::lanes);
  }

#define LAMINA_OPERATOR(Result, op)                         \
  friend LAMINA_INLINE Result operator op(Pair x, Pair y) { \
    return {x.a op y.a, x.b op y.b};                        \
  }
#define LAMINA_FUNCTION(f) \
  friend LAMINA_INLINE Pair f(Pair x) { return {f(x.a), f(x.b)}; }
#define LAMINA_FUNCTION_OF_TWO(f) \
  friend LAMINA_INLINE Pair f(Pair x, Pair y) { return {f(x.a, y.a), f(x.b, y.b)}; }
  LAMINA_OPERATOR(Pair, +)
  LAMINA_OPERATOR(Pair, -)
  LAMINA_OPERATOR(Pair, *)
  LAMINA_OPERATOR(Pair, /)
  LAMINA_OPERATOR(Mask, >)
  LAMINA_OPERATOR(Mask, <)
  LAMINA_OPERATOR(Mask, >=)
  LAMINA_OPERATOR(Mask, <=)
  LAMINA_OPERATOR(Mask, ==)
  LAMINA_OPERATOR(Mask, !=)
  LAMINA_FUNCTION(operator-)
  LAMINA_FUNCTION(abs)
  LAMINA_FUNCTION(minus_abs)
  LAMINA_FUNCTION(sqrt)
  LAMINA_FUNCTION_OF_TWO(max)
  LAMINA_FUNCTION_OF_TWO(min)
  LAMINA_FUNCTION_OF_TWO(copysign)
  LAMINA_FUNCTION_OF_TWO(keep_nan)
#undef LAMINA_OPERATOR
#undef LAMINA_FUNCTION
#undef LAMINA_FUNCTION_OF_TWO
  friend LAMINA_INLINE Pair select(Mask m, Pair x, Pair y) {
    return {select(m.a, x.a, y.a), select(m.b, x.b, y.b)};
  }
  friend LAMINA_INLINE Pair fma(Pair x, Pair y, Pair z) {
    return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)};
  }
};

// n of V.
template <class V, std::size_t n>
struct SideBySide {
  using type = Pair<V, typename SideBySide<V, n - 1>::type>;
};
template <class V>
struct SideBySide<V, 1> {
  using type = V;
};

// f of a vector, or of each of a pair.
template <class Function, class T, class... More>
LAMINA_INLINE Vec<T> each(Function f, Vec<T> x, More... more) {
  return f(x, more...);
}
template <class Function, class A, class B, class... More>
LAMINA_INLINE Pair<A, B> each(Function f, Pair<A, B> x, More... more) {
  return {each(f, x.a, more.a...), each(f, x.b, more.b...)};
}

// Half a register, for the end of a row: where 512 bits pass a unit of 256 in two turns
// (Zen 4), half of them take half the time.
constexpr bool half_registers = LAMINA_VECTOR_BYTES == 64;
template <class T>
struct HalfVec;
#if LAMINA_VECTOR_BYTES == 64
template <class T>
struct HalfVec {
  using Scalar = T;
  using Native = typename VecTraits<T>::Half;
  static constexpr std::size_t lanes = Vec<T>::lanes / 2;

  Native value;

  LAMINA_INLINE HalfVec(Native v) : value(v) {}
  LAMINA_INLINE HalfVec(T s) : value(s - Native{}) {}
  LAMINA_INLINE HalfVec(Vec<T> v) : value(native::lower_half(v.value)) {}
  static LAMINA_INLINE HalfVec load(const T* p) { return load_first(p, lanes); }
  LAMINA_INLINE void store(T* p) const { store_first(p, lanes); }
  static LAMINA_INLINE HalfVec load_first(const T* p, std::size_t n) {
    return native::load_half(p, n);
  }
  LAMINA_INLINE void store_first(T* p, std::size_t n) const {
    native::store_half(p, value, n);
  }
  friend LAMINA_INLINE HalfVec fma(HalfVec a, HalfVec b, HalfVec c) {
    return native::fma(a.value, b.value, c.value);
  }
};
#endif

// How far loops over the parts of Lanes are unrolled where they branch. In loops Clang
// keeps two parts in memory, for twice the time of rows of 33. Four, unrolled, would be
// 0.15 MB of code more, which is not worth the 5 to 8 % that GCC gains there.
constexpr int unrolled = LAMINA_VECTOR_BYTES > 16 ? 2 : 1;

// 64 bytes of accumulators on every target: sixteen float or eight double lanes, folded
// by one tree (lane i with lane i + half, halving), so that a reduction gives the same
// bits whatever the register width.
template <class T>
struct Lanes {
  static constexpr std::size_t count = 64 / sizeof(T);
  static constexpr std::size_t parts = 64 / LAMINA_VECTOR_BYTES;
  Vec<T> part[parts];

  static LAMINA_INLINE Lanes broadcast(T s) {
    Lanes r;
    for (std::size_t i = 0; i < parts; ++i) r.part[i] = Vec<T>(s);
    return r;
  }
  static LAMINA_INLINE Lanes load(const T* p) {
    Lanes r;
    for (std::size_t i = 0; i < parts; ++i)
      r.part[i] = Vec<T>::load(p + i * Vec<T>::lanes);
    return r;
  }
  // The first n <= count lanes from memory, `fill` in the others.
  static LAMINA_INLINE Lanes load_first(const T* p, std::size_t n, T fill) {
    Lanes r;
#pragma GCC unroll unrolled
    for (std::size_t i = 0; i < parts; ++i, p += Vec<T>::lanes) {
      const std::size_t own = of_part(n, i);
      r.part[i] =
          own == Vec<T>::lanes
              ? Vec<T>::load(p)
              : select(Vec<T>::first(own), Vec<T>::load_first(p, own), Vec<T>(fill));
    }
    return r;
  }
  // The first n <= count lanes, 0 in the others.
  LAMINA_INLINE Lanes first(std::size_t n) const {
    Lanes r;
#pragma GCC unroll unrolled
    for (std::size_t i = 0; i < parts; ++i) {
      const std::size_t own = of_part(n, i);
      r.part[i] = own == Vec<T>::lanes
                      ? part[i]
                      : select(Vec<T>::first(own), part[i], Vec<T>(0.0));
    }
    return r;
  }
  LAMINA_INLINE void store(T* p) const {
    for (std::size_t i = 0; i < parts; ++i) part[i].store(p + i * Vec<T>::lanes);
  }
  LAMINA_INLINE void store_first(T* p, std::size_t n) const {
#pragma GCC unroll unrolled
    for (std::size_t i = 0; i < parts; ++i, p += Vec<T>::lanes) {
      const std::size_t own = of_part(n, i);
      if (own == Vec<T>::lanes)
        part[i].store(p);
      else
        part[i].store_first(p, own);
    }
  }

 private:
  // How many of the first n lanes are in part i.
  static LAMINA_INLINE std::size_t of_part(std::size_t n, std::size_t i) {
    constexpr std::size_t lanes = Vec<T>::lanes;
    const std::size_t before = i * lanes;
    return n <= before ? 0 : n - before < lanes ? n - before : lanes;
  }
};

// r[i] = f(a[i], ...) part by part.
template <class T, class Function, class... More>
LAMINA_INLINE Lanes<T> map(Function f, const Lanes<T>& a, const More&... more) {
  Lanes<T> r;
  for (std::size_t i = 0; i < Lanes<T>::parts; ++i)
    r.part[i] = f(a.part[i], more.part[i]...);
  return r;
}

}  // namespace lamina::LAMINA_TARGET
