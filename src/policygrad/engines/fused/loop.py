"""The whole batch in one call: forward, the algorithm's three numbers, backward, in parts that fit the cache."""

# pyright: basic
# compiled: the types of arguments are the Numba signatures above the functions

from __future__ import annotations

import numpy as np
from numba import types

from policygrad.compiled import compiled
from policygrad.engines.fused.heads import CATEGORICAL, differentiate, evaluate, sample
from policygrad.engines.fused.mlp import backward, forward
from policygrad.engines.signatures import COTANGENTS_ADDRESS, MATRIX, SIZES, VECTOR, cotangents_at

ROWS = 256
"""Samples a part: their activations stay in a core's second-level cache."""

POLICY = (types.int64, VECTOR, SIZES, types.int64)
"""head, parameters (a Gaussian's log σ first), sizes, activation."""
VALUE = (VECTOR, SIZES, types.int64)
"""parameters, sizes, activation."""


@compiled(types.void(MATRIX, types.float64[:, ::1], *POLICY, VECTOR, MATRIX))
def act(x, noise, head, parameters, sizes, activation, work, action):
    """Sampled actions for observations [B, D] into `action` [B, K]."""
    deviations = 0 if head == CATEGORICAL else sizes[-1]
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs = forward(x[start:stop], parameters[deviations:], sizes, activation, work)
        sample(head, outputs, parameters[:deviations], noise[start:stop], action[start:stop])


@compiled(types.void(MATRIX, *VALUE, VECTOR, VECTOR))
def values(x, parameters, sizes, activation, work, value):
    """V(s) of observations [B, D] into `value` [B]."""
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs = forward(x[start:stop], parameters, sizes, activation, work)
        for i in range(stop - start):
            value[start + i] = outputs[i, 0]


@compiled(
    types.void(
        MATRIX, MATRIX, VECTOR, VECTOR, COTANGENTS_ADDRESS, VECTOR,
        types.boolean, *POLICY, types.boolean, *VALUE,
        VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR,
    )
)  # fmt: skip
def gradients(
    x, action, advantage, target, cotangents, coefficients,
    use_policy, head, parameters, sizes, activation,
    use_value, value_parameters, value_sizes, value_activation,
    work, log_prob, entropy, value, gradient, value_gradient,
):  # fmt: skip
    """(log π, H, V) of a batch into [B] each, and both networks' gradients.

    A network that is not used is not computed: its outputs and its gradient stay as they are.
    """
    deviations = 0 if head == CATEGORICAL else sizes[-1]
    log_std = parameters[:deviations]
    write_cotangents = cotangents_at(cotangents)
    rows = min(ROWS, x.shape[0])
    split = work.size // 2
    work_policy, work_value = work[:split], work[split:]
    w, e, c = np.empty(rows, np.float32), np.empty(rows, np.float32), np.empty(rows, np.float32)
    for k in range(deviations):
        gradient[k] = np.float32(0)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        part, acted, n = x[start:stop], action[start:stop], stop - start
        outputs = work_policy[: n * sizes[-1]].reshape(n, sizes[-1])
        if use_policy:
            outputs = forward(part, parameters[deviations:], sizes, activation, work_policy)
            evaluate(head, outputs, log_std, acted, log_prob[start:stop], entropy[start:stop])
        guess = work_value[:n].reshape(n, 1)
        if use_value:
            guess = forward(part, value_parameters, value_sizes, value_activation, work_value)
            for i in range(n):
                value[start + i] = guess[i, 0]
        write_cotangents(
            log_prob[start:stop], entropy[start:stop], value[start:stop],
            advantage[start:stop], target[start:stop], coefficients, w[:n], e[:n], c[:n],
        )  # fmt: skip
        if use_policy:
            differentiate(
                head, outputs, log_std, acted, entropy[start:stop], w[:n], e[:n], gradient[:deviations]
            )
            backward(
                part,
                parameters[deviations:],
                sizes,
                activation,
                work_policy,
                gradient[deviations:],
                start > 0,
            )
        if use_value:
            for i in range(n):
                guess[i, 0] = c[i]
            backward(
                part, value_parameters, value_sizes, value_activation, work_value, value_gradient, start > 0
            )
