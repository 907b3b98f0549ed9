"""Fits the polynomials of csrc/simd/math.hpp and prints their tables.

Each is a weighted minimax fit (Lawson's reweighted least squares on Chebyshev nodes,
60 digits), its coefficients rounded one by one from the lowest power up, the rest
refitted after each, so that later ones make up for the rounding of earlier ones.
Deterministic. Run as `python tools/fit_math.py [name ...]`.
"""

import sys

import mpmath
from mpmath import mp

mp.dps = 60
PRECISION = {"float": 24, "double": 53}


def solve(matrix, right):
    """Gaussian elimination: far quicker than mpmath's on these small systems."""
    n = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(i + 1, n):
            factor = rows[r][i] / rows[i][i]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    x = [mp.zero] * n
    for i in reversed(range(n)):
        known = mpmath.fdot(rows[i][i + 1 : n], x[i + 1 :])
        x[i] = (rows[i][n] - known) / rows[i][i]
    return x


def least_squares(powers, values, weights):
    scaled = [[w * w * p for p, w in zip(column, weights, strict=True)] for column in powers]
    matrix = [[mpmath.fdot(s, column) for column in powers] for s in scaled]
    return solve(matrix, [mpmath.fdot(s, values) for s in scaled])


def fit(function, low, high, degree, bits, weight, rounds=12):
    """Coefficients c with c[0] + c[1] t + ... near function(t), and the largest error.

    The error is weight(t) * (polynomial - function)(t); each c has `bits` bits.
    """
    low, high = mp.mpf(low), mp.mpf(high)
    count = 6 * (degree + 2)
    nodes = [
        (low + high) / 2 + (high - low) / 2 * mpmath.cos(mp.pi * (2 * i + 1) / (2 * count))
        for i in range(count)
    ]
    values = [function(t) for t in nodes]
    goal = [weight(t) for t in nodes]
    powers = [[t**k for t in nodes] for k in range(degree + 1)]
    lawson = [mp.one] * count
    fixed = []
    rest = values
    for k in range(degree + 1):
        for _ in range(rounds if k == 0 else 3):
            weights = [g * mpmath.sqrt(s) for g, s in zip(goal, lawson, strict=True)]
            c = least_squares(powers[k:], rest, weights)
            error = [
                abs(g * (mpmath.fdot(c, column) - r))
                for g, r, column in zip(goal, rest, zip(*powers[k:], strict=True), strict=True)
            ]
            largest = max(error)
            if largest == 0:
                break
            lawson = [s * e / largest + mp.mpf(10) ** -6 for s, e in zip(lawson, error, strict=True)]
            total = sum(lawson)
            lawson = [s * count / total for s in lawson]
        with mp.workprec(bits):
            fixed.append(+c[0])
        rest = [r - fixed[-1] * p for r, p in zip(rest, powers[k], strict=True)]
    error = max(abs(g * r) for g, r in zip(goal, rest, strict=True))
    return fixed, error


def expm1_tail(r):
    """(expm1(r) - r) / r^2, by its series: no cancellation."""
    return mpmath.nsum(lambda k: r**k / mpmath.factorial(k + 2), [0, 40])


def log1p_tail(f):
    """(log1p(f) - f) / f^2"""
    with mp.workdps(120):
        return (mpmath.log1p(f) - f) / f**2 if abs(f) > 1e-25 else -mp.one / 2 + f / 3


def mills(a):
    return mpmath.exp(a * a / 2) * mpmath.erfc(a / mpmath.sqrt(2)) / 2


def tanh_tail(z):
    """(x - tanh x) / x^3 at x^2 = z"""
    with mp.workdps(120):
        x = mpmath.sqrt(z)
        return (x - mpmath.tanh(x)) / x**3


# name: function(t), interval of t, weight, degree by type
def tables():
    half_log2 = mpmath.log(2) / 2 + mp.mpf("1e-4")
    yield (
        "exp",
        lambda _: expm1_tail,
        lambda _: (-half_log2, half_log2),
        lambda _: lambda r: r**2 / mpmath.expm1(r),
        {"float": 4, "double": 9},
    )
    yield (
        "log1p",
        lambda _: log1p_tail,
        lambda _: (mpmath.sqrt(0.5) - 1, mpmath.sqrt(2) - 1),
        lambda _: lambda f: f**2 / mpmath.log1p(f),
        {"float": 8, "double": 19},
    )
    shift = {"float": mp.mpf(2), "double": mp.mpf("2.5")}
    reach = {"float": 15, "double": 39}
    centre = {"float": mp.mpf("1.125"), "double": mp.mpf("1.0625")}
    steep = {"float": 4, "double": 5}
    # a = 1/r - shift, t = steep r - centre
    yield (
        "mills",
        lambda T: lambda t: mills(steep[T] / (t + centre[T]) - shift[T]) * steep[T] / (t + centre[T]),
        lambda T: (
            steep[T] / (reach[T] + shift[T]) - centre[T],
            steep[T] / shift[T] - centre[T],
        ),
        lambda T: lambda t: 1 / (mills(steep[T] / (t + centre[T]) - shift[T]) * steep[T] / (t + centre[T])),
        {"float": 10, "double": 26},
    )
    yield (
        "tanh_shrink",
        lambda _: tanh_tail,
        lambda _: (mp.zero, mp.one),
        lambda _: lambda z: 1 / tanh_tail(z),
        {"float": 6, "double": 14},
    )


def main(names):
    for name, function, interval, weight, degrees in tables():
        if names and name not in names:
            continue
        for scalar, bits in PRECISION.items():
            low, high = interval(scalar)
            c, error = fit(function(scalar), low, high, degrees[scalar], bits, weight(scalar))
            print(f"// {name}, {scalar}: [{float(low):.6g}, {float(high):.6g}],"
                  f" degree {degrees[scalar]}, error 2^{float(mpmath.log(error, 2)):.1f}")
            print("{" + ", ".join(float(x).hex() for x in c) + "};", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
