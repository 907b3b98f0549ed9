// Elementary functions on Vec<float> and Vec<double>.
//
// One formula for both types; degrees and coefficients come from Coefficients<T>,
// printed by tools/fit_math.py. AVX2 and AVX-512 give the same bits for every input.
// SSE2 has no fused multiply-add, so nothing here relies on the exactness of a product,
// except where the factors are short enough. NaN in, NaN out; subnormal results are
// right to the last bit that a single rounding allows.
#pragma once

#include "vec.hpp"

namespace lamina::LAMINA_TARGET {

template <class T>
struct Coefficients;

template <>
struct Coefficients<float> {
  // exp(-limit) * limit is 0, and 2 * limit is no overflow of the exponent's
  // arithmetic.
  static constexpr double limit = 110;
  // Rounds to an integer n when added; the low bits then hold n + 2 * exponent bias.
  static constexpr double round = 0x1.8p23 + 254;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr std::int32_t upper_half = -0x1000;  // 12 bits of significand
  // log 2 = log2_high + log2_low; n * log2_high is exact.
  static constexpr double log2_high = 0x1.62e4p-1, log2_low = 0x1.7f7d1cp-20;
  static constexpr double saturated = 18;  // expm1(-saturated) rounds to -1
  static constexpr double exp[] = {0x1.fffffep-2, 0x1.5554bp-3, 0x1.555714p-5,
                                   0x1.12279p-7, 0x1.6b74b4p-10};
  static constexpr double log1p[] = {-0x1.fffff8p-2, 0x1.55555p-2,  -0x1.00043p-2,
                                     0x1.99a40ap-3,  -0x1.54263p-3, 0x1.227p-3,
                                     -0x1.0f3e36p-3, 0x1.085166p-3, -0x1.38258cp-4};
  static constexpr double tail_reach = 15, tail_shift = 2, tail_slope = 4,
                          tail_centre = 1.125;
  static constexpr double tail[] = {0x1.6dad2ep-1,   0x1.58f8ep-2,    0x1.ef0854p-7,
                                    -0x1.26cfcep-5,  0x1.a93b8ap-9,   0x1.4f7224p-8,
                                    -0x1.34c9cap-9,  -0x1.911ce2p-13, 0x1.4e2d62p-11,
                                    -0x1.0cd8d8p-13, -0x1.46d828p-14};
  static constexpr double tanh_shrink[] = {
      0x1.555554p-2, -0x1.111002p-3, 0x1.b9d5f6p-5, -0x1.62e4dap-6,
      0x1.0d5e9ep-7, -0x1.493a32p-9, 0x1.b996dp-12};
};

template <>
struct Coefficients<double> {
  static constexpr double limit = 760;
  static constexpr double round = 0x1.8p52 + 2046;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr std::int64_t upper_half = -0x8000000;  // 26 bits
  static constexpr double log2_high = 0x1.62e42fefap-1,
                          log2_low = 0x1.cf79abc9e3b3ap-40;
  static constexpr double saturated = 38;
  static constexpr double exp[] = {0x1.0000000000005p-1,  0x1.5555555555541p-3,
                                   0x1.5555555552119p-5,  0x1.1111111116edp-7,
                                   0x1.6c16c17f2b47cp-10, 0x1.a01a0180dca3ap-13,
                                   0x1.a019a6ac30536p-16, 0x1.71de6c955d24bp-19,
                                   0x1.28a285f6d50cdp-22, 0x1.ae98812e95332p-26};
  static constexpr double log1p[] = {
      -0x1.0000000000003p-1, 0x1.555555555551ap-2,  -0x1.fffffffffdef3p-3,
      0x1.99999999a1c04p-3,  -0x1.55555556e1963p-3, 0x1.249249222d08ap-3,
      -0x1.fffffef7160edp-4, 0x1.c71c71e257a3ap-4,  -0x1.9999c8fe5a159p-4,
      0x1.745d43f07cb5dp-4,  -0x1.5550747de48c5p-4, 0x1.3b0ade70853dcp-4,
      -0x1.24dc5ba5a7bb2p-4, 0x1.11d746edac2acp-4,  -0x1.fb6ba758dff46p-5,
      0x1.cfc02eebb9921p-5,  -0x1.d170a52f32ba2p-5, 0x1.0b4e860b784eap-4,
      -0x1.eaff005fba4c6p-5, 0x1.ab7d8238ba1edp-6};
  static constexpr double tail_reach = 39, tail_shift = 2.5, tail_slope = 5,
                          tail_centre = 1.0625;
  static constexpr double tail[] = {
      0x1.77f2f4e609f37p-1,  0x1.ccde35a8b2f9bp-2,   0x1.09fc12fcfe6edp-3,
      -0x1.b28b472525a45p-7, -0x1.01e391beeb40fp-6,  0x1.4912011912310p-9,
      0x1.1d315af0b1a18p-9,  -0x1.d018209b504f8p-11, -0x1.7d42afcb21e25p-13,
      0x1.f893bc182e636p-13, -0x1.9f1d9387720ecp-15, -0x1.23450d161f737p-15,
      0x1.cf596e43e7313p-16, -0x1.452989fd269aap-18, -0x1.352a48f63dcf9p-18,
      0x1.0002661cf1062p-18, -0x1.facc01a25943bp-21, -0x1.ee762366facd0p-22,
      0x1.2d7f433a88b50p-21, -0x1.3c491967f5d37p-22, 0x1.656ec4b7541a7p-26,
      0x1.32d3e7a782ef0p-23, -0x1.8b8edef78a642p-24, -0x1.8fceef60815b7p-26,
      0x1.15845d1e97f81p-25, 0x1.784aec52d9160p-31,  -0x1.1ebcca3eaaddap-28};
  static constexpr double tanh_shrink[] = {
      0x1.5555555555554p-2,   -0x1.1111111110d2cp-3,  0x1.ba1ba1b9d58f7p-5,
      -0x1.664f4872c872fp-6,  0x1.226e33707a300p-7,   -0x1.d6d38865f1cbbp-9,
      0x1.7d9fe4bbb90c8p-10,  -0x1.353a3d79bf6edp-11, 0x1.f41035f8519bdp-13,
      -0x1.90235118d69a4p-14, 0x1.349b3dad3bb48p-15,  -0x1.b04646377ed9cp-17,
      0x1.eff576352bcf7p-19,  -0x1.8c05dad9aed20p-21, 0x1.3db05e26935c4p-24};
};

// c[First] + c[First + Step] x + c[First + 2 Step] x^2 + ..., by Horner's rule.
template <std::size_t First, std::size_t Step, class V, std::size_t N>
LAMINA_INLINE V horner(V x, const double (&c)[N]) {
  if constexpr (First + Step >= N)
    return c[First];
  else
    return fma(horner<First + Step, Step>(x, c), x, V(c[First]));
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
template <class T>
LAMINA_INLINE Vec<T> clamp(Vec<T> x, double low, double high) {
  return min(high, max(low, x));
}

// The upper half of the significand, so that a product of two such is exact.
template <class T>
LAMINA_INLINE Vec<T> upper_half(Vec<T> x) {
  return Vec<T>::from_bits(bits(x) & Coefficients<T>::upper_half);
}

// exp(x) = 2^n (1 + q), not yet multiplied out: what is to be multiplied by an exp that
// may be subnormal goes into `times`, because multiplying after rounding to a subnormal
// loses bits (370 ULP in float64 silu).
template <class T>
struct Exponential {
  using V = Vec<T>;
  using C = Coefficients<T>;
  V q;        // expm1(r), r = x - n log 2
  V shifted;  // n + C::round

  LAMINA_INLINE V value() const { return scale(q + 1.0); }
  LAMINA_INLINE V times(V factor) const { return scale(fma(factor, q, factor)); }
  // 2^n, for -bias < n <= bias
  LAMINA_INLINE V power() const {
    return V::from_bits((bits(shifted) - C::bias) << C::mantissa);
  }

 private:
  // a 2^n, rounded once; the two ways agree in every bit.
  LAMINA_INLINE V scale(V a) const {
#if defined(__AVX512F__) && LAMINA_VECTOR_BYTES == 64
    return native::scale(a.value, (shifted - C::round).value);
#else
    using Unsigned = decltype(unsigned_bits(T{}));
    const auto twice = reinterpret_cast<Unsigned>(bits(shifted));  // n + 2 bias below
    const Unsigned half = twice >> 1;
    const auto power_of = [](Unsigned biased) {
      return V(reinterpret_cast<typename V::Native>(biased << C::mantissa));
    };
    return a * power_of(half) * power_of(twice - half);
#endif
  }
  using U32 = std::uint32_t __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  using U64 = std::uint64_t __attribute__((vector_size(LAMINA_VECTOR_BYTES)));
  static U32 unsigned_bits(float);
  static U64 unsigned_bits(double);
};

// exp(high + low), |high| <= limit, |low| small against 1. With n = round(x / log 2)
// the rest |r| <= 0.3466; q = r + r^2 P(r), P of degree 4 (float) or 9 (double), fitted
// for the relative error of q.
template <class T>
LAMINA_INLINE Exponential<T> exponential(Vec<T> high, Vec<T> low) {
  using V = Vec<T>;
  using C = Coefficients<T>;
  const V shifted = fma(high, V(0x1.71547652b82fep0), V(C::round));
  const V n = shifted - C::round;
  const V r = fma(n, V(-C::log2_high), high) + fma(n, V(-C::log2_low), low);
  return {fma(r * r, polynomial(r, C::exp), r), shifted};
}
template <class T>
LAMINA_INLINE Exponential<T> exponential(Vec<T> x) {
  using V = Vec<T>;
  using C = Coefficients<T>;
  const V shifted = fma(x, V(0x1.71547652b82fep0), V(C::round));
  const V n = shifted - C::round;
  const V r = fma(n, V(-C::log2_low), fma(n, V(-C::log2_high), x));
  return {fma(r * r, polynomial(r, C::exp), r), shifted};
}

template <class T>
LAMINA_INLINE Vec<T> exp(Vec<T> x) {
  using C = Coefficients<T>;
  return exponential(clamp(x, -C::limit, C::limit)).value();
}

// exp(x) - 1 for x <= 0; 0 for x > 0.
template <class T>
LAMINA_INLINE Vec<T> expm1(Vec<T> x) {
  const auto e = exponential(clamp(x, -Coefficients<T>::saturated, 0));
  const Vec<T> power = e.power();
  return fma(power, e.q, power - 1.0);
}

// log(1 + e) for 0 <= e <= 1.
template <class T>
LAMINA_INLINE Vec<T> log1p(Vec<T> e) {
  using V = Vec<T>;
  const auto large = e > 0x1.a82799fcef316p-2;  // sqrt 2 - 1: then (1 + e) / 2 - 1
  const V f = select(large, fma(e, V(0.5), V(-0.5)), e);
  const V log = fma(f * f, polynomial(f, Coefficients<T>::log1p), f);
  return log + select(large, V(0x1.62e42fefa39efp-1), V(0.0));
}

// log(1 + exp(x)) = softplus(x), without overflow and without a threshold.
template <class T>
LAMINA_INLINE Vec<T> softplus(Vec<T> x) {
  return max(0.0, x) + log1p(exp(-abs(x)));
}

template <class T>
LAMINA_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> e = exp(-abs(x));
  return select(x < 0.0, e, 1.0) / (1.0 + e);
}

template <class T>
LAMINA_INLINE Vec<T> tanh(Vec<T> x) {
  const Vec<T> t = expm1(-2.0 * abs(x));
  return copysign(t / (t + 2.0), x);
}

// x * sigmoid(u), x and u of one sign; 0 at -inf. One division.
template <class T>
LAMINA_INLINE Vec<T> times_sigmoid(Vec<T> x, Vec<T> u) {
  using C = Coefficients<T>;
  const auto e = exponential(max(-C::limit, -abs(u)));
  const Vec<T> factor = max(-C::limit, x);
  return select(u < 0.0, e.times(factor), factor) / (1.0 + e.value());
}

// sigmoid(u) + w sigmoid(u) (1 - sigmoid(u)): the derivative of x sigmoid(u) where
// w = x du/dx. 1 - sigmoid(u) is never formed, it would cancel.
template <class T>
LAMINA_INLINE Vec<T> times_sigmoid_derivative(Vec<T> w, Vec<T> u) {
  const Vec<T> e = exp(-abs(u));
  const Vec<T> d = 1.0 / (1.0 + e);
  return d * fma(w * e, d, select(u < 0.0, e, 1.0));
}

// The normal distribution's upper tail at a = min(x, tail_reach), x >= 0, as a product:
// 1 - Phi(a) = density * ratio with density = exp(-a^2 / 2).
template <class T>
struct NormalTail {
  Vec<T> a;
  Exponential<T> density;
  Vec<T> ratio;
};
template <class T>
LAMINA_INLINE NormalTail<T> normal_tail(Vec<T> x) {
  using V = Vec<T>;
  using C = Coefficients<T>;
  const V a = min(C::tail_reach, x);
  const V head = upper_half(a);
  const V r = 1.0 / (a + C::tail_shift);
  const V t = fma(r, V(C::tail_slope), V(-C::tail_centre));
  return {a, exponential(-0.5 * head * head, -0.5 * (a - head) * (a + head)),
          r * polynomial(t, C::tail)};
}

// x - tanh(x)
template <class T>
LAMINA_INLINE Vec<T> tanh_shrink(Vec<T> x) {
  using V = Vec<T>;
  using C = Coefficients<T>;
  const V a = abs(x);
  const V square = x * x;
  const V small = a * (square * polynomial(square, C::tanh_shrink));
  const V large = (a - 1.0) + 2.0 / (exp(2.0 * a) + 1.0);
  return copysign(select(a < 1.0, small, large), x);
}

// x * tanh(softplus(x)), one exp and one division. With e = exp(-|x|):
//   x < 0: x e (e + 2) / (e (e + 2) + 2)     x >= 0: x (1 + 2 e) / (1 + 2 e + 2 e^2)
template <class T>
LAMINA_INLINE Vec<T> mish(Vec<T> x) {
  using V = Vec<T>;
  using C = Coefficients<T>;
  const V factor = max(-C::limit, x);
  const auto power = exponential(max(-C::limit, -abs(x)));
  const V e = power.value();
  const auto negative = x < 0.0;
  const V inner = select(negative, e + 2.0, fma(V(2.0), e, V(1.0)));
  const V above = select(negative, power.times(factor), factor) * inner;
  const V below =
      fma(select(negative, e, 1.0), inner, select(negative, 2.0, 2.0 * (e * e)));
  return above / below;
}

// t + x s (1 - t^2), t = tanh(softplus(x)), s = sigmoid(x).
template <class T>
LAMINA_INLINE Vec<T> mish_derivative(Vec<T> x) {
  using V = Vec<T>;
  const V c = clamp(x, -Coefficients<T>::limit, Coefficients<T>::limit);
  const V e = exp(-abs(c));
  const auto negative = c < 0.0;
  const V inner = select(negative, e + 2.0, fma(V(2.0), e, V(1.0)));
  const V above = select(negative, e, 1.0) * inner;
  const V below = above + select(negative, 2.0, 2.0 * (e * e));
  const V d = 1.0 / below;
  const V slope = select(negative, 4.0, 4.0 * e) * e * (1.0 + e);
  return d * fma(c * slope, d, above);
}

}  // namespace lamina::LAMINA_TARGET
