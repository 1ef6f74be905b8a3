"""Products with the policy's Fisher matrix, and KL divergences between policies, without forming a matrix."""

# pyright: basic
# compiled code: the types of the arguments are in the Numba signatures above the functions

from __future__ import annotations

import numpy as np
from numba import types

from policygrad._support.compiling import compiled, inlined, inner, inner_making_arrays
from policygrad._support.function_pointers import ADDRESS, function_at
from policygrad.engines.fused.heads import HEAD, evaluate
from policygrad.engines.fused.heads.head import DESCRIBE, DIVERGENCE, FISHER
from policygrad.engines.fused.matmul import ACTIVATE, IDENTITY, TANH, multiply, multiply_rows
from policygrad.engines.fused.mlp import (
    NARROW,
    backward,
    flat,
    forward,
    last_hidden,
    transpose,
)
from policygrad.engines.fused.net import NET, clear_gradient, gradient_ahead, net_at, parameters_ahead
from policygrad.engines.fused.update_loop import ROWS
from policygrad.engines.signatures import MATRIX, VECTOR

f32 = np.float32
_fisher_at, _describe_at, _divergence_at = function_at(FISHER), function_at(DESCRIBE), function_at(DIVERGENCE)


@inlined
def apply_weights(net, p, bias, h, y, rows, fan_in, fan_out):
    """Compute y = W h + bias for each row, where W begins at offset `p` in the perceptron's parameters."""
    if fan_out < NARROW:
        multiply_rows(h, net.parameters[net.ahead + p :], bias, y, rows, fan_out, fan_in)
    else:
        multiply(net.product, h, net.transposed[p:], y, rows, fan_out, fan_in, ACTIVATE, IDENTITY, bias)


@inner
def add_and_push(rate, through_weights, output, activation):
    """Write (Ẇ h + ḃ + W ḣ) ⊙ f′ to `rate`, which contains the first two terms; f′ is computed from the output."""
    for i in range(output.size):
        rate[i] += through_weights[i]
    if activation == TANH:
        for i in range(output.size):
            rate[i] *= f32(1) - output[i] * output[i]
    elif activation != IDENTITY:
        for i in range(output.size):
            rate[i] = rate[i] if output[i] > f32(0) else f32(0)


@inner_making_arrays
def jvp(x, net, along):
    """Return J v [B, sizes[-1]], the derivative of the outputs as the parameters move along a vector v.

        ẏ = W ḣ + Ẇ h + ḃ,    ḣ' = f′ ⊙ ẏ,    with ḣ = 0 for the inputs

    This is Pearlmutter 1994 for a perceptron. `along` is the same network with v as its parameters and a
    separate workspace. The layers' outputs in `net` must be as `forward` left them.
    """
    net, along = net_at(net), net_at(along)
    rows = x.shape[0]
    layers = net.sizes.size - 1
    scratch = np.empty(rows * net.sizes.max(), np.float32)
    no_bias = np.zeros(net.sizes.max(), np.float32)
    h = flat(x)
    h_rate = along.work[:0]
    p = 0
    o = 0
    for layer in range(layers):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        weights = fan_in * fan_out
        bias = along.transposed[p + weights : p + weights + fan_out]
        y, rate = net.work[o : o + rows * fan_out], along.work[o : o + rows * fan_out]
        through_weights = scratch[: rows * fan_out]
        apply_weights(along, p, bias, h, rate, rows, fan_in, fan_out)
        if layer > 0:
            apply_weights(net, p, no_bias, h_rate, through_weights, rows, fan_in, fan_out)
        else:
            for i in range(rows * fan_out):
                through_weights[i] = f32(0)
        add_and_push(rate, through_weights, y, net.activation if layer < layers - 1 else IDENTITY)
        h, h_rate = y, rate
        p += weights + fan_out
        o += rows * fan_out
    width = net.sizes[-1]
    return along.work[o - rows * width : o].reshape(rows, width)


@compiled(types.void(MATRIX, HEAD, ADDRESS, NET, NET, types.float64))
def fisher_vector_product(x, head, apply_fisher, actor, along, scale):
    """Write Σ_s Jᵀ M J v times `scale` to `actor.gradient`; `along` is as in `jvp`.

    `apply_fisher` is the address of the distribution's function, as `describe` and `divergence` are below.
    """
    log_std, log_std_rate, slope = parameters_ahead(actor), parameters_ahead(along), gradient_ahead(actor)
    transpose(actor)
    transpose(along)
    clear_gradient(actor)
    for start in range(0, x.shape[0], ROWS):
        part = x[start : min(start + ROWS, x.shape[0])]
        outputs, hidden = forward(part, actor), last_hidden(part, actor)
        rate = jvp(part, actor, along)
        _fisher_at(apply_fisher)(head, outputs, hidden, rate, log_std, log_std_rate, f32(scale), slope)
        backward(part, actor)


@compiled(types.void(MATRIX, MATRIX, HEAD, ADDRESS, NET, VECTOR, VECTOR, MATRIX))
def policy_outputs(x, action, head, describe, actor, log_prob, entropy, parameters):
    """Write log π and H, [B] each, and the parameters of π(·|s) [B, n], which each head's `describe` defines."""
    log_std = parameters_ahead(actor)
    transpose(actor)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs, hidden = forward(x[start:stop], actor), last_hidden(x[start:stop], actor)
        evaluate(
            head, outputs, hidden, log_std, action[start:stop], log_prob[start:stop], entropy[start:stop]
        )
        _describe_at(describe)(head, outputs, hidden, log_std, parameters[start:stop])


@compiled(types.void(ADDRESS, MATRIX, MATRIX, VECTOR))
def divergences(divergence, old, new, kl):
    """Write KL(old ‖ new) to `kl` [B], for distributions that `policy_outputs` has written."""
    _divergence_at(divergence)(old, new, kl)
