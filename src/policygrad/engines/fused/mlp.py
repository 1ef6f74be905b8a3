"""A perceptron in machine code: forward and backward.

Parameters lie in one flat vector in torch's order, for each layer the weight [fan_out, fan_in] and then the
bias [fan_out]; depth and widths are an array of sizes. The layers' outputs lie one after another in a
workspace, so that backward finds them where forward left them.
"""

# pyright: basic
# compiled code: [B, K] arguments are float32 matrices, C-contiguous, other arrays float32 vectors

from __future__ import annotations

from itertools import pairwise

import numpy as np

from policygrad.compiled import inlined, inner

RELU, TANH = 0, 1
f32 = np.float32


def workspace_size(sizes: tuple[int, ...], rows: int) -> int:
    """How many float32 a workspace needs for `rows` samples: all outputs, one layer's and one weight's scratch."""
    return rows * (sum(sizes[1:]) + max(sizes)) + max(a * b for a, b in pairwise(sizes))


@inlined
def tanh(x):
    """Rational approximation, 13 over 6, error below 1e-6; `math.tanh` would keep the loop from vectorising.

    The coefficients are the usual single-precision minimax fit on ±7.9, beyond which tanh rounds to ±1.
    """
    x = min(max(x, f32(-7.90531110763549805)), f32(7.90531110763549805))
    z = x * x
    p = f32(-2.76076847742355e-16)
    p = p * z + f32(2.00018790482477e-13)
    p = p * z + f32(-8.60467152213735e-11)
    p = p * z + f32(5.12229709037114e-08)
    p = p * z + f32(1.48572235717979e-05)
    p = p * z + f32(6.37261928875436e-04)
    p = p * z + f32(4.89352455891786e-03)
    q = f32(1.19825839466702e-06)
    q = q * z + f32(1.18534705686654e-04)
    q = q * z + f32(2.26843463243900e-03)
    q = q * z + f32(4.89352518554385e-03)
    return x * p / q


@inlined
def extent(sizes):
    """How many outputs all layers have together, and the largest size."""
    outputs = 0
    widest = sizes[0]
    for layer in range(1, sizes.size):
        outputs += sizes[layer]
        widest = max(widest, sizes[layer])
    return outputs, widest


@inner
def add_bias_and_activate(y, bias, activation):
    """In place; an activation below 0 is none."""
    rows, width = y.shape
    if activation == TANH:
        for i in range(rows):
            for j in range(width):
                y[i, j] = tanh(y[i, j] + bias[j])
    elif activation == RELU:
        for i in range(rows):
            for j in range(width):
                y[i, j] = max(y[i, j] + bias[j], f32(0))
    else:
        for i in range(rows):
            for j in range(width):
                y[i, j] += bias[j]


@inner
def times_derivative(pulled, output, activation):
    """∂L/∂output ⊙ f′, in place of the output, from which f′ follows."""
    rows, width = pulled.shape
    if activation == TANH:
        for i in range(rows):
            for j in range(width):
                output[i, j] = pulled[i, j] * (f32(1) - output[i, j] * output[i, j])
    else:
        for i in range(rows):
            for j in range(width):
                output[i, j] = pulled[i, j] if output[i, j] > f32(0) else f32(0)


@inner
def forward(x, parameters, sizes, activation, work):
    """The outputs [B, sizes[-1]] for inputs [B, sizes[0]]: a view of `work`, to be overwritten freely."""
    rows = x.shape[0]
    layers = sizes.size - 1
    h = x
    p = 0
    o = 0
    for layer in range(layers):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        weight = parameters[p : p + fan_in * fan_out].reshape(fan_out, fan_in)
        p += fan_in * fan_out
        bias = parameters[p : p + fan_out]
        p += fan_out
        y = work[o : o + rows * fan_out].reshape(rows, fan_out)
        o += rows * fan_out
        np.dot(h, weight.T, y)
        add_bias_and_activate(y, bias, activation if layer < layers - 1 else -1)
        h = y
    return h


@inner
def backward(x, parameters, sizes, activation, work, gradient, accumulate):
    """The parameters' gradient, from ∂L/∂output standing where `forward` put the output.

    Written into `gradient`, or added to it where `accumulate`. Each layer's δ takes the place of its output.
    """
    rows = x.shape[0]
    p = parameters.size
    outputs, widest = extent(sizes)
    o = rows * outputs
    spare = work[o : o + rows * widest]
    spare_weight = work[o + rows * widest :]
    for layer in range(sizes.size - 2, -1, -1):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        p -= fan_in * fan_out + fan_out
        o -= rows * fan_out
        delta = work[o : o + rows * fan_out].reshape(rows, fan_out)
        h = x if layer == 0 else work[o - rows * fan_in : o].reshape(rows, fan_in)
        slope = gradient[p : p + fan_in * fan_out].reshape(fan_out, fan_in)
        bias_slope = gradient[p + fan_in * fan_out : p + fan_in * fan_out + fan_out]
        if accumulate:
            part = spare_weight[: fan_in * fan_out].reshape(fan_out, fan_in)
            np.dot(delta.T, h, part)
            for i in range(fan_out):
                for j in range(fan_in):
                    slope[i, j] += part[i, j]
        else:
            np.dot(delta.T, h, slope)
            for j in range(fan_out):
                bias_slope[j] = f32(0)
        for i in range(rows):
            for j in range(fan_out):
                bias_slope[j] += delta[i, j]
        if layer > 0:
            weight = parameters[p : p + fan_in * fan_out].reshape(fan_out, fan_in)
            pulled = spare[: rows * fan_in].reshape(rows, fan_in)
            np.dot(delta, weight, pulled)
            times_derivative(pulled, h, activation)
