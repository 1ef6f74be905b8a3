"""Functions that the heads' formulas use. Each error bound includes all rounding in float32."""

# pyright: basic

from __future__ import annotations

import math

import numpy as np

from policygrad._support.compiling import inlined, inner

f32 = np.float32


@inlined
def exp(x):
    """Return e^x, with a relative error below 4e-7 for x in ±2, and below 5e-6 from −87 to 88, to which x is clipped.

    e^x is 2^n, from the exponent's bits, times 2^f with f in ±½, by its Taylor polynomial. This takes a fifth of the
    time of a call to the C library.
    """
    t = min(max(x, f32(-87)), f32(88)) * f32(1.4426950408889634)
    # rounded by a cast, which truncates: for a positive number that is the floor
    whole = np.int32(t + f32(128.5)) - np.int32(128)
    f = (t - f32(whole)) * f32(0.6931471805599453)
    p = f32(1 / 720)
    p = p * f + f32(1 / 120)
    p = p * f + f32(1 / 24)
    p = p * f + f32(1 / 6)
    p = p * f + f32(1 / 2)
    p = p * f + f32(1)
    p = p * f + f32(1)
    return p * np.int32((whole + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def log(x):
    """Return log x of a normal positive number, with an error below 2e-7 times the larger of 1 and the result.

    log x is log 2^n, from the exponent's bits, plus log m with m in √½ to √2, as 2 artanh((m − 1)/(m + 1)) by its
    series.
    """
    bits = np.float32(x).view(np.int32)
    # a mantissa above √2 is halved, and the exponent is increased by 1
    n = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = np.int32(bits - (n << np.int32(23))).view(np.float32)
    s = (m - f32(1)) / (m + f32(1))
    z = s * s
    p = f32(1 / 9)
    p = p * z + f32(1 / 7)
    p = p * z + f32(1 / 5)
    p = p * z + f32(1 / 3)
    return f32(n) * f32(0.6931471805599453) + f32(2) * s * (p * z + f32(1))


@inlined
def tanh(x):
    """Return tanh x as 1 − 2/(1 + e^2x), with an absolute error below 1e-6."""
    return f32(1) - f32(2) / (f32(1) + exp(f32(2) * x))


@inlined
def log1p_of_unit(x):
    """Return log(1 + x) for x in [0, 1] as 2 artanh(x/(2 + x)) by its series, with an absolute error below 2e-7.

    The last coefficient is 1/10 instead of 1/11, which compensates for the omitted terms.
    """
    s = x / (f32(2) + x)
    z = s * s
    p = f32(1 / 10)
    p = p * z + f32(1 / 9)
    p = p * z + f32(1 / 7)
    p = p * z + f32(1 / 5)
    p = p * z + f32(1 / 3)
    return f32(2) * s * (p * z + f32(1))


@inlined
def log_slope(u):
    """Return log(1 − tanh²u) = 2(log 2 − |u| − log(1 + e^(−2|u|))).

    The error is below 6e-7 times the larger of 1 and the result.
    """
    size = abs(u)
    return f32(2) * (f32(0.6931471805599453) - size - log1p_of_unit(exp(f32(-2) * size)))


@inlined
def softplus(x):
    """Return log(1 + e^x), without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@inner
def gammas(x):
    """Return (log Γ, ψ, ψ′) of a float64 x ≥ 1, each with an error below 1e-11 times the larger of it and 1.

    For x ≥ 8 it uses Stirling's series (Abramowitz & Stegun 6.1.41, 6.3.18, 6.4.12), and below that the recurrences
    Γ(x + 1) = xΓ(x), ψ(x + 1) = ψ(x) + 1/x, ψ′(x + 1) = ψ′(x) − 1/x².
    """
    product, harmonic, squares = 1.0, 0.0, 0.0
    while x < 8.0:
        product *= x
        harmonic += 1 / x
        squares += 1 / (x * x)
        x += 1
    log, r = math.log(x), 1 / x
    z = r * r
    log_gamma = (x - 0.5) * log - x + 0.5 * math.log(2 * math.pi) - math.log(product)
    log_gamma += r * (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z / 1188))))
    digamma = log - r / 2 - z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z / 132)))) - harmonic
    series = 1 / 6 - z * (1 / 30 - z * (1 / 42 - z * (1 / 30 - z * 5 / 66)))
    return log_gamma, digamma, r + z / 2 + r * z * series + squares
