"""Each sample's own ‖∇ log π(a|s)‖², for the optimal constant baseline, without forming any gradient."""

# pyright: basic
# compiled: the types of arguments are the Numba signatures above the functions

from __future__ import annotations

import math

import numpy as np
from numba import types

from policygrad.compiled import compiled, inner
from policygrad.engines.fused.heads import CATEGORICAL, GAUSSIAN, differentiate, evaluate
from policygrad.engines.fused.loop import POLICY, ROWS
from policygrad.engines.fused.mlp import extent, forward, times_derivative
from policygrad.engines.signatures import MATRIX, VECTOR

f32 = np.float32


@inner
def add_squared_gradients(x, parameters, sizes, activation, work, squared):
    """Adds each sample's squared gradient norm to `squared` [B]; ∂L/∂output stands as for `mlp.backward`.

    A layer's gradient for one sample is the outer product δ hᵀ, so its squared norm is ‖δ‖² (‖h‖² + 1), the
    1 for the bias (Goodfellow 2015, https://arxiv.org/abs/1510.01799).
    """
    rows = x.shape[0]
    p = parameters.size
    outputs, widest = extent(sizes)
    o = rows * outputs
    spare = work[o : o + rows * widest]
    for layer in range(sizes.size - 2, -1, -1):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        p -= fan_in * fan_out + fan_out
        o -= rows * fan_out
        delta = work[o : o + rows * fan_out].reshape(rows, fan_out)
        h = x if layer == 0 else work[o - rows * fan_in : o].reshape(rows, fan_in)
        for i in range(rows):
            of_delta, of_input = f32(0), f32(1)
            for j in range(fan_out):
                of_delta += delta[i, j] * delta[i, j]
            for j in range(fan_in):
                of_input += h[i, j] * h[i, j]
            squared[i] += of_delta * of_input
        if layer > 0:
            weight = parameters[p : p + fan_in * fan_out].reshape(fan_out, fan_in)
            pulled = spare[: rows * fan_in].reshape(rows, fan_in)
            np.dot(delta, weight, pulled)
            times_derivative(pulled, h, activation)


@compiled(types.void(MATRIX, MATRIX, *POLICY, VECTOR, VECTOR))
def squared_scores(x, action, head, parameters, sizes, activation, work, squared):
    """‖∇ log π(a|s)‖² of each sample into `squared` [B], zeros on entry."""
    deviations = 0 if head == CATEGORICAL else sizes[-1]
    log_std = parameters[:deviations]
    rows = min(ROWS, x.shape[0])
    one, zero, unread = np.ones(rows, np.float32), np.zeros(rows, np.float32), np.empty(rows, np.float32)
    no_slope = np.zeros(deviations, np.float32)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        part, acted, n = x[start:stop], action[start:stop], stop - start
        outputs = forward(part, parameters[deviations:], sizes, activation, work)
        if head == GAUSSIAN:
            for i in range(n):
                for k in range(deviations):
                    z = (acted[i, k] - outputs[i, k]) * math.exp(-log_std[k])
                    squared[start + i] += (z * z - f32(1)) * (z * z - f32(1))
        evaluate(head, outputs, log_std, acted, unread[:n], unread[:n])
        differentiate(head, outputs, log_std, acted, zero[:n], one[:n], zero[:n], no_slope)
        add_squared_gradients(part, parameters[deviations:], sizes, activation, work, squared[start:stop])
