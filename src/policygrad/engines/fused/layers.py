"""Activations and layer normalization in machine code. `addresses` compiles the passes of a layer that is needed.

A linear layer applies tanh and relu itself where it can: see `matmul`. All other activations are layers of their own.
Their forward pass overwrites the layer's inputs, which no other layer reads, by what the backward pass needs.
"""

# pyright: basic
# compiled code: arrays are contiguous float32 vectors, with the samples one after another

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numba import types

from policygrad._support.compiling import UNCOUNTED, compile_cached, inlined, inner
from policygrad._support.function_pointers import address_in, address_of, function_at
from policygrad.engines.fused.heads.functions import exp
from policygrad.engines.sequential import NORM
from policygrad.engines.signatures import VECTOR

f32 = np.float32
FORWARD = types.void(VECTOR, VECTOR, VECTOR, VECTOR, types.float32)
"""forward(x, y, scale, weights, constant) writes the outputs to y, and overwrites the inputs x.

An activation overwrites them by f′(x). Layer normalization, whose `weights` are γ and then β, overwrites them by x̂, and
writes the scale of each sample to `scale` [B]."""
BACKWARD = types.void(VECTOR, VECTOR, VECTOR, VECTOR, VECTOR)
"""backward(x, delta, scale, weights, slope) overwrites x̂ by ∂L/∂x, where `delta` is ∂L/∂y.

The gradient of γ is added to `slope`. That of β is Σ δ, like that of any bias."""
forward_at, backward_at = function_at(FORWARD), function_at(BACKWARD)
LOWEST = f32(-60)
"""Exponents are at least this, so that no number is so small that computing with it is slow: see `subnormal`."""
LEAST_SLOPE = f32(1e-7)
"""A smaller derivative is replaced by 0, so that its product with a small δ is not so small either; 1 − tanh² has the
same resolution."""


@inlined
def decay(x):
    """Return e^x, or e^−60 if x is less."""
    return exp(max(x, LOWEST))


@inlined
def sigmoid(x):
    """Return 1/(1 + e^−x)."""
    return f32(1) / (f32(1) + decay(-x))


@inlined
def cleared(slope):
    """Return a derivative, or 0 if its magnitude is less than `LEAST_SLOPE`; NaN for NaN."""
    return f32(0) if abs(slope) < LEAST_SLOPE else slope


@inlined
def relu(x, _constant):
    """Return max(x, 0) and its derivative; NaN for NaN."""
    return (f32(0) if x < f32(0) else x), (f32(1) if x > f32(0) else f32(0))


@inlined
def leaky_relu(x, slope):
    """Return x, or `slope` times x if x is not positive, and the derivative."""
    return (x, f32(1)) if x > f32(0) else (slope * x, slope)


@inlined
def elu(x, alpha):
    """Return x, or α (e^x − 1) if x is not positive, and the derivative."""
    e = alpha * decay(x)
    return (x, f32(1)) if x > f32(0) else (e - alpha, cleared(e))


@inlined
def tanh(x, _constant):
    """Return tanh x = 2σ(2x) − 1 and its derivative."""
    y = f32(2) * sigmoid(f32(2) * x) - f32(1)
    return y, f32(1) - y * y


@inlined
def silu(x, _constant):
    """Return x σ(x) and its derivative."""
    s = sigmoid(x)
    return x * s, cleared(s * (f32(1) + x * (f32(1) - s)))


@inlined
def gelu(x, _constant):
    """Return x Φ(x) and its derivative, where Φ has an absolute error below 3e-7.

    Φ(−|x|) is Abramowitz & Stegun 7.1.26 for erfc, with z = |x|/√2 and t = 1/(1 + 0.3275911 z).
    """
    bell = decay(f32(-0.5) * x * x)
    t = f32(1) / (f32(1) + f32(0.3275911 / math.sqrt(2)) * abs(x))
    p = f32(1.061405429 / 2)
    p = p * t + f32(-1.453152027 / 2)
    p = p * t + f32(1.421413741 / 2)
    p = p * t + f32(-0.284496736 / 2)
    p = p * t + f32(0.254829592 / 2)
    tail = p * t * bell
    below = f32(1) - tail if x > f32(0) else tail
    return x * below, cleared(below + x * f32(1 / math.sqrt(2 * math.pi)) * bell)


C1, C3 = f32(2 * math.sqrt(2 / math.pi)), f32(2 * math.sqrt(2 / math.pi) * 0.044715)


@inlined
def gelu_tanh(x, _constant):
    """Return x/2 (1 + tanh u) = x σ(2u) with 2u = C1 x + C3 x³, and its derivative."""
    s = sigmoid(x * (C1 + C3 * x * x))
    return x * s, cleared(s * (f32(1) + x * (f32(1) - s) * (C1 + f32(3) * C3 * x * x)))


FUNCTIONS = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "tanh": tanh,
    "silu": silu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}
"""Functions that return f(x) and f′(x) of an activation, by its name in `engines.sequential`."""


def addresses(kind: str) -> tuple[int, int]:
    """Return the addresses of the (`FORWARD`, `BACKWARD`) pass of a layer that is not linear; compile them if needed.

    The second is 0 for an activation, whose backward pass is only a product.
    """
    if kind == NORM:
        return address_of(_norm_forward, FORWARD), address_of(_norm_backward, BACKWARD)
    return address_in(_activation(kind), FORWARD), 0


@cache
def _activation(kind):
    """Return the compiled forward pass of an activation.

    It vectorizes without fast math, with which the last samples, those that do not fill a vector, could be rounded
    differently from the others.
    """
    f = FUNCTIONS[kind]

    def forward(x, y, _scale, _weights, constant):
        for i in range(x.size):
            y[i], x[i] = f(x[i], constant)

    options = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy", **UNCOUNTED}
    return compile_cached(forward, [FORWARD], **options)


def _norm_forward(x, y, scale, weights, epsilon):
    """Write γ x̂ + β with x̂ = (x − mean)/√(variance + ε): Ba et al. 2016, https://arxiv.org/abs/1607.06450."""
    width = weights.size // 2
    gain, bias = weights[:width], weights[width:]
    for i in range(scale.size):
        row, output = x[i * width : (i + 1) * width], y[i * width : (i + 1) * width]
        mean, variance = f32(0), f32(0)
        for j in range(width):
            mean += row[j]
        mean /= f32(width)
        for j in range(width):
            variance += (row[j] - mean) * (row[j] - mean)
        scale[i] = f32(1) / math.sqrt(variance / f32(width) + epsilon)
        for j in range(width):
            row[j] = (row[j] - mean) * scale[i]
        for j in range(width):
            output[j] = gain[j] * row[j] + bias[j]


def _norm_backward(x, delta, scale, weights, slope):
    """Overwrite x̂ by ∂x̂/∂x (γ δ), and add Σ δ x̂ over the samples to the slope."""
    width = weights.size // 2
    gain = weights[:width]
    for i in range(scale.size):
        row, d = x[i * width : (i + 1) * width], delta[i * width : (i + 1) * width]
        for j in range(width):
            slope[j] += d[j] * row[j]
        for j in range(width):
            d[j] *= gain[j]
        apply_norm_jacobian(row, d, scale[i], row)


@inner
def apply_norm_jacobian(row, d, scale, result):
    """Write the product of ∂x̂/∂x, which is symmetric, with a vector d; `row` is x̂, which the result may overwrite.

    It is (d − mean d − x̂ mean(x̂ d))/√(variance + ε).
    """
    mean, along = f32(0), f32(0)
    for j in range(row.size):
        mean += d[j]
        along += d[j] * row[j]
    mean, along = mean / f32(row.size), along / f32(row.size)
    for j in range(row.size):
        result[j] = scale * (d[j] - mean - row[j] * along)
