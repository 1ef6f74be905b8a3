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
"""Fewer outputs than this are quicker as inner products."""
f32 = np.float32


def workspace_size(sizes: tuple[int, ...], rows: int) -> int:
    """How many float32 a workspace needs for `rows` samples: all layers' outputs, and scratch for `backward`."""
    return rows * sum(sizes[1:]) + max(LANES, rows) * max(sizes)


def parameter_count(sizes: tuple[int, ...]) -> int:
    """How many parameters a perceptron has."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


@inner
def transpose(net):
    """Bring `net.transposed` up to the parameters: to be called once before any number of `forward`."""
    net = net_at(net)
    p = 0
    parameters = net.parameters[net.ahead :]
    for layer in range(net.sizes.size - 1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        weight = parameters[p : p + fan_in * fan_out].reshape(fan_out, fan_in)
        turned = net.transposed[p : p + fan_in * fan_out].reshape(fan_in, fan_out)
        for i in range(fan_in):
            for j in range(fan_out):
                turned[i, j] = weight[j, i]
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
    """A matrix [B, D] without gaps as a vector [B · D]."""
    return x.reshape(x.size)


@inlined
def pull_back(net, layer, p, rows, delta, h, bias_slope):
    """δ of a layer's inputs, in place of those inputs `h`: δ_below = (δ W) ⊙ f′.

    The gradient of the bias below, Σ δ_below over the samples, is added to `bias_slope`.
    """
    fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
    weight = net.parameters[p:]
    multiply(net.product, delta, weight, h, rows, fan_in, fan_out, PULL_BACK, net.activation, bias_slope)


@inlined
def outputs_end(sizes, rows):
    """Where in the workspace the layers' outputs end, and scratch begins."""
    total = 0
    for layer in range(1, sizes.size):
        total += sizes[layer]
    return rows * total


@inlined
def add_weight_gradient(net, delta, h, slope, fan_out, fan_in, rows, scratch):
    """Σ δ hᵀ over the samples, added to `slope` [fan_out, fan_in]."""
    if fan_in >= LANES:
        multiply_transposed(net.product, delta, h, slope, fan_out, fan_in, rows, True)
        return
    # the wide side goes along the vectors, and what comes out is turned around
    multiply_transposed(net.product, h, delta, scratch, fan_in, fan_out, rows, False)
    for i in range(fan_out):
        for j in range(fan_in):
            slope[i * fan_in + j] += scratch[j * fan_out + i]


@inlined
def pull_back_both(net, p, rows, delta, h, bias_slope, other_delta, other_weight, scratch):
    """As `pull_back` of the last layer, with what another layer of one output adds: (δ W + δ' w') ⊙ f′."""
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
    """Where (product, forward, backward) lie, as `Net` holds them."""
    return product_address(), address_of(_forward, FORWARD), address_of(_backward, BACKWARD)


@inlined
def forward(x, net):
    """The outputs [B, sizes[-1]] for inputs [B, sizes[0]]: a view of `net.work`, to be overwritten freely."""
    address = net
    net = net_at(address)
    _forward_at(net.ahead_pass)(x, address)
    rows, width = x.shape[0], net.sizes[-1]
    stop = outputs_end(net.sizes, rows)
    return net.work[stop - rows * width : stop].reshape(rows, width)


@inlined
def last_hidden(x, net):
    """What `forward` gave to the last layer, [B, sizes[-2]]: the inputs where no layer is hidden."""
    net = net_at(net)
    if net.sizes.size == 2:
        return x
    rows, width = x.shape[0], net.sizes[-2]
    stop = outputs_end(net.sizes, rows) - rows * net.sizes[-1]
    return net.work[stop - rows * width : stop].reshape(rows, width)


@inlined
def backward(x, net):
    """Add the parameters' gradient to `net.gradient`, from ∂L/∂output standing where `forward` put the output.

    Each layer's δ takes the place of its output.
    """
    nothing = net_at(net).work[:0]
    _backward_at(net_at(net).back_pass)(x, net, nothing, nothing)


@inlined
def backward_from_both(x, net, other_delta, other_weight):
    """As `backward`, where a layer of one output with this weight [sizes[-2]] stands on the last hidden layer too.

    `other_delta` [B] is ∂L/∂ its output.
    """
    _backward_at(net_at(net).back_pass)(x, net, other_delta, other_weight)
