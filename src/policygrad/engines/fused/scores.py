"""‖∇ log π(a|s)‖² of each sample, for the optimal constant baseline, without forming the gradients."""

# pyright: basic
# compiled code: the types of the arguments are in the Numba signatures above the functions

from __future__ import annotations

import numpy as np
from numba import types

from policygrad._support.compiling import compiled, inner
from policygrad.engines.fused.heads import HEAD, differentiate, evaluate
from policygrad.engines.fused.layer_views import inputs_of, outputs_of
from policygrad.engines.fused.mlp import forward, last_hidden, pull_back, transpose
from policygrad.engines.fused.net import COUNT, HAS_BIAS, KIND, LINEAR, NET, NORM, net_at, parameters_ahead
from policygrad.engines.fused.update_loop import ROWS
from policygrad.engines.signatures import MATRIX, VECTOR

f32 = np.float32


@inner
def add_squared_gradients(x, net, squared):
    """Add each sample's squared gradient norm to `squared` [B]; ∂L/∂output is stored as for `mlp.backward`.

    A linear layer's gradient for one sample is the outer product δ hᵀ, so its squared norm is ‖δ‖² (‖h‖² + 1), where
    the 1 is for the bias (Goodfellow 2015, https://arxiv.org/abs/1510.01799).
    """
    net = net_at(net)
    rows = x.shape[0]
    for layer in range(net.sizes.size - 2, -1, -1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        delta, h = outputs_of(net, layer, rows), inputs_of(x, net, layer, rows)
        if net.layers[layer, KIND] == LINEAR:
            for i in range(rows):
                delta_squared, input_squared = f32(0), f32(net.layers[layer, HAS_BIAS])
                for j in range(fan_out):
                    delta_squared += delta[i * fan_out + j] * delta[i * fan_out + j]
                for j in range(fan_in):
                    input_squared += h[i * fan_in + j] * h[i * fan_in + j]
                squared[i] += delta_squared * input_squared
        elif net.layers[layer, KIND] == NORM:
            # δ_j x̂_j for γ_j, and δ_j for β_j
            has_gain, has_bias = f32(net.layers[layer, COUNT] > 0), f32(net.layers[layer, HAS_BIAS])
            for i in range(rows):
                for j in range(fan_out):
                    d, normalized = delta[i * fan_out + j], h[i * fan_out + j]
                    squared[i] += d * d * (has_gain * normalized * normalized + has_bias)
        if layer > 0:
            pull_back(net, layer, rows, delta, h)


@compiled(types.void(MATRIX, MATRIX, HEAD, NET, VECTOR), makes_arrays=True)
def squared_scores(x, action, head, actor, squared):
    """Write ‖∇ log π(a|s)‖² of each sample to `squared` [B], which must be zeros on entry."""
    log_std = parameters_ahead(actor)
    one, zero, unread = np.ones(1, np.float32), np.zeros(1, np.float32), np.empty(ROWS, np.float32)
    slope = np.empty(log_std.size, np.float32)
    transpose(actor)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        part, acted = x[start:stop], action[start:stop]
        outputs, hidden = forward(part, actor), last_hidden(part, actor)
        evaluate(head, outputs, hidden, log_std, acted, unread, unread)
        for i in range(stop - start):
            # one row at a time, because all samples would add to the one gradient of log σ
            slope[:] = 0
            row = slice(i, i + 1)
            differentiate(head, outputs[row], hidden[row], log_std, acted[row], unread[row], one, zero, slope)
            for k in range(slope.size):
                squared[start + i] += slope[k] * slope[k]
        add_squared_gradients(part, actor, squared[start:stop])
