"""Fits the polynomials of csrc/simd/math.hpp and prints their tables.

Each is a weighted minimax fit (Lawson's reweighted least squares on Chebyshev nodes,
60 digits), its coefficients rounded one by one from the lowest power up, the rest
refitted after each, so that later ones make up for the rounding of earlier ones.
Deterministic. Run as `python tools/fit_math.py [name ...]`.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import mpmath
from mpmath import mp

mp.dps = 60
Number = Any  # mpmath.mpf, which has no stubs
Function = Callable[[Number], Number]

PRECISION = {"float": 24, "double": 53}


def solve(matrix: list[list[Number]], right: list[Number]) -> list[Number]:
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


def least_squares(
    powers: list[list[Number]], values: list[Number], weights: list[Number]
) -> list[Number]:
    scaled = [
        [w * w * p for p, w in zip(column, weights, strict=True)] for column in powers
    ]
    matrix = [[mpmath.fdot(s, column) for column in powers] for s in scaled]
    return solve(matrix, [mpmath.fdot(s, values) for s in scaled])


def fit(
    function: Function,
    interval: tuple[Number, Number],
    degree: int,
    bits: int,
    weight: Function,
    rounds: int = 12,
) -> tuple[list[Number], Number]:
    """Coefficients c with c[0] + c[1] t + ... near function(t), and the largest error.

    The error is weight(t) * (polynomial - function)(t); each c has `bits` bits.
    """
    low, high = (mp.mpf(end) for end in interval)
    count = 6 * (degree + 2)
    nodes = [
        (low + high) / 2
        + (high - low) / 2 * mpmath.cos(mp.pi * (2 * i + 1) / (2 * count))
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
                for g, r, column in zip(
                    goal, rest, zip(*powers[k:], strict=True), strict=True
                )
            ]
            largest = max(error)
            if largest == 0:
                break
            lawson = [
                s * e / largest + mp.mpf(10) ** -6
                for s, e in zip(lawson, error, strict=True)
            ]
            total = sum(lawson)
            lawson = [s * count / total for s in lawson]
        with mp.workprec(bits):
            fixed.append(+c[0])
        rest = [r - fixed[-1] * p for r, p in zip(rest, powers[k], strict=True)]
    error = max(abs(g * r) for g, r in zip(goal, rest, strict=True))
    return fixed, error


def expm1_tail(r: Number) -> Number:
    """(expm1(r) - r) / r^2, by its series: no cancellation."""
    return mpmath.nsum(lambda k: r**k / mpmath.factorial(k + 2), [0, 40])


def log_tail(z: Number) -> Number:
    """(2 atanh(u / 2) - u) / u^3 at u^2 = z"""
    with mp.workdps(120):
        u = mpmath.sqrt(z)
        return (2 * mpmath.atanh(u / 2) - u) / u**3


def tanh_tail(z: Number) -> Number:
    """(x - tanh x) / x^3 at x^2 = z"""
    with mp.workdps(120):
        x = mpmath.sqrt(z)
        return (x - mpmath.tanh(x)) / x**3


def turn_tail(z: Number) -> Number:
    """(sin(2 pi t) - 2 pi t) / t^3 at t^2 = z"""
    full = 2 * mp.pi
    return mpmath.nsum(
        lambda k: (
            (-1) ** int(k + 1)
            * full ** (2 * k + 3)
            * z**k
            / mpmath.factorial(2 * k + 3)
        ),
        [0, 40],
    )


class Tail:
    """The normal tail over its density, and over r: a function of t = r - centre.

    r = 1 / (a + 2.5). A smaller shift needs a higher degree, a larger one lets the
    rounding of r count for more. The centre is one where the constant term happens to
    be close to a float: no later coefficient makes up for its rounding near t = 0.
    """

    shift = mp.mpf("2.5")
    centres: ClassVar[dict[str, Number]] = {
        "float": mp.mpf(58) / 256,
        "double": mp.mpf(57) / 256,
    }
    reaches: ClassVar[dict[str, Number]] = {
        "float": mp.mpf("14.3"),
        "double": mp.mpf("38.7"),
    }

    def __init__(self, scalar: str) -> None:
        self.centre = self.centres[scalar]
        self.interval = (
            1 / (self.reaches[scalar] + self.shift) - self.centre,
            1 / self.shift - self.centre,
        )

    def __call__(self, t: Number) -> Number:
        r = t + self.centre
        a = 1 / r - self.shift
        return mpmath.exp(a * a / 2) * mpmath.erfc(a / mpmath.sqrt(2)) / (2 * r)


def tables(
    scalar: str,
) -> Iterator[tuple[str, Function, tuple[Number, Number], int, Function]]:
    """Name, function, interval, degree, weight."""
    single = scalar == "float"
    half = mpmath.log(2) / 2 + mp.mpf("1e-4")  # what rounding adds to the interval
    yield (
        "exp",
        expm1_tail,
        (-half, half),
        4 if single else 9,
        lambda r: r**2 / mpmath.expm1(r),
    )
    yield (
        "log",
        log_tail,
        (0, mp.mpf(4) / 9),
        3 if single else 9,
        lambda z: z / (1 + z * log_tail(z)),
    )
    tail = Tail(scalar)
    yield "tail", tail, tail.interval, 10 if single else 26, lambda t: 1 / tail(t)
    yield (
        "tanh_shrink",
        tanh_tail,
        (0, 1),
        7 if single else 15,
        lambda z: 1 / tanh_tail(z),
    )
    yield (
        "turn",
        turn_tail,
        (0, mp.mpf(1) / 16),
        4 if single else 8,
        lambda z: z / (2 * mp.pi + z * turn_tail(z)),
    )


def literal(x: Number) -> str:
    digits, exponent = float(x).hex().split("p")
    return f"{digits.rstrip('0')}p{int(exponent)}"


def main(names: list[str]) -> None:
    for scalar, bits in PRECISION.items():
        for name, function, interval, degree, weight in tables(scalar):
            if names and name not in names:
                continue
            c, error = fit(function, interval, degree, bits, weight)
            exponent = float(mpmath.log(error, 2))
            print(f"// {scalar} {name}: degree {degree}, error 2^{exponent:.1f}")
            print("{" + ", ".join(literal(x) for x in c) + "};", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
