"""Each sample's own ‖∇ log π(a|s)‖², for the optimal constant baseline, without forming any gradient."""

# pyright: basic
# compiled: the types of arguments are the Numba signatures above the functions

from __future__ import annotations

import math

import numpy as np
from numba import types

from policygrad.compiled import compiled, inner
from policygrad.engines.fused.heads import GAUSSIAN, differentiate, evaluate
from policygrad.engines.fused.loop import HEAD, ROWS
from policygrad.engines.fused.mlp import flat, forward, outputs_end, pull_back, transpose
from policygrad.engines.fused.net import NET, net_at, parameters_ahead
from policygrad.engines.signatures import MATRIX, VECTOR

f32 = np.float32


@inner
def add_squared_gradients(x, net, squared):
    """Adds each sample's squared gradient norm to `squared` [B]; ∂L/∂output stands as for `mlp.backward`.

    A layer's gradient for one sample is the outer product δ hᵀ, so its squared norm is ‖δ‖² (‖h‖² + 1), the
    1 for the bias (Goodfellow 2015, https://arxiv.org/abs/1510.01799).
    """
    net = net_at(net)
    rows = x.shape[0]
    p = net.parameters.size
    o = outputs_end(net.sizes, rows)
    for layer in range(net.sizes.size - 2, -1, -1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        p -= fan_in * fan_out + fan_out
        o -= rows * fan_out
        delta = net.work[o : o + rows * fan_out]
        h = flat(x) if layer == 0 else net.work[o - rows * fan_in : o]
        for i in range(rows):
            of_delta, of_input = f32(0), f32(1)
            for j in range(fan_out):
                of_delta += delta[i * fan_out + j] * delta[i * fan_out + j]
            for j in range(fan_in):
                of_input += h[i * fan_in + j] * h[i * fan_in + j]
            squared[i] += of_delta * of_input
        if layer > 0:
            pull_back(net, layer, p, rows, delta, h, net.gradient[p - fan_in :])


@compiled(types.void(MATRIX, MATRIX, HEAD, NET, VECTOR))
def squared_scores(x, action, head, actor, squared):
    """‖∇ log π(a|s)‖² of each sample into `squared` [B], zeros on entry."""
    log_std = parameters_ahead(actor)
    rows = min(ROWS, x.shape[0])
    one, zero, unread = np.ones(rows, np.float32), np.zeros(rows, np.float32), np.empty(rows, np.float32)
    no_slope = np.zeros(log_std.size, np.float32)
    transpose(actor)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        part, acted, n = x[start:stop], action[start:stop], stop - start
        outputs = forward(part, actor)
        if head == GAUSSIAN:
            for i in range(n):
                for k in range(log_std.size):
                    z = (acted[i, k] - outputs[i, k]) * math.exp(-log_std[k])
                    squared[start + i] += (z * z - f32(1)) * (z * z - f32(1))
        evaluate(head, outputs, log_std, acted, unread[:n], unread[:n])
        differentiate(head, outputs, log_std, acted, zero[:n], one[:n], zero[:n], no_slope)
        add_squared_gradients(part, actor, squared[start:stop])
