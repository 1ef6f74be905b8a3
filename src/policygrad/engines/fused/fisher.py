"""Products with the policy's Fisher matrix, and how far one policy is from another, without forming a matrix."""

# pyright: basic
# compiled: the types of arguments are the Numba signatures above the functions

from __future__ import annotations

import math

import numpy as np
from numba import types

from policygrad.compiled import compiled, inlined, inner
from policygrad.engines.fused.heads import HEAD, evaluate
from policygrad.engines.fused.heads.categorical import log_normalizer
from policygrad.engines.fused.heads.functions import exp
from policygrad.engines.fused.heads.head import CHOICES
from policygrad.engines.fused.loop import ROWS
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
from policygrad.engines.signatures import MATRIX, VECTOR

NOTHING = 1e-25
"""Less than this is 0 on its way back through the network: a certain choice's probabilities of the others are as
small as 1e-38, and what they are multiplied to is below normal numbers, with which processors take 20 times as long."""
f32 = np.float32


@inlined
def apply_weights(net, p, bias, h, y, rows, fan_in, fan_out):
    """y = W h + bias of each row, W the weight that begins at `p` in the perceptron's parameters."""
    if fan_out < NARROW:
        multiply_rows(h, net.parameters[net.ahead + p :], bias, y, rows, fan_out, fan_in)
    else:
        multiply(net.product, h, net.transposed[p:], y, rows, fan_out, fan_in, ACTIVATE, IDENTITY, bias)


@inner
def add_and_push(rate, through_weights, output, activation):
    """ẏ = Ẇ h + ḃ + W ḣ in place of the first two, times f′, which follows from the output."""
    for i in range(output.size):
        rate[i] += through_weights[i]
    if activation == TANH:
        for i in range(output.size):
            rate[i] *= f32(1) - output[i] * output[i]
    elif activation != IDENTITY:
        for i in range(output.size):
            rate[i] = rate[i] if output[i] > f32(0) else f32(0)


@inner
def push_forward(x, net, along):
    """How fast the outputs change, [B, sizes[-1]], as the parameters go along a vector: J v.

        ẏ = W ḣ + Ẇ h + ḃ,    ḣ' = f′ ⊙ ẏ,    with ḣ = 0 for the inputs

    Pearlmutter 1994, for a perceptron. `along` is the same network with v in the parameters' place and
    a workspace of its own; the layers' outputs stand as `forward` left them.
    """
    net, along = net_at(net), net_at(along)
    rows = x.shape[0]
    layers = net.sizes.size - 1
    room = np.empty(rows * net.sizes.max(), np.float32)
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
        through_weights = room[: rows * fan_out]
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


@inner
def weigh(head, outputs, rate, log_std, scale):
    """M ż times `scale` in place of the outputs, M the distribution's own Fisher matrix in them.

    Softmax: diag(π) − ππᵀ. Gaussian: 1/σ² for the means.
    """
    rows, width = outputs.shape
    for i in range(rows):
        if head.kind != CHOICES:
            for k in range(width):
                outputs[i, k] = scale * rate[i, k] * math.exp(f32(-2) * log_std[k])
            continue
        first = 0
        for size in head.sizes:
            normalizer = log_normalizer(outputs[i, first : first + size])
            mean = f32(0)
            for k in range(first, first + size):
                outputs[i, k] = exp(outputs[i, k] - normalizer)
                mean += outputs[i, k] * rate[i, k]
            for k in range(first, first + size):
                weighed = scale * outputs[i, k] * (rate[i, k] - mean)
                outputs[i, k] = weighed if abs(weighed) > f32(NOTHING) else f32(0)
            first += size


@compiled(types.void(MATRIX, HEAD, NET, NET, types.float64))
def fisher_vector_product(x, head, actor, along, scale):
    """Σ_s Jᵀ M J v times `scale` into `actor.gradient`; `along` as in `push_forward`."""
    log_std, log_std_rate, slope = parameters_ahead(actor), parameters_ahead(along), gradient_ahead(actor)
    transpose(actor)
    transpose(along)
    clear_gradient(actor)
    for k in range(log_std.size):
        # a Gaussian's log σ: 2 in every state, and nothing between it and the means
        slope[k] = f32(2 * scale * x.shape[0]) * log_std_rate[k]
    for start in range(0, x.shape[0], ROWS):
        part = x[start : min(start + ROWS, x.shape[0])]
        outputs = forward(part, actor)
        weigh(head, outputs, push_forward(part, actor, along), log_std, f32(scale))
        backward(part, actor)


@compiled(types.void(MATRIX, MATRIX, HEAD, NET, VECTOR, VECTOR, MATRIX))
def policy_outputs(x, action, head, actor, log_prob, entropy, parameters):
    """(log π, H) [B] each, and log π(·|s) [B, n], or means and log σ side by side [B, 2K]."""
    log_std = parameters_ahead(actor)
    transpose(actor)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs = forward(x[start:stop], actor)
        hidden = last_hidden(x[start:stop], actor)
        evaluate(
            head, outputs, hidden, log_std, action[start:stop], log_prob[start:stop], entropy[start:stop]
        )
        width = outputs.shape[1]
        for i in range(stop - start):
            for k in range(width):
                parameters[start + i, k] = outputs[i, k]
            for k in range(log_std.size):
                parameters[start + i, width + k] = log_std[k]


@compiled(types.void(HEAD, MATRIX, MATRIX, VECTOR))
def divergence(head, old, new, kl):
    """KL(old ‖ new) [B] of distributions as `policy_outputs` gives them; the formulas of `policies.distributions`."""
    rows, width = old.shape
    for i in range(rows):
        total = f32(0)
        if head.kind != CHOICES:
            K = width // 2
            for k in range(K):
                wider = f32(2) * (old[i, K + k] - new[i, K + k])
                z = (old[i, k] - new[i, k]) * math.exp(-new[i, K + k])
                total += f32(0.5) * (math.expm1(wider) - wider + z * z)
        else:
            for k in range(width):
                total += exp(old[i, k]) * (old[i, k] - new[i, k])
        kl[i] = total
