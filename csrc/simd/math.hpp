// Elementary functions on Vec<float> and Vec<double>, or Pair of them: V.
//
// One formula for all; the coefficients, weighted minimax fits, are printed by
// tools/fit_math.py with their errors. "Error" is the largest in ULP: over all float
// inputs on AVX-512, and over some thousand doubles (docs/accuracy.md). AVX2 and
// AVX-512 give the same bits for every input. SSE2 has no fused multiply-add, so
// nothing relies on one: products that must be exact have short factors, or go through
// product_rest. NaN in, NaN out; subnormal results are rounded once.
#pragma once

#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

template <class T>
struct Coefficients;

template <>
struct Coefficients<float> {
  // (lift + bias + 1) log 2: there Exponential's quotient has a numerator of 0.
  // limit * exp(-limit) rounds to 0, and exp(limit) to infinity.
  static constexpr double limit = 109.5;
  // There n = -2 bias, for which Exponential::scale has a factor of 0: what underflows
  // takes thrice as long on AVX2.
  static constexpr double vanished = 176;
  // Rounds to an integer when added; the low bits then hold it.
  static constexpr double whole = 0x1.8p23;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr std::int32_t upper_half = -0x1000;  // 12 bits of significand
  // log 2 = log2_high + log2_low; n * log2_high is exact.
  static constexpr double log2_high = 0x1.62e4p-1, log2_low = 0x1.7f7d1cp-20;
  static constexpr int lift = 31;                     // of Exponential's quotient
  static constexpr double gelu_tanh_reach = 10.885;   // u(reach) = limit there
  static constexpr double gelu_tanh_saturated = 5.5;  // and gelu_tanh(this) to itself
  static constexpr double saturated = 18;             // 1 + exp(-saturated) to 1
  static constexpr double exp[] = {0x1.fffffep-2, 0x1.5554bp-3, 0x1.555714p-5,
                                   0x1.12279p-7, 0x1.6b74b4p-10};
  static constexpr double log[] = {0x1.555502p-4, 0x1.99d1c6p-7, 0x1.1ec0cap-9,
                                   0x1.1ec71cp-11};
  // gelu(-tail_reach) rounds to 0; the fit ends at 14.3, where one quantum is left.
  static constexpr double tail_reach = 14.4, tail_shift = 2.5, tail_centre = 0.2265625;
  static constexpr double tail[] = {0x1.887a46p-1, 0x1.2b9772p1,  0x1.952fdp1,
                                    -0x1.18c6ep1,  -0x1.2635f4p3, 0x1.4c7268p3,
                                    0x1.b270dp4,   -0x1.1e9c1ap6, -0x1.f47b84p4,
                                    0x1.36ee04p8,  -0x1.d3847ep7};
  static constexpr double tanh_shrink[] = {
      0x1.555556p-2, -0x1.111134p-3, 0x1.ba1cecp-5,  -0x1.661678p-6,
      0x1.1f247cp-7, -0x1.af886p-9,  0x1.011326p-10, -0x1.4b787p-13};
  static constexpr double turn_high = 0x1.921fb6p2, turn_low = -0x1.777a5cp-23;
  static constexpr double turn[] = {-0x1.4abbcep5, 0x1.466ba6p6, -0x1.32cc18p6,
                                    0x1.4f512ap5, -0x1.b8a44cp3};
};

template <>
struct Coefficients<double> {
  static constexpr double limit = 752;
  static constexpr double vanished = 1418;
  static constexpr double whole = 0x1.8p52;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr std::int64_t upper_half = -0x8000000;  // 26 bits
  static constexpr double log2_high = 0x1.62e42fefap-1,
                          log2_low = 0x1.cf79abc9e3b3ap-40;
  static constexpr int lift = 62;
  static constexpr double gelu_tanh_reach = 21.585, gelu_tanh_saturated = 7.5;
  static constexpr double saturated = 38;
  static constexpr double exp[] = {0x1.0000000000005p-1,  0x1.5555555555541p-3,
                                   0x1.5555555552119p-5,  0x1.1111111116edp-7,
                                   0x1.6c16c17f2b47cp-10, 0x1.a01a0180dca3ap-13,
                                   0x1.a019a6ac30536p-16, 0x1.71de6c955d24bp-19,
                                   0x1.28a285f6d50cdp-22, 0x1.ae98812e95332p-26};
  static constexpr double log[] = {0x1.5555555555535p-4,  0x1.99999999a071ap-7,
                                   0x1.249249208f042p-9,  0x1.c71c741ad1f1ap-12,
                                   0x1.745cb44283772p-14, 0x1.3b1dd55151fd7p-16,
                                   0x1.10681c179bfbcp-18, 0x1.efd293749f0ddp-21,
                                   0x1.55cb56c155f4bp-23, 0x1.5c5f7ef41076ap-24};
  static constexpr double tail_reach = 38.7, tail_shift = 2.5, tail_centre = 0.22265625;
  static constexpr double tail[] = {
      0x1.83d2415c5a56fp-1, 0x1.2869dc8099f9fp1,   0x1.985e38c6779b8p1,
      -0x1.063643068acb1p1, -0x1.2c74bd3951c5bp3,  0x1.3872eb6a37d71p3,
      0x1.cea8c2d0d33bfp4,  -0x1.24fc79fa3cb4bp6,  -0x1.e901ae564872cp4,
      0x1.9cba6e2cc9bebp8,  -0x1.3a667b655656fp9,  -0x1.d12cc48f418a4p9,
      0x1.67659ebe56808p12, -0x1.1138eddc29fb9p13, -0x1.8230b80aabb56p13,
      0x1.5e42d0cffd97fp16, -0x1.5806841a3d9bcp17, -0x1.92833aefe4325p15,
      0x1.1d2b9e35151c9p20, -0x1.faca9d65dffdcp21, 0x1.52167e4c0b867p23,
      0x1.fef9e85632589p23, -0x1.b7a5d2be343b1p27, 0x1.46627a4638408p27,
      0x1.a40553c2c040cp30, -0x1.4a04e3ff7b564p30, -0x1.6d6fe02d7aefdp32};
  static constexpr double tanh_shrink[] = {
      0x1.5555555555555p-2,   -0x1.1111111111063p-3,  0x1.ba1ba1ba1026ep-5,
      -0x1.664f4880146a9p-6,  0x1.226e3506701acp-7,   -0x1.d6d3c2d029505p-9,
      0x1.7da2a3a411ff8p-10,  -0x1.3550e814e2572p-11, 0x1.f518ad6a7f3e1p-13,
      -0x1.9476efd5045a9p-14, 0x1.41a9f5d573963p-15,  -0x1.e891c7a06822bp-17,
      0x1.4c83602fdb136p-18,  -0x1.6dfb5d233f27fp-20, 0x1.15dee342ec3dep-22,
      -0x1.a61f57a86284fp-26};
  static constexpr double turn_high = 0x1.921fb54442d18p2,
                          turn_low = 0x1.1a62633145c07p-52;
  static constexpr double turn[] = {
      -0x1.4abbce625be53p5,  0x1.466bc6775ab24p6,  -0x1.32d2cce62eb0cp6,
      0x1.50783489d1184p5,   -0x1.e307513f34cfcp3, 0x1.e8f4caa32d0cep1,
      -0x1.6fd2917e98962p-1, 0x1.b4a0acfec42b2p-4, -0x1.4b3221cf149ecp-6};
};

template <class V>
using CoefficientsOf = Coefficients<typename V::Scalar>;

// c[First] + c[First + Step] x + c[First + 2 Step] x^2 + ..., by Horner's rule.
template <std::size_t First, std::size_t Step, class V, std::size_t N>
LAMINA_INLINE V horner(V x, const double (&c)[N]) {
  if constexpr (First + Step >= N)
    return c[First];
  else
    return fma(horner<First + Step, Step>(x, c), x, c[First]);
}

// c[0] + c[1] x + ...; a long one as two independent chains, for their latency.
template <class V, std::size_t N>
LAMINA_INLINE V polynomial(V x, const double (&c)[N]) {
  if constexpr (N <= 7) {
    return horner<0, 1>(x, c);
  } else {
    const V square = x * x;
    return fma(horner<1, 2>(square, c), x, horner<0, 2>(square, c));
  }
}

// NaN stays NaN.
template <class V>
LAMINA_INLINE V clamp(V x, double low, double high) {
  return min(high, max(low, x));
}

#if defined(__x86_64__) && !defined(__FMA__)
constexpr bool fused = false;
#else
constexpr bool fused = true;
#endif

// a * b - near, near being close to a * b: what rounding the product loses.
template <class V>
LAMINA_INLINE V product_rest(V a, V b, V near) {
  if constexpr (fused) return fma(a, b, -near);
  const auto upper_half = [](V x) {
    return each(
        [](auto v) __attribute__((always_inline)) {
          return decltype(v)::from_bits(bits(v) & CoefficientsOf<V>::upper_half);
        },
        x);
  };
  const V ah = upper_half(a), bh = upper_half(b), al = a - ah, bl = b - bh;
  return ((ah * bh - near) + (ah * bl + al * bh)) + al * bl;
}

// a * b + c as near as fma, on every target; infinite where a * b is.
template <class V>
LAMINA_INLINE V product_sum(V a, V b, V c) {
  if constexpr (fused) return fma(a, b, c);
  const V product = a * b, rest = product_rest(a, b, product);
  return product + (c + select(abs(rest) < abs(product), rest, 0.0));
}

// x / divisor, for normal numbers `divisor` and `reciprocal`, by what the rounded
// reciprocal leaves (Markstein, "Computation of elementary functions on the IBM RISC
// System/6000 processor", 1990): for loops that keep the divider busy anyway. Rounded
// as division does, but for quotients so small that what is left is subnormal, which
// may be off by a unit; infinite where the quotient is.
template <class V>
LAMINA_INLINE V quotient(V x, double divisor, double reciprocal) {
  if constexpr (!fused) return x / divisor;
  const V near = x * reciprocal;
  const V exact = fma(fma(-near, divisor, x), reciprocal, near);
  return select(abs(near) < __builtin_inf(), exact, near);
}

// exp(x) = 2^n (1 + q), not yet multiplied out: what is to be multiplied by an exp that
// may be subnormal goes into `times`, because multiplying after rounding to a subnormal
// loses bits (370 ULP in float64 silu). `held` is n + round, whose low bits are n +
// biases * bias: those of the exponent of 2^n for one, which power() takes as they are;
// scale() takes two powers of two, each of half of n, from two.
template <class V, int biases = 2>
struct Exponential {
  using C = CoefficientsOf<V>;
  static constexpr double round = C::whole + biases * C::bias;
  V q;     // expm1(r), r = x - n log 2
  V held;  // n + round

  LAMINA_INLINE V value() const { return scale(q + 1.0); }
  LAMINA_INLINE V times(V factor) const { return scale(fma(factor, q, factor)); }
  LAMINA_INLINE V times(V high, V low) const { return scale(high + fma(high, q, low)); }
  // exp(x) - 1, and its negative, for -bias < n <= bias
  LAMINA_INLINE V minus_one() const { return fma(power(), q, power() - 1.0); }
  LAMINA_INLINE V one_minus() const { return fma(-power(), q, -(power() - 1.0)); }
  // exp(x) = up / down, 2^lift (1 + q) and 2^(lift - n): normal numbers for x from -60
  // on, which a division rounds once, to a subnormal too; at limit `down` is 0.
  LAMINA_INLINE V up() const { return fma(q, lifted, lifted); }
  // factor up + other, a power of two: rounded once where n is small
  LAMINA_INLINE V up_plus(V other, double factor = 1) const {
    return fma(q, factor * lifted, factor * lifted + other);
  }
  LAMINA_INLINE V down() const {
    return each(
        [](auto n) __attribute__((always_inline)) {
          return decltype(n)::from_bits((top - bits(n)) << C::mantissa);
        },
        held);
  }

 private:
  static constexpr double lifted = 1ull << C::lift;
  static constexpr int top = C::lift + (1 + biases) * C::bias;

  // 2^n
  LAMINA_INLINE V power() const {
    static_assert(biases == 1);
    return each(
        [](auto n) __attribute__((always_inline)) {
          return decltype(n)::from_bits(bits(n) << C::mantissa);
        },
        held);
  }
  // a 2^n, rounded once; the two ways agree in every bit.
  LAMINA_INLINE V scale(V a) const {
    static_assert(biases == 2);
    return each(
        [](auto x, auto n) __attribute__((always_inline)) {
          using X = decltype(x);
#if defined(__AVX512F__) && LAMINA_VECTOR_BYTES == 64
          return X(native::scale(x.value, (n - round).value));
#else
          const auto twice = unsigned_bits(n), half = twice >> 1;
          return x * X::from_bits(half << C::mantissa) *
                 X::from_bits((twice - half) << C::mantissa);
#endif
        },
        a, held);
  }
};

// exp(r) - 1 for |r| <= 0.3467: r + r^2 P(r), P of degree 4 (float) or 9 (double),
// fitted for its relative error: 2^-26 or 2^-55.
template <class V>
LAMINA_INLINE V expm1_of_rest(V r) {
  const V p = polynomial(r, CoefficientsOf<V>::exp);  // before r^2, which would wait
  return fma(r * r, p, r);
}

// exp(high + low), -vanished <= high <= limit, |low| small against 1. With n = round(x
// / log 2) the rest is r = x - n log 2.
template <class V>
LAMINA_INLINE Exponential<V> exponential(V high, V low) {
  using C = CoefficientsOf<V>;
  constexpr double round = Exponential<V>::round;
  const V held = fma(high, 0x1.71547652b82fep0, round), n = held - round;
  const V r = fma(n, -C::log2_high, high) + fma(n, -C::log2_low, low);
  return {expm1_of_rest(r), held};
}
template <class V>
LAMINA_INLINE Exponential<V> exponential(V x) {
  using C = CoefficientsOf<V>;
  constexpr double round = Exponential<V>::round;
  const V held = fma(x, 0x1.71547652b82fep0, round), n = held - round;
  const V r = fma(n, -C::log2_low, fma(n, -C::log2_high, x));
  return {expm1_of_rest(r), held};
}
// For what is added to 1: a rounded log 2 shifts exp(x) by 2 exp(x) n 2^-30 only.
template <class V>
LAMINA_INLINE Exponential<V, 1> addend_exponential(V x) {
  constexpr double round = Exponential<V, 1>::round;
  const V held = fma(x, 0x1.71547652b82fep0, round);
  const V r = fma(held - round, -0x1.62e42fefa39efp-1, x);
  return {expm1_of_rest(r), held};
}

// Error 1.04 (float), 0.95 (double); for x <= 0 without a test for overflow.
template <class V>
LAMINA_INLINE V exp(V x) {
  using C = CoefficientsOf<V>;
  return exponential(clamp(x, -C::vanished, C::limit)).value();
}

template <class V>
LAMINA_INLINE V exp_nonpositive(V x) {
  return exponential(max(-CoefficientsOf<V>::vanished, x)).value();
}

// exp(x) - 1 for x <= 0; 0 for x > 0.
template <class V>
LAMINA_INLINE V expm1(V x) {
  return addend_exponential(clamp(x, -CoefficientsOf<V>::saturated, 0)).minus_one();
}
// 1 - exp(x), the negative of that, zeros' signs included.
template <class V>
LAMINA_INLINE V one_minus_exp(V x) {
  return addend_exponential(clamp(x, -CoefficientsOf<V>::saturated, 0)).one_minus();
}

// log(1 + e) = 2 atanh(u / 2) for u = 2 e / (2 + e), 0 <= e <= 1, so 0 <= u <= 2 / 3: u
// + u^3 R(u^2), R of degree 3 (float) or 9 (double), fitted for the relative error of
// all: 2^-27.7 or 2^-59.4. log(1 + e) = f + f^2 Q(f) on both sides of sqrt 2 needs
// degree 8 or 19 and two selections for the division.
template <class V>
LAMINA_INLINE V log1p_of(V u) {
  const V square = u * u;
  return fma(u * square, polynomial(square, CoefficientsOf<V>::log), u);
}

// x normal and positive: n log 2 + log(m), sqrt(1/2) <= m < sqrt 2, |u| <= 0.35. Error
// 2.0 (float), 2.0 (double), over some million numbers.
template <class T>
LAMINA_INLINE Vec<T> log(Vec<T> x) {
  using V = Vec<T>;
  using C = Coefficients<T>;
  const auto least = bits(V(0x1.6a09e6p-1));
  const auto exponent = (bits(x) - least) >> C::mantissa;
  const V n(__builtin_convertvector(exponent, typename V::Native));
  const V f = V::from_bits(bits(x) - (exponent << C::mantissa)) - 1.0;
  return fma(n, C::log2_high, fma(n, C::log2_low, log1p_of(f / fma(f, 0.5, 1.0))));
}

// log(1 + exp(-|x|)), the curved part of softplus(x) = max(0, x) + this. With exp(|x|)
// = p, u = 2 / (2 p + 1). Error of softplus 2.49 (float), 1.77 (double).
template <class V>
LAMINA_INLINE V softplus_excess(V x) {
  const auto p = exponential(min(CoefficientsOf<V>::limit, abs(x)));
  const V down = p.down();
  return log1p_of((down + down) / p.up_plus(down, 2));
}
template <class V>
LAMINA_INLINE V softplus(V x) {
  return max(0.0, x) + softplus_excess(x);
}

// 1 / (1 + exp(-x)). Error 2.44 (float), 1.78 (double).
template <class V>
LAMINA_INLINE V sigmoid(V x) {
  using C = CoefficientsOf<V>;
  const auto p = exponential(-clamp(x, -C::limit, C::saturated));
  return p.down() / p.up_plus(p.down());
}

// -t / (t + 2), t = expm1(-2 |x|). A float rational of degree 9/8 in x takes 0.76
// cycles on AVX-512; but its two Horner chains alone lose 4 ULP near |x| = 7, and a
// search over rounded coefficients did not get it under 5.1. Error 2.50 (float), 2.32
// (double).
template <class V>
LAMINA_INLINE V tanh(V x) {
  const V a = max(-CoefficientsOf<V>::saturated / 2, minus_abs(x));
  const V t = addend_exponential(a + a).minus_one();
  return copysign(t / (t + 2.0), x);
}

// x sigmoid(u), given exp(-u) and a finite x: where x or u was cut at the top, the
// product overflows or falls short of x, and `x` is the result.
template <class V>
LAMINA_INLINE V times_sigmoid(V x, V finite, Exponential<V> p) {
  return min(abs(x), finite * p.down() / p.up_plus(p.down()));
}

// x * sigmoid(x). Error 2.40 (float), 1.82 (double).
template <class V>
LAMINA_INLINE V silu(V x) {
  using C = CoefficientsOf<V>;
  const V finite = max(-C::limit, x);
  return times_sigmoid(x, finite, exponential(-min(C::saturated, finite)));
}

// x * sigmoid(1.702 x), 1.702 being the double. A once rounded argument would cost 77
// ULP (float) or 500 (double) in the tail. Error 2.70 (float), 1.80 (double).
template <class V>
LAMINA_INLINE V quick_gelu(V x) {
  using C = CoefficientsOf<V>;
  constexpr double factor = 1.702,
                   low = factor - static_cast<typename V::Scalar>(factor);
  const V finite = max(-C::limit / factor, x);
  const V a = min(C::saturated, finite);
  const V u = -factor * a;
  return times_sigmoid(x, finite,
                       exponential(u, product_rest(V(-factor), a, u) - low * a));
}

// x * sigmoid(u), u = x (linear + cubic x^2), the tanh form of gelu, 0.044715 being the
// double. A once rounded u would cost 215 ULP (float) or 890 (double) in the tail and
// save 14 % of the time. Error 2.74 (float), 1.84 (double).
template <class V>
LAMINA_INLINE V gelu_tanh(V x) {
  using C = CoefficientsOf<V>;
  // 2 sqrt(2 / pi), and that times 0.044715, each as a short number and the rest.
  constexpr double linear_high = 0x1.988p0, linear_low = 0x1.14cf50d942344p-14;
  constexpr double cubic_high = 0x1.244p-4, cubic_low = 0x1.3ca9362d2acfep-18;
  const V finite = max(-C::gelu_tanh_reach, x);
  const V a = min(C::gelu_tanh_saturated, finite);
  const V square = a * a;
  const V factor = fma(cubic_high + cubic_low, square, linear_high + linear_low);
  const V factor_rest =
      product_rest(V(cubic_high), square, factor - linear_high) +
      fma(cubic_high, product_rest(a, a, square), fma(cubic_low, square, linear_low));
  const V u = a * factor;
  const V u_rest = fma(a, factor_rest, product_rest(a, factor, u));
  return times_sigmoid(x, finite, exponential(-u, -u_rest));
}

// sigmoid(u) + w sigmoid(u) (1 - sigmoid(u)): the derivative of x sigmoid(u) where
// w = x du/dx, finite. 1 - sigmoid(u) is never formed, it would cancel.
template <class V>
LAMINA_INLINE V times_sigmoid_derivative(V w, V u) {
  const auto p = exponential(-clamp(u, -CoefficientsOf<V>::limit, 60));
  const V up = p.up(), down = p.down();
  const V d = 1.0 / (down + up);
  const V s = down * d;
  return fma(w * s, up * d, s);
}

// The normal distribution's upper tail at a = min(x, tail_reach), x >= 0 (beyond it,
// what underflows takes twice as long on AVX2; a limit of its own for the exponential
// would cost all others 1.01 to 1.12):
// 1 - Phi(a) = exp(-a^2 / 2) * ratio, the ratio (Mills', over sqrt(2 pi)) being
// r P(r - centre), r = 1 / (a + 2.5), P of degree 10 (float) or 26 (double). A rational
// P(a) / Q(a) of degree 4/5 or 10/11 is 0.3 cycles faster, but its Horner chains lose
// 3 ULP where their highest powers dominate. Fitted up to a = 14.3 or 38.7, for
// relative errors of 2^-27.4 and 2^-55.9.
template <class V>
struct NormalTail {
  V a;
  Exponential<V> density;
  V ratio, ratio_rest;
  V excess;  // of r, by rounding, relative to it; the ratio's is about 1.3 times
};
template <class V>
LAMINA_INLINE NormalTail<V> normal_tail(V x) {
  using C = CoefficientsOf<V>;
  const V a = min(C::tail_reach, x);
  const V half = -0.5 * a, square = half * a;
  const V sum = a + C::tail_shift;
  const V sum_rest = a - (sum - C::tail_shift);
  const V r = 1.0 / sum;
  // Not const, and its owner below neither: GCC 12 would keep them in memory.
  auto density = exponential(square, product_rest(half, a, square));
  const V p = polynomial(r - C::tail_centre, C::tail);
  const V ratio = r * p;
  return {a, density, ratio, product_rest(r, p, ratio),
          fma(r, sum_rest, product_rest(r, sum, V(1.0)))};
}

// x - tanh(x): x^3 S(x^2) below 1, S of degree 7 (float) or 15 (double), fitted to
// 2^-25.0 or 2^-54.0. Error 3.77 (float), 2.27 (double).
template <class V>
LAMINA_INLINE V tanh_shrink(V x) {
  using C = CoefficientsOf<V>;
  const V a = abs(x);
  const V square = x * x;
  const V small = a * (square * polynomial(square, C::tanh_shrink));
  const V half = min(C::saturated / 2, a);
  const auto p = addend_exponential(half + half);
  const V down = p.down();
  const V large = (a - 1.0) + (down + down) / p.up_plus(down);
  return copysign(select(a < 1.0, small, large), x);
}

// x * Phi(x), Phi by its tail, whose relative error stays small: for x < 0 nothing
// cancels, and for x > 0 the tail is at most half of x. Error 3.87 (float), 2.63
// (double).
template <class V>
LAMINA_INLINE V gelu(V x) {
  auto tail = normal_tail(abs(x));
  tail.density.q = fma(tail.excess, -1.3, tail.density.q);
  const V product = tail.a * tail.ratio;
  V rest = product_rest(tail.a, tail.ratio, product);
  if constexpr (!fused) rest = fma(tail.a, tail.ratio_rest, rest);  // 4.4 ULP else
  return max(0.0, x) - tail.density.times(product, rest);
}

// Phi(x) + x phi(x)
template <class V>
LAMINA_INLINE V gelu_derivative(V x) {
  auto tail = normal_tail(abs(x));  // not const, see there
  const V density = tail.density.value();
  const V upper = density * tail.ratio;
  constexpr double inverse_root = 0.39894228040143267794;  // 1 / sqrt(2 pi)
  return fma(copysign(tail.a, x), density * inverse_root,
             select(x > 0.0, 1.0 - upper, upper));
}

// x * tanh(softplus(x)), one exp and one division. With exp(-x) = up / down and
// g = down (down + 2 up): x g / (g + 2 up^2). Error 3.32 (float), 2.15 (double).
template <class V>
LAMINA_INLINE V mish(V x) {
  using C = CoefficientsOf<V>;
  const V finite = max(-C::limit, x);
  const auto p = exponential(-min(C::saturated, finite));
  const V up = p.up(), down = p.down(), twice = up + up;
  const V g = down * (down + twice);
  const V scaled = finite * down;  // exact; finite * g loses 0.9 ULP more
  return min(abs(x),
             product_sum(scaled, twice, scaled * down) / product_sum(up, twice, g));
}

// t + x s (1 - t^2), t = tanh(softplus(x)) = g / (g + 2 up^2) as above, s = sigmoid(x):
// s (1 - t^2) = 4 up^2 down (down + up) / (g + 2 up^2)^2.
template <class V>
LAMINA_INLINE V mish_derivative(V x) {
  using C = CoefficientsOf<V>;
  const V c = clamp(x, -C::limit, C::saturated);
  const auto p = exponential(-c);
  const V up = p.up(), down = p.down(), twice = up + up;
  const V g = down * (down + twice);
  const V d = 1.0 / fma(up, twice, g);
  const V slope = c * (down * (down + up) * d);
  return fma(slope, twice * twice * d, g * d);
}

// sin(2 pi t), |t| <= 1/4
template <class T>
LAMINA_INLINE Vec<T> sine_of_quarter(Vec<T> t) {
  using C = Coefficients<T>;
  const Vec<T> square = t * t, rest = polynomial(square, C::turn);
  return fma(t, C::turn_high, t * fma(square, rest, C::turn_low));
}

// |u| less the nearest integer, exact; NaN for infinity.
template <class T>
LAMINA_INLINE Vec<T> part_of_turn(Vec<T> u) {
  constexpr double whole = 1ull << Coefficients<T>::mantissa;  // from here on all are
  const Vec<T> size = abs(u), near = min(whole, size);
  return fma(size, 0.0, near - ((near + whole) - whole));
}

// cos(2 pi u) and sin(2 pi u) for every u: at most 2.2 ULP off, 3.1 without fma.
template <class T>
LAMINA_INLINE Vec<T> cos_of_turns(Vec<T> u) {
  return sine_of_quarter(0.25 - abs(part_of_turn(u)));
}
template <class T>
LAMINA_INLINE Vec<T> sin_of_turns(Vec<T> u) {
  const Vec<T> part = part_of_turn(u), size = abs(part);
  const Vec<T> sine = sine_of_quarter(copysign(min(0.5 - size, size), part));
  return Vec<T>::from_bits(bits(sine) ^ (bits(u) & bits(Vec<T>(-0.0))));
}

}  // namespace lamina::LAMINA_TARGET
