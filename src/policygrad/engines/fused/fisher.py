"""Products with the policy's Fisher matrix, and KL divergences between policies, without forming a matrix."""

# pyright: basic
# compiled code: the types of the arguments are in the Numba signatures above the functions

from __future__ import annotations

import numpy as np
from numba import types

from policygrad._support.compiling import compiled, inner, inner_making_arrays
from policygrad._support.function_pointers import ADDRESS, function_at
from policygrad._support.views import as_matrix
from policygrad.engines.fused.heads import HEAD, evaluate
from policygrad.engines.fused.heads.head import DESCRIBE, DIVERGENCE, FISHER
from policygrad.engines.fused.layer_views import inputs_of, outputs_of, scales_of, stored_of, weights_of
from policygrad.engines.fused.layers import apply_norm_jacobian
from policygrad.engines.fused.matmul import IDENTITY, TANH
from policygrad.engines.fused.mlp import apply_weights, backward, forward, last_hidden, transpose
from policygrad.engines.fused.net import (
    ACTIVATION,
    COUNT,
    FUSED,
    KIND,
    LINEAR,
    NET,
    NORM,
    clear_gradient,
    gradient_ahead,
    net_at,
    parameters_ahead,
)
from policygrad.engines.fused.update_loop import ROWS
from policygrad.engines.signatures import MATRIX, VECTOR

f32 = np.float32
_fisher_at, _describe_at, _divergence_at = function_at(FISHER), function_at(DESCRIBE), function_at(DIVERGENCE)


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

    This is Pearlmutter 1994. `along` is the same network with v as its parameters and a separate workspace. The layers'
    outputs in `net` must be as `forward` left them.
    """
    net, along = net_at(net), net_at(along)
    rows = x.shape[0]
    scratch = np.empty(rows * net.sizes.max(), np.float32)
    zeros = np.zeros(net.sizes.max(), np.float32)
    h_rate = zeros[:0]
    for layer in range(net.sizes.size - 1):
        kind, fan_out = net.layers[layer, KIND], net.sizes[layer + 1]
        h, y = inputs_of(x, net, layer, rows), outputs_of(net, layer, rows)
        rate = outputs_of(along, layer, rows)
        if kind == LINEAR:
            bias = stored_of(along, layer)[weights_of(net, layer) :]
            through_weights = scratch[: rows * fan_out]
            apply_weights(along, layer, h, bias, rate, rows, IDENTITY)
            if layer > 0:
                apply_weights(net, layer, h_rate, zeros, through_weights, rows, IDENTITY)
            else:
                for i in range(through_weights.size):
                    through_weights[i] = f32(0)
            add_and_push(rate, through_weights, y, net.layers[layer, FUSED])
        elif kind == NORM:
            scale, gain, directions = (
                scales_of(net, layer, rows),
                stored_of(net, layer),
                stored_of(along, layer),
            )
            push_through_norm(h, h_rate, scale, gain, directions, net.layers[layer, COUNT] > 0, rate, fan_out)
        elif kind == ACTIVATION:
            # `forward` has left f′ in h
            for i in range(rate.size):
                rate[i] = h[i] * h_rate[i]
        else:
            for i in range(rate.size):
                rate[i] = f32(0)
        h_rate = rate
    return as_matrix(h_rate, rows, net.sizes[-1])


@inner
def push_through_norm(normalized, x_rate, scale, stored, along, has_gain, rate, width):
    """Write ẏ = γ (∂x̂/∂x ẋ) + γ̇ x̂ + β̇ to `rate`; `stored` has γ and β, and `along` has γ̇ (1 if there is no γ) and β̇."""
    for i in range(scale.size):
        row, result = normalized[i * width : (i + 1) * width], rate[i * width : (i + 1) * width]
        apply_norm_jacobian(row, x_rate[i * width : (i + 1) * width], scale[i], result)
        for j in range(width):
            gain_rate = along[j] if has_gain else f32(0)
            result[j] = stored[j] * result[j] + gain_rate * row[j] + along[width + j]


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
