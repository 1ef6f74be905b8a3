"""The forward and backward passes of a multilayer perceptron, in machine code.

The parameters are one flat vector in torch's order: for each layer the weight [fan_out, fan_in], then the bias
[fan_out]. An array of sizes gives the depth and the widths. The forward pass stores the layers' outputs one after
another in a workspace, from which the backward pass reads them.
"""

# pyright: basic
# compiled code: [B, K] arguments are C-contiguous float32 matrices, other arrays are float32 vectors

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numba import types

from policygrad._support.compiling import inlined, inner
from policygrad._support.function_pointers import address_of, function_at
from policygrad.engines.fused.matmul import (
    ACTIVATE,
    IDENTITY,
    LANES,
    OVERWRITE,
    PULL_BACK,
    TANH,
    multiply,
    multiply_rows,
    multiply_transposed,
    product_address,
)
from policygrad.engines.fused.net import NET, net_at
from policygrad.engines.signatures import MATRIX, VECTOR

NARROW = 4
"""A layer with fewer outputs than this is computed by inner products, which is faster."""
f32 = np.float32


def workspace_size(sizes: tuple[int, ...], rows: int) -> int:
    """Return the size of a workspace for `rows` samples in float32: all layers' outputs and scratch for `backward`."""
    return rows * sum(sizes[1:]) + max(LANES, rows) * max(sizes)


def parameter_count(sizes: tuple[int, ...]) -> int:
    """Return the number of parameters of a perceptron."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


@inner
def transpose(net):
    """Update `net.transposed` from the parameters. Call it once before any number of calls of `forward`."""
    net = net_at(net)
    p = 0
    parameters = net.parameters[net.ahead :]
    for layer in range(net.sizes.size - 1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        weight = parameters[p : p + fan_in * fan_out].reshape(fan_out, fan_in)
        transposed = net.transposed[p : p + fan_in * fan_out].reshape(fan_in, fan_out)
        for i in range(fan_in):
            for j in range(fan_out):
                transposed[i, j] = weight[j, i]
        p += fan_in * fan_out
        for j in range(p, p + fan_out):
            net.transposed[j] = parameters[j]
        p += fan_out


def _forward(x, net):
    """See `forward`."""
    net = net_at(net)
    rows = x.shape[0]
    layers = net.sizes.size - 1
    h = flat(x)
    p = 0
    o = 0
    for layer in range(layers):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        weights = fan_in * fan_out
        bias = net.transposed[p + weights : p + weights + fan_out]
        y = net.work[o : o + rows * fan_out]
        last = layer == layers - 1
        if last and fan_out < NARROW:
            multiply_rows(h, net.parameters[net.ahead + p :], bias, y, rows, fan_out, fan_in)
        else:
            f = IDENTITY if last else net.activation
            multiply(net.product, h, net.transposed[p:], y, rows, fan_out, fan_in, ACTIVATE, f, bias)
        h = y
        p += weights + fan_out
        o += rows * fan_out


@inlined
def flat(x):
    """Return a contiguous matrix [B, D] as a vector [B · D]."""
    return x.reshape(x.size)


@inlined
def pull_back(net, layer, p, rows, delta, h, bias_slope):
    """Replace a layer's inputs `h` by their δ: δ_below = (δ W) ⊙ f′.

    The gradient of the bias below, Σ δ_below over the samples, is added to `bias_slope`.
    """
    fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
    weight = net.parameters[p:]
    multiply(net.product, delta, weight, h, rows, fan_in, fan_out, PULL_BACK, net.activation, bias_slope)


@inlined
def outputs_end(sizes, rows):
    """Return the offset in the workspace where the layers' outputs end and scratch begins."""
    total = 0
    for layer in range(1, sizes.size):
        total += sizes[layer]
    return rows * total


@inlined
def add_weight_gradient(net, delta, h, slope, fan_out, fan_in, rows, scratch):
    """Add Σ δ hᵀ over the samples to `slope` [fan_out, fan_in]."""
    if fan_in >= LANES:
        multiply_transposed(net.product, delta, h, slope, fan_out, fan_in, rows, True)
        return
    # compute the transpose, so that the wider dimension is along the vectors, and transpose the result
    multiply_transposed(net.product, h, delta, scratch, fan_in, fan_out, rows, False)
    for i in range(fan_out):
        for j in range(fan_in):
            slope[i * fan_in + j] += scratch[j * fan_out + i]


@inlined
def pull_back_both(net, p, rows, delta, h, bias_slope, other_delta, other_weight, scratch):
    """Run `pull_back` for the last layer plus a second layer with one output: (δ W + δ' w') ⊙ f′."""
    width, outputs = net.sizes[-2], net.sizes[-1]
    nothing = scratch[:0]
    multiply(
        net.product, delta, net.parameters[p:], scratch, rows, width, outputs, OVERWRITE, IDENTITY, nothing
    )
    for i in range(rows):
        for j in range(width):
            output = h[i * width + j]
            slope = scratch[i * width + j] + other_delta[i] * other_weight[j]
            if net.activation == TANH:
                slope *= f32(1) - output * output
            elif output <= f32(0):
                slope = f32(0)
            h[i * width + j] = slope
            bias_slope[j] += slope


def _backward(x, net, other_delta, other_weight):
    """See `backward` and `backward_from_both`."""
    net = net_at(net)
    rows = x.shape[0]
    p = net.parameters.size
    o = outputs_end(net.sizes, rows)
    scratch = net.work[o:]
    bias_slope = net.gradient[p - net.sizes[-1] :]
    delta = net.work[o - rows * net.sizes[-1] : o]
    for j in range(bias_slope.size):
        total = f32(0)
        for i in range(rows):
            total += delta[i * bias_slope.size + j]
        bias_slope[j] += total
    for layer in range(net.sizes.size - 2, -1, -1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        p -= fan_in * fan_out + fan_out
        o -= rows * fan_out
        delta = net.work[o : o + rows * fan_out]
        h = flat(x) if layer == 0 else net.work[o - rows * fan_in : o]
        slope = net.gradient[p : p + fan_in * fan_out]
        add_weight_gradient(net, delta, h, slope, fan_out, fan_in, rows, scratch)
        if layer > 0 and layer == net.sizes.size - 2 and other_delta.size > 0:
            bias_slope = net.gradient[p - fan_in :]
            pull_back_both(net, p, rows, delta, h, bias_slope, other_delta, other_weight, scratch)
        elif layer > 0:
            pull_back(net, layer, p, rows, delta, h, net.gradient[p - fan_in :])


FORWARD, BACKWARD = types.void(MATRIX, NET), types.void(MATRIX, NET, VECTOR, VECTOR)
_forward_at, _backward_at = function_at(FORWARD), function_at(BACKWARD)


def addresses():
    """Return the addresses of (product, forward, backward), as `Net` stores them."""
    return product_address(), address_of(_forward, FORWARD), address_of(_backward, BACKWARD)


@inlined
def forward(x, net):
    """Return the outputs [B, sizes[-1]] for inputs [B, sizes[0]], as a view of `net.work` that may be overwritten."""
    address = net
    net = net_at(address)
    _forward_at(net.ahead_pass)(x, address)
    rows, width = x.shape[0], net.sizes[-1]
    stop = outputs_end(net.sizes, rows)
    return net.work[stop - rows * width : stop].reshape(rows, width)


@inlined
def last_hidden(x, net):
    """Return the last layer's inputs in `forward`, [B, sizes[-2]], which are x if there is no hidden layer."""
    net = net_at(net)
    if net.sizes.size == 2:
        return x
    rows, width = x.shape[0], net.sizes[-2]
    stop = outputs_end(net.sizes, rows) - rows * net.sizes[-1]
    return net.work[stop - rows * width : stop].reshape(rows, width)


@inlined
def backward(x, net):
    """Add the parameters' gradient to `net.gradient`; ∂L/∂output must be stored where `forward` wrote the output.

    Each layer's δ overwrites its output.
    """
    nothing = net_at(net).work[:0]
    _backward_at(net_at(net).back_pass)(x, net, nothing, nothing)


@inlined
def backward_from_both(x, net, other_delta, other_weight):
    """Run `backward` for a network whose last hidden layer also feeds a second layer with one output.

    `other_delta` [B] is ∂L/∂output of that layer, and `other_weight` [sizes[-2]] is its weight.
    """
    _backward_at(net_at(net).back_pass)(x, net, other_delta, other_weight)
