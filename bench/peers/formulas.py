"""Activations as formulas, for the libraries that compile them into one pass.

`c` makes a constant of the type of the arrays; anything else is the library's own
function. Backward reads whichever of x and y makes it shortest.
"""

# Terms that come up more than once, for the compilers to compute once.
TANH = "tanh(x * (c(0.7978845608028654) + c(0.035677408136300125) * x * x))"
N = "(exp(x) * (exp(x) + c(2)))"

FORWARD = {
    "identity": "x",
    "sigmoid": "c(1) / (c(1) + exp(-x))",
    "log_sigmoid": "where(x < c(0), x, c(0)) - log1p(exp(-abs(x)))",
    "tanh": "tanh(x)",
    "relu": "where(x > c(0), x, c(0))",
    "relu6": "where(x > c(0), where(x < c(6), x, c(6)), c(0))",
    "leaky_relu": "where(x > c(0), x, c(0.01) * x)",
    "elu": "where(x > c(0), x, expm1(x))",
    "selu": "where(x > c(0), c(1.0507009873554805) * x, c(1.7580993408473769)"
    " * expm1(x))",
    "celu": "where(x > c(0), x, expm1(x))",
    "softplus": "where(x > c(0), x, c(0)) + log1p(exp(-abs(x)))",
    "softsign": "x / (c(1) + abs(x))",
    "silu": "x / (c(1) + exp(-x))",
    "gelu": "c(0.5) * x * (c(1) + erf(c(0.7071067811865476) * x))",
    "gelu_tanh": f"c(0.5) * x * (c(1) + {TANH})",
    "quick_gelu": "x / (c(1) + exp(c(-1.702) * x))",
    "mish": "x * tanh(log1p(exp(x)))",
    "hard_sigmoid": "where(x > c(-3), where(x < c(3), x / c(6) + c(0.5), c(1)), c(0))",
    "hard_swish": "where(x > c(-3), where(x < c(3), x * (x / c(6) + c(0.5)), x), c(0))",
    "hard_tanh": "where(x > c(-1), where(x < c(1), x, c(1)), c(-1))",
    "tanh_shrink": "x - tanh(x)",
    "soft_shrink": "where(x > c(0.5), x - c(0.5),"
    " where(x < c(-0.5), x + c(0.5), c(0)))",
    "hard_shrink": "where(abs(x) > c(0.5), x, c(0))",
    "squareplus": "c(0.5) * (x + sqrt(x * x + c(4)))",
    "smooth_clip": "x / sqrt(c(1) + (x / c(3)) * (x / c(3)))",
}

BACKWARD = {
    "identity": "dy",
    "sigmoid": "dy * y * (c(1) - y)",
    "log_sigmoid": "dy * (c(1) - exp(y))",
    "tanh": "dy * (c(1) - y * y)",
    "relu": "where(y > c(0), dy, c(0))",
    "relu6": "where(y > c(0), where(y < c(6), dy, c(0)), c(0))",
    "leaky_relu": "where(y > c(0), dy, c(0.01) * dy)",
    "elu": "where(y > c(0), dy, dy * (y + c(1)))",
    "selu": "where(y > c(0), c(1.0507009873554805) * dy,"
    " dy * (y + c(1.7580993408473769)))",
    "celu": "where(y > c(0), dy, dy * (y + c(1)))",
    "softplus": "dy * (c(1) - exp(-y))",
    "softsign": "dy * (c(1) - abs(y)) * (c(1) - abs(y))",
    "silu": "dy * (c(1) + x - y) / (c(1) + exp(-x))",
    "gelu": "dy * (c(0.5) + c(0.5) * erf(c(0.7071067811865476) * x)"
    " + c(0.3989422804014327) * x * exp(c(-0.5) * x * x))",
    "gelu_tanh": f"c(0.5) * dy * (c(1) + {TANH} + x * (c(1) - {TANH} * {TANH})"
    " * (c(0.7978845608028654) + c(0.10703222440890037) * x * x))",
    "quick_gelu": "dy * (c(1) + c(1.702) * (x - y)) / (c(1) + exp(c(-1.702) * x))",
    "mish": f"dy * ({N} + c(4) * x * exp(x) * (exp(x) + c(1)) / ({N} + c(2)))"
    f" / ({N} + c(2))",
    "hard_sigmoid": "where(abs(x) < c(3), dy / c(6), c(0))",
    "hard_swish": "where(x > c(-3), where(x < c(3), dy * (x / c(3) + c(0.5)), dy),"
    " c(0))",
    "hard_tanh": "where(abs(y) < c(1), dy, c(0))",
    "tanh_shrink": "dy * tanh(x) * tanh(x)",
    "soft_shrink": "where(abs(y) > c(0), dy, c(0))",
    "hard_shrink": "where(abs(y) > c(0), dy, c(0))",
    "squareplus": "dy * y * y / (c(1) + y * y)",
    "smooth_clip": "dy * (c(1) - (y / c(3)) * (y / c(3)))"
    " * sqrt(c(1) - (y / c(3)) * (y / c(3)))",
}
