// The inverse of the normal distribution function, of which initial weights are made:
// the same bits on every target, sse2 too, so that what is rounded is only what IEEE
// 754 rounds exactly: no fma.
#pragma once

#include "kernels/elementwise.hpp"

namespace lamina::LAMINA_TARGET {

// c[0] x^(n - 1) + ... + c[n - 1], from the highest power down.
template <std::size_t n>
LAMINA_INLINE Vec<double> horner_unfused(Vec<double> x, const double (&c)[n]) {
  Vec<double> sum = c[0];
  repeat<n - 1>([&](std::size_t i)
                    __attribute__((always_inline)) { sum = sum * x + c[i + 1]; });
  return sum;
}

// Of normal positive numbers.
LAMINA_INLINE Vec<double> log_unfused(Vec<double> x) {
  using V = Vec<double>;
  constexpr double terms[] = {2.0 / 23, 2.0 / 21, 2.0 / 19, 2.0 / 17,
                              2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9,
                              2.0 / 7,  2.0 / 5,  2.0 / 3,  2.0};  // 2 atanh(s) / s
  const V::Bits least = bits(V(0x1.6a09e667f3bcdp-1));             // sqrt(1/2)
  const V::Bits exponent = (bits(x) - least) >> 52;
  const V n(__builtin_convertvector(exponent, V::Native));
  const V m = V::from_bits(bits(x) - (exponent << 52));
  const V s = (m - 1.0) / (m + 1.0);
  return n * 0.6931471805599453 + s * horner_unfused(s * s, terms);
}

// Of p in [1e-11, 1 - 1e-11], relative error about 1e-15: Wichura's AS 241 (PPND16;
// Applied Statistics 37, 1988). His third branch, for still smaller p, cannot be
// reached from 32 random bits.
LAMINA_INLINE Vec<double> quantile(Vec<double> p) {
  using V = Vec<double>;
  constexpr double centre_over[] = {2.5090809287301226727e3, 3.3430575583588128105e4,
                                    6.7265770927008700853e4, 4.5921953931549871457e4,
                                    1.3731693765509461125e4, 1.9715909503065514427e3,
                                    1.3314166789178437745e2, 3.3871328727963666080e0};
  constexpr double centre_under[] = {5.2264952788528545610e3, 2.8729085735721942674e4,
                                     3.9307895800092710610e4, 2.1213794301586595867e4,
                                     5.3941960214247511077e3, 6.8718700749205790830e2,
                                     4.2313330701600911252e1, 1.0};
  constexpr double tail_over[] = {7.74545014278341407640e-4, 2.27238449892691845833e-2,
                                  2.41780725177450611770e-1, 1.27045825245236838258e0,
                                  3.64784832476320460504e0,  5.76949722146069140550e0,
                                  4.63033784615654529590e0,  1.42343711074968357734e0};
  constexpr double tail_under[] = {1.05075007164441684324e-9, 5.47593808499534494600e-4,
                                   1.51986665636164571966e-2, 1.48103976427480074590e-1,
                                   6.89767334985100004550e-1, 1.67638483018380384940e0,
                                   2.05319162663775882187e0,  1.0};
  const V q = p - 0.5, r = 0.180625 - q * q;
  const V centre = q * horner_unfused(r, centre_over) / horner_unfused(r, centre_under);
  const V end = sqrt(-log_unfused(min(p, 1.0 - p))) - 1.6;
  const V tail = horner_unfused(end, tail_over) / horner_unfused(end, tail_under);
  return select(abs(q) > 0.425, copysign(tail, q), centre);
}

[[gnu::flatten]] inline void normal_quantile(const double* p, double* x,
                                             std::size_t n) {
  // One vector a turn: its logarithm is not for a Pair.
  transform<false, 1>(x, n, [](Vec<double> v) { return quantile(v); }, p);
}

}  // namespace lamina::LAMINA_TARGET
