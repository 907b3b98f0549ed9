// Every activation, once: what it says of itself, its forward, its derivative.
//
// x, y and `saved` are a target's Vec<float> or Vec<double>, or a Pair of them; the
// functions used on them (exp, select, ...) are found by argument-dependent lookup in
// simd/. `derivative`
// takes what `info.saves` names. NaN gives NaN, an infinity the limit, a kink the value
// stated here. The promises hold on every target, at the initial value of the
// parameter.
#pragma once

#include "activation_info.hpp"

namespace lamina {

struct Identity {
  static constexpr Info info{.name = "identity",
                             .formula = "x",
                             .saves = Saves::output,
                             .max_ulp = {0, 0},
                             .max_derivative_error = {0, 0},
                             .cycles = 0.07,
                             .loss = "mean_squared_error"};
  static auto forward(auto x) { return x; }
  static auto derivative(auto y) { return keep_nan(y, 1.0); }
};

struct Sigmoid {
  static constexpr Info info{.name = "sigmoid",
                             .formula = "1 / (1 + exp(-x))",
                             .saves = Saves::output,
                             .max_ulp = {2.5, 2.5},
                             .max_derivative_error = {2, 2},
                             .loss = "binary_crossentropy"};
  static auto forward(auto x) { return sigmoid(x); }
  static auto derivative(auto y) { return y * (1.0 - y); }
};

struct LogSigmoid {
  static constexpr Info info{.name = "log_sigmoid",
                             .formula = "-log(1 + exp(-x))",
                             .saves = Saves::output,
                             .max_ulp = {2.5, 2.5},
                             .max_derivative_error = {2, 2}};
  static auto forward(auto x) { return -softplus(-x); }
  static auto derivative(auto y) { return one_minus_exp(y); }
};

struct Tanh {
  static constexpr Info info{.name = "tanh",
                             .formula = "tanh(x)",
                             .saves = Saves::output,
                             .max_ulp = {3, 3},
                             .max_derivative_error = {6, 6}};
  static auto forward(auto x) { return tanh(x); }
  static auto derivative(auto y) { return (1.0 - y) * (1.0 + y); }
};

struct Relu {
  static constexpr Info info{.name = "relu",
                             .formula = "max(x, 0)",
                             .saves = Saves::output,
                             .max_ulp = {0, 0},
                             .max_derivative_error = {0, 0},
                             .cycles = 0.07,
                             .initializer = "he_normal"};
  // relu(-0.0) is 0.0, which max(0.0, x) would not give.
  static auto forward(auto x) { return select(x <= 0.0, 0.0, x); }
  static auto derivative(auto y) { return keep_nan(y, select(y > 0.0, 1.0, 0.0)); }
};

struct Relu6 {
  static constexpr Info info{.name = "relu6",
                             .formula = "min(max(x, 0), 6)",
                             .saves = Saves::output,
                             .max_ulp = {0, 0},
                             .max_derivative_error = {0, 0},
                             .cycles = 0.07,
                             .initializer = "he_normal"};
  static auto forward(auto x) { return min(6.0, Relu::forward(x)); }
  static auto derivative(auto y) {
    return keep_nan(y, select((y > 0.0) & (y < 6.0), 1.0, 0.0));
  }
};

struct LeakyRelu {
  static constexpr Info info{.name = "leaky_relu",
                             .formula = "x if x > 0 else negative_slope * x",
                             .saves = Saves::output_unless_negative,
                             .parameter = {"negative_slope", 0.01},
                             .max_ulp = {1, 1},
                             .max_derivative_error = {1, 1},
                             .cycles = 0.07,
                             .initializer = "he_normal"};
  double negative_slope = info.parameter.initial;
  auto forward(auto x) const {
    if (negative_slope == 0) return Relu::forward(x);  // not 0 * -inf
    return select(x > 0.0, x, x * negative_slope);
  }
  auto derivative(auto saved) const {
    return keep_nan(saved, select(saved > 0.0, 1.0, negative_slope));
  }
};

struct Elu {
  static constexpr Info info{.name = "elu",
                             .formula = "x if x > 0 else alpha * (exp(x) - 1)",
                             .saves = Saves::output_unless_negative,
                             .parameter = {"alpha", 1.0},
                             .max_ulp = {1.5, 1.5},
                             .max_derivative_error = {1, 1},
                             .initializer = "he_normal"};
  double alpha = info.parameter.initial;
  auto forward(auto x) const {
    if (alpha - alpha != 0) return select(x > 0.0, x, alpha * expm1(x));  // not 0 * inf
    return fma(expm1(x), alpha, max(0.0, x));
  }
  auto derivative(auto saved) const {
    if (alpha < 0) return select(saved > 0.0, 1.0, alpha * exp(saved));
    if (alpha == 1) return min(0.0, saved) + 1.0;
    return select(saved > 0.0, 1.0, saved + alpha);
  }
};

struct Selu {
  static constexpr Info info{
      .name = "selu",
      .formula = "scale * (x if x > 0 else alpha * (exp(x) - 1))",
      .saves = Saves::output,
      .max_ulp = {2.5, 3},
      .max_derivative_error = {3, 4},
      .initializer = "lecun_normal"};
  static constexpr double scale = 1.0507009873554804935;
  static constexpr double scaled_alpha = scale * 1.6732632423543772848;
  static auto forward(auto x) {
    // In two parts: the float next to `scale` lies above it and overflows too early.
    constexpr double high = 0x1.0cfap0;
    const auto above = max(0.0, x);
    return fma(above, high, fma(above, scale - high, scaled_alpha * expm1(x)));
  }
  static auto derivative(auto y) { return select(y > 0.0, scale, y + scaled_alpha); }
};

struct Celu {
  static constexpr Info info{.name = "celu",
                             .formula = "x if x > 0 else alpha * (exp(x / alpha) - 1)",
                             .saves = Saves::output,
                             .parameter = {"alpha", 1.0, Range::nonzero},
                             .max_ulp = {1.5, 1.5},
                             .max_derivative_error = {1, 1},
                             .initializer = "he_normal"};
  double alpha = info.parameter.initial;
  auto forward(auto x) const {
    const auto u = x / alpha;
    // expm1 is for u <= 0; e^u - 1 = -e^u (e^-u - 1)
    const auto grown = alpha > 0 ? expm1(u) : -expm1(-u) * exp(u);
    return select(x > 0.0, x, alpha * grown);
  }
  auto derivative(auto y) const { return min(0.0, y) / alpha + 1.0; }
};

struct Softplus {
  static constexpr Info info{.name = "softplus",
                             .formula = "log(1 + exp(beta * x)) / beta",
                             .saves = Saves::output,
                             .parameter = {"beta", 1.0, Range::positive},
                             .max_ulp = {2.5, 2.5},
                             .max_derivative_error = {2, 2},
                             .initializer = "he_normal"};
  double beta = info.parameter.initial;
  auto forward(auto x) const {
    return fma(softplus_excess(beta * x), 1 / beta, max(0.0, x));
  }
  auto derivative(auto y) const { return one_minus_exp(-beta * y); }
};

struct Softsign {
  static constexpr Info info{.name = "softsign",
                             .formula = "x / (1 + |x|)",
                             .saves = Saves::output,
                             .max_ulp = {2, 2},
                             .max_derivative_error = {3, 3},
                             .cycles = 0.07};
  static auto forward(auto x) {
    const auto finite = clamp(x, -1e30, 1e30);
    return finite / (1.0 + abs(finite));
  }
  static auto derivative(auto y) {
    const auto rest = 1.0 - abs(y);
    return rest * rest;
  }
};

struct Silu {
  static constexpr Info info{.name = "silu",
                             .formula = "x * sigmoid(x)",
                             .saves = Saves::input,
                             .max_ulp = {3, 3},
                             .max_derivative_error = {5, 5},
                             .initializer = "he_normal"};
  static auto forward(auto x) { return silu(x); }
  static auto derivative(auto x) {
    const auto c = clamp(x, -800.0, 60.0);  // beyond, the derivative is 0 or 1
    return times_sigmoid_derivative(c, c);
  }
};

struct Gelu {
  static constexpr Info info{.name = "gelu",
                             .formula = "x * Phi(x), Phi the normal distribution",
                             .saves = Saves::input,
                             .max_ulp = {4, 4},
                             .max_derivative_error = {4, 4},
                             .cycles = 2,
                             .initializer = "he_normal"};
  static auto forward(auto x) { return gelu(x); }
  static auto derivative(auto x) { return gelu_derivative(x); }
};

struct GeluTanh {
  static constexpr Info info{
      .name = "gelu_tanh",
      .formula = "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))",
      .saves = Saves::input,
      .max_ulp = {4, 4},
      .max_derivative_error = {6, 6},
      .initializer = "he_normal"};
  // The argument of the equal form x * sigmoid(u), and du/dx.
  static constexpr double linear = 1.5957691216057307117;  // 2 sqrt(2 / pi)
  static constexpr double cubic = linear * 0.044715;
  static auto forward(auto x) { return gelu_tanh(x); }
  static auto derivative(auto x) {
    const auto c = clamp(x, -22.0, 22.0);
    const auto square = c * c;
    const auto u = c * fma(square, cubic, linear);
    return times_sigmoid_derivative(c * fma(square, 3 * cubic, linear), u);
  }
};

struct QuickGelu {
  static constexpr Info info{.name = "quick_gelu",
                             .formula = "x * sigmoid(1.702 x)",
                             .saves = Saves::input,
                             .max_ulp = {4, 4},
                             .max_derivative_error = {5, 5},
                             .initializer = "he_normal"};
  static auto forward(auto x) { return quick_gelu(x); }
  static auto derivative(auto x) {
    const auto u = clamp(1.702 * x, -800.0, 60.0);
    return times_sigmoid_derivative(u, u);
  }
};

struct Mish {
  static constexpr Info info{.name = "mish",
                             .formula = "x * tanh(log(1 + exp(x)))",
                             .saves = Saves::input,
                             .max_ulp = {4, 4},
                             .max_derivative_error = {5, 5},
                             .initializer = "he_normal"};
  static auto forward(auto x) { return mish(x); }
  static auto derivative(auto x) { return mish_derivative(x); }
};

struct HardSigmoid {
  static constexpr Info info{.name = "hard_sigmoid",
                             .formula = "min(max(x / 6 + 1 / 2, 0), 1)",
                             .saves = Saves::input,
                             .max_ulp = {2, 2},
                             .max_derivative_error = {1, 1},
                             .cycles = 0.07};
  // x * (1 / 6) + 1 / 2 would be wrong in every digit just above -3.
  static auto forward(auto x) { return clamp(x + 3.0, 0.0, 6.0) * (1.0 / 6); }
  static auto derivative(auto x) {
    return keep_nan(x, select((x > -3.0) & (x < 3.0), 1.0 / 6, 0.0));
  }
};

struct HardSwish {
  static constexpr Info info{.name = "hard_swish",
                             .formula = "x * hard_sigmoid(x)",
                             .saves = Saves::input,
                             .max_ulp = {3, 3},
                             .max_derivative_error = {2, 2},
                             .cycles = 0.07,
                             .initializer = "he_normal"};
  static auto forward(auto x) {
    const auto c = max(-3.0, x);
    return c * (min(6.0, c + 3.0) * (1.0 / 6));
  }
  // 0 at -3, 1 at +3
  static auto derivative(auto x) {
    return select(x <= -3.0, 0.0, select(x >= 3.0, 1.0, x * (1.0 / 3) + 0.5));
  }
};

struct HardTanh {
  static constexpr Info info{.name = "hard_tanh",
                             .formula = "min(max(x, -1), 1)",
                             .saves = Saves::output,
                             .max_ulp = {0, 0},
                             .max_derivative_error = {0, 0},
                             .cycles = 0.07};
  static auto forward(auto x) { return clamp(x, -1.0, 1.0); }
  static auto derivative(auto y) {
    return keep_nan(y, select((y > -1.0) & (y < 1.0), 1.0, 0.0));
  }
};

struct TanhShrink {
  static constexpr Info info{.name = "tanh_shrink",
                             .formula = "x - tanh(x)",
                             .saves = Saves::input,
                             .max_ulp = {4, 4},
                             .max_derivative_error = {6, 6}};
  static auto forward(auto x) { return tanh_shrink(x); }
  static auto derivative(auto x) {
    const auto t = tanh(x);
    return t * t;
  }
};

struct SoftShrink {
  static constexpr Info info{.name = "soft_shrink",
                             .formula = "x - min(max(x, -threshold), threshold)",
                             .saves = Saves::output,
                             .parameter = {"threshold", 0.5, Range::nonnegative},
                             .max_ulp = {1, 1},
                             .max_derivative_error = {0, 0},
                             .cycles = 0.07};
  double threshold = info.parameter.initial;
  auto forward(auto x) const { return x - clamp(x, -threshold, threshold); }
  auto derivative(auto y) const { return keep_nan(y, select(y != 0.0, 1.0, 0.0)); }
};

struct HardShrink {
  static constexpr Info info{.name = "hard_shrink",
                             .formula = "x if |x| > threshold else 0",
                             .saves = Saves::output,
                             .parameter = {"threshold", 0.5, Range::nonnegative},
                             .max_ulp = {0, 0},
                             .max_derivative_error = {0, 0},
                             .cycles = 0.07};
  double threshold = info.parameter.initial;
  auto forward(auto x) const { return select(abs(x) <= threshold, 0.0, x); }
  auto derivative(auto y) const { return keep_nan(y, select(y != 0.0, 1.0, 0.0)); }
};

// relu where b = 0; b at most 2^66. Its root, and smooth_clip's, rounded right by fma
// from the processor's estimate (Goldschmidt, Markstein) leave the divider to the
// division, but keep the multipliers busy: 1.06 to 1.5 of the time on AVX-512, 1.2 to
// 1.6 on AVX2 (Zen 5); only double's on AVX-512 gain, 0.86 to 0.9.
struct Squareplus {
  static constexpr Info info{.name = "squareplus",
                             .formula = "(x + sqrt(x^2 + b)) / 2",
                             .saves = Saves::output,
                             .parameter = {"b", 4.0, Range::nonnegative},
                             .max_ulp = {3, 3},
                             .max_derivative_error = {3, 3},
                             .initializer = "he_normal"};
  static constexpr double huge = 0x1p60;  // has a square, beside which b is nothing
  double b = info.parameter.initial;
  auto forward(auto x) const {
    if (b == 0) return Relu::forward(x);
    const auto a = abs(x);
    const auto root = select(a > huge, a, sqrt(fma(a, a, b)));
    return select(x < 0.0, (0.25 * b) / (0.5 * a + 0.5 * root), 0.5 * x + 0.5 * root);
  }
  // x = y - b / (4 y), so y' = y / sqrt(x^2 + b) = y^2 / (y^2 + b / 4).
  auto derivative(auto y) const {
    if (b == 0) return Relu::derivative(y);
    const auto c = min(huge, y);
    return c * c / fma(c, c, 0.25 * b);
  }
};

// The identity where the limit is infinite.
struct SmoothClip {
  static constexpr Info info{.name = "smooth_clip",
                             .formula = "x / sqrt(1 + (x / limit)^2)",
                             .saves = Saves::output,
                             .parameter = {"limit", 3.0, Range::positive},
                             .max_ulp = {2.5, 2.5},
                             .max_derivative_error = {6, 6}};
  static constexpr double huge = 0x1p60;  // has a square, beside which 1 is nothing
  double limit = info.parameter.initial;
  // A divisor that is a normal number, as is its reciprocal.
  double scale = limit < 1 / huge ? 0x1p64 : limit > huge ? 0x1p-64 : 1;
  double divisor = limit * scale, reciprocal = 1 / divisor;
  auto by_limit(auto x) const { return quotient(x * scale, divisor, reciprocal); }
  // In every lane. A mask, since for a condition of one number GCC puts both registers
  // into memory and chooses an address.
  auto clips_nothing(auto x) const { return decltype(x)(limit) == __builtin_inf(); }
  auto forward(auto x) const {
    const auto z = by_limit(x);
    const auto clipped =
        select(abs(z) > huge, select(x < 0.0, -limit, limit), x / sqrt(fma(z, z, 1.0)));
    return select(clips_nothing(x), x, clipped);
  }
  // 1 / (1 + (x / limit)^2) = 1 - (y / limit)^2
  auto derivative(auto y) const {
    const auto z = by_limit(y);
    const auto rest = max(0.0, (1.0 - z) * (1.0 + z));
    return select(clips_nothing(y), keep_nan(y, 1.0), rest * sqrt(rest));
  }
};

using Activations = List<Identity, Sigmoid, LogSigmoid, Tanh, Relu, Relu6, LeakyRelu,
                         Elu, Selu, Celu, Softplus, Softsign, Silu, Gelu, GeluTanh,
                         QuickGelu, Mish, HardSigmoid, HardSwish, HardTanh, TanhShrink,
                         SoftShrink, HardShrink, Squareplus, SmoothClip>;

// Over whole rows: kernels of their own, here only what they say of themselves.
struct Softmax {
  static constexpr Info info{.name = "softmax",
                             .formula = "exp(x) / sum(exp(x))",
                             .saves = Saves::output,
                             .max_ulp = {4, 4},
                             .max_derivative_error = {4, 4},
                             .loss = "categorical_crossentropy"};
};
struct LogSoftmax {
  static constexpr Info info{.name = "log_softmax",
                             .formula = "x - log(sum(exp(x)))",
                             .saves = Saves::output,
                             .max_ulp = {4, 4},
                             .max_derivative_error = {4, 4}};
};
using RowActivations = List<Softmax, LogSoftmax>;

}  // namespace lamina
