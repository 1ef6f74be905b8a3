"""The forward and backward passes of a network of layers, in machine code.

The parameters are one flat vector in torch's order: for each layer the weight [fan_out, fan_in], then the bias
[fan_out]. A table describes the layers: see `Net`. The forward pass stores the layers' outputs one after another in a
workspace, from which the backward pass reads them.
"""

# pyright: basic
# compiled code: [B, K] arguments are C-contiguous float32 matrices, other arrays are float32 vectors

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numba import types

from policygrad._support.compiling import inlined, inner
from policygrad._support.function_pointers import address_of, function_at
from policygrad._support.views import as_matrix
from policygrad.engines.fused.layer_views import (
    bias_gradient,
    gain_gradient,
    inputs_of,
    outputs_of,
    parameters_of,
    scales_of,
    scratch_of,
    stored_of,
    weights_of,
)
from policygrad.engines.fused.layers import backward_at, forward_at
from policygrad.engines.fused.matmul import (
    ACTIVATE,
    IDENTITY,
    LANES,
    OVERWRITE,
    PULL_BACK,
    RELU,
    TANH,
    multiply,
    multiply_rows,
    multiply_transposed,
    product_address,
)
from policygrad.engines.fused.net import (
    ACTIVATION,
    BACKWARD,
    COPY,
    FIRST,
    FORWARD,
    FUSED,
    HAS_BIAS,
    KIND,
    LINEAR,
    NET,
    NORM,
    net_at,
)
from policygrad.engines.signatures import MATRIX, VECTOR

NARROW = 4
"""A layer with fewer outputs than this is computed by inner products, which is faster."""
f32 = np.float32


def workspace_size(sizes: Sequence[int], outputs: int, rows: int) -> int:
    """Return the size of a workspace for `rows` samples: `outputs` per sample, scratch, and an unread gradient."""
    return rows * outputs + (max(LANES, rows) + 1) * max(sizes)


@inner
def transpose(net):
    """Update `net.stored` from the parameters. Call it once before any number of calls of `forward`.

    A linear layer's weight is stored as [fan_in, fan_out]. A layer without a weight or a bias has ones or zeros.
    """
    net = net_at(net)
    for layer in range(net.sizes.size - 1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        kind, weights = net.layers[layer, KIND], weights_of(net, layer)
        parameters, stored = parameters_of(net, layer, net.parameters), stored_of(net, layer)
        if kind == LINEAR:
            weight, transposed = parameters[:weights], as_matrix(stored, fan_in, fan_out)
            for i in range(fan_in):
                for j in range(fan_out):
                    transposed[i, j] = weight[j * fan_in + i]
        elif kind == NORM:
            for j in range(fan_out):
                stored[j] = parameters[j] if parameters.size > 0 else f32(1)
        if kind in (LINEAR, NORM):
            for j in range(weights, weights + fan_out):
                stored[j] = parameters[j] if net.layers[layer, HAS_BIAS] else f32(0)


@inlined
def apply_weights(net, layer, h, bias, y, rows, f):
    """Compute y = f(W h + bias) for each row, with the weight of a linear layer."""
    fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
    if f == IDENTITY and fan_out < NARROW:
        multiply_rows(h, net.parameters[net.layers[layer, FIRST] :], bias, y, rows, fan_out, fan_in)
    else:
        multiply(net.product, h, stored_of(net, layer), y, rows, fan_out, fan_in, ACTIVATE, f, bias)


def _forward(x, net):
    """See `forward`."""
    net = net_at(net)
    rows = x.shape[0]
    for layer in range(net.sizes.size - 1):
        h, y = inputs_of(x, net, layer, rows), outputs_of(net, layer, rows)
        kind, weights = net.layers[layer, KIND], stored_of(net, layer)
        if kind == LINEAR:
            bias = weights[weights_of(net, layer) :]
            apply_weights(net, layer, h, bias, y, rows, net.layers[layer, FUSED])
        elif kind == COPY:
            for i in range(y.size):
                y[i] = h[i]
        else:
            scale, weights = scales_of(net, layer, rows), weights[: 2 * net.sizes[layer]]
            forward_at(net.layers[layer, FORWARD])(h, y, scale, weights, net.constants[layer])


@inlined
def pull_back(net, layer, rows, delta, h):
    """Replace a layer's inputs `h`, or what `forward` left there, by their δ: δ_below = (δ W) ⊙ f′ if it is linear.

    The gradient of the bias below, Σ δ_below over the samples, is added to it; a normalization also adds that of its γ.
    """
    fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
    bias_slope = bias_gradient(net, layer - 1)
    if net.layers[layer, KIND] == LINEAR:
        weight, f = parameters_of(net, layer, net.parameters), net.layers[layer - 1, FUSED]
        multiply(net.product, delta, weight, h, rows, fan_in, fan_out, PULL_BACK, f, bias_slope)
    elif net.layers[layer, KIND] == ACTIVATION:
        for i in range(rows):
            for j in range(fan_in):
                h[i * fan_in + j] *= delta[i * fan_in + j]
                bias_slope[j] += h[i * fan_in + j]
    else:
        scale, weights = scales_of(net, layer, rows), stored_of(net, layer)[: 2 * fan_in]
        backward_at(net.layers[layer, BACKWARD])(h, delta, scale, weights, gain_gradient(net, layer))
        add_column_sums(h, bias_slope)


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


@inner
def add_column_sums(delta, sums):
    """Add Σ δ over the samples to `sums` [fan_out]."""
    rows, width = delta.size // sums.size, sums.size
    if width < LANES:
        for j in range(width):
            total = f32(0)
            for i in range(rows):
                total += delta[i * width + j]
            sums[j] += total
        return
    for i in range(rows):
        for j in range(width):
            sums[j] += delta[i * width + j]


@inlined
def pull_back_both(net, layer, rows, delta, h, other_delta, other_weight, scratch):
    """Run `pull_back` for a linear layer plus a second one with one output: (δ W + δ' w') ⊙ f′."""
    width, outputs = net.sizes[layer], net.sizes[layer + 1]
    f, bias_slope = net.layers[layer - 1, FUSED], bias_gradient(net, layer - 1)
    weight = parameters_of(net, layer, net.parameters)
    multiply(net.product, delta, weight, scratch, rows, width, outputs, OVERWRITE, IDENTITY, scratch[:0])
    for i in range(rows):
        for j in range(width):
            output = h[i * width + j]
            slope = scratch[i * width + j] + other_delta[i] * other_weight[j]
            if f == TANH:
                slope *= f32(1) - output * output
            elif f == RELU and output <= f32(0):
                slope = f32(0)
            h[i * width + j] = slope
            bias_slope[j] += slope


def _backward(x, net, other_delta, other_weight):
    """See `backward` and `backward_from_both`."""
    net = net_at(net)
    rows, last = x.shape[0], net.sizes.size - 2
    scratch = scratch_of(net, rows)
    add_column_sums(outputs_of(net, last, rows), bias_gradient(net, last))
    for layer in range(last, -1, -1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        delta, h = outputs_of(net, layer, rows), inputs_of(x, net, layer, rows)
        if net.layers[layer, KIND] == LINEAR:
            slope = parameters_of(net, layer, net.gradient)
            add_weight_gradient(net, delta, h, slope, fan_out, fan_in, rows, scratch)
        if layer == last and other_delta.size > 0:
            pull_back_both(net, layer, rows, delta, h, other_delta, other_weight, scratch)
        elif layer > 0:
            pull_back(net, layer, rows, delta, h)


_FORWARD, _BACKWARD = types.void(MATRIX, NET), types.void(MATRIX, NET, VECTOR, VECTOR)
_forward_at, _backward_at = function_at(_FORWARD), function_at(_BACKWARD)


@cache
def addresses():
    """Return the addresses of (product, forward, backward), as `Net` stores them."""
    return product_address(), address_of(_forward, _FORWARD), address_of(_backward, _BACKWARD)


@inlined
def forward(x, net):
    """Return the outputs [B, sizes[-1]] for inputs [B, sizes[0]], as a view of `net.work` that may be overwritten."""
    address = net
    net = net_at(address)
    _forward_at(net.ahead_pass)(x, address)
    rows = x.shape[0]
    return as_matrix(outputs_of(net, net.sizes.size - 2, rows), rows, net.sizes[-1])


@inlined
def last_hidden(x, net):
    """Return the last layer's inputs in `forward`, [B, sizes[-2]], which are x if there is only one layer."""
    net = net_at(net)
    if net.sizes.size == 2:
        return x
    rows = x.shape[0]
    return as_matrix(outputs_of(net, net.sizes.size - 3, rows), rows, net.sizes[-2])


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
