"""A whole update in one call: forward, the algorithm's three numbers, backward, clipping and the step."""

# pyright: basic
# compiled: the types of arguments are the Numba signatures above the functions

from __future__ import annotations

import numpy as np
from numba import types

from policygrad.compiled import compiled, inlined, inner
from policygrad.engines.fused.heads import differentiate, evaluate, sample
from policygrad.engines.fused.mlp import backward, forward, transpose
from policygrad.engines.fused.net import NET, clear_gradient, gradient_ahead, net_at, parameters_ahead
from policygrad.engines.fused.optimizers import clip_factor, norm, step
from policygrad.engines.signatures import MATRIX, SAMPLE, SIZES, VECTOR, cotangents_at
from policygrad.pointers import ADDRESS
from policygrad.types import Sample

ROWS = 256
"""Samples a part: their activations stay in a core's second-level cache."""

DONE, OUTPUTS_NOT_FINITE, GRADIENT_NOT_FINITE = 0, 1, 2
"""What became of an update. Unless it is done, the parameters are as before."""

HEAD = types.int64
GRADIENT, STEP = 1, 2
"""What `update` is to do: either, or both."""
LEFT_OUT = -1.0
"""As a rate: this network is neither computed nor changed."""
f32 = np.float32


@compiled(types.void(MATRIX, types.float64[:, ::1], HEAD, NET, MATRIX))
def act(x, noise, head, actor, action):
    """Sampled actions for observations [B, D] into `action` [B, K]."""
    transpose(actor)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs = forward(x[start:stop], actor)
        sample(head, outputs, parameters_ahead(actor), noise[start:stop], action[start:stop])


@compiled(types.void(MATRIX, NET, VECTOR))
def values(x, critic, value):
    """V(s) of observations [B, D] into `value` [B]."""
    transpose(critic)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs = forward(x[start:stop], critic)
        for i in range(stop - start):
            value[start + i] = outputs[i, 0]


@inner
def add_part(x, action, sample, write_cotangents, coefficients, use_policy, head, actor, use_value, critic):
    """(log π, H, V) of up to ROWS samples into `sample`; adds to both networks' gradients."""
    n = x.shape[0]
    log_std = parameters_ahead(actor)
    w, e, c = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    outputs = guess = x[:0]
    if use_policy:
        outputs = forward(x, actor)
        evaluate(head, outputs, log_std, action, sample.log_prob, sample.entropy)
    if use_value:
        guess = forward(x, critic)
        for i in range(n):
            sample.value[i] = guess[i, 0]
    write_cotangents(sample, coefficients, w, e, c)
    if use_policy:
        differentiate(head, outputs, log_std, action, sample.entropy, w, e, gradient_ahead(actor))
        backward(x, actor)
    if use_value:
        for i in range(n):
            guess[i, 0] = c[i]
        backward(x, critic)


@inner
def add_gradients(
    x, action, samples, write_cotangents, coefficients, use_policy, head, actor, use_value, critic
):
    """(log π, H, V) of B samples into `samples`, and both networks' gradients.

    A network that is not used is not computed: its outputs and its gradient stay as they are.
    """
    if use_policy:
        transpose(actor)
        clear_gradient(actor)
    if use_value:
        transpose(critic)
        clear_gradient(critic)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        add_part(
            x[start:stop], action[start:stop], rows_of(samples, start, stop), write_cotangents, coefficients,
            use_policy, head, actor, use_value, critic,
        )  # fmt: skip


@inlined
def rows_of(samples, start, stop):
    """The samples from `start` to before `stop`."""
    return Sample(
        samples.log_prob[start:stop],
        samples.entropy[start:stop],
        samples.value[start:stop],
        samples.advantage[start:stop],
        samples.target[start:stop],
        samples.old_log_prob[start:stop],
        samples.old_value[start:stop],
    )


@inner
def gather(rows, x, action, samples, some_x, some_action, some):
    """Copy the given rows to the front of the others."""
    for i in range(rows.size):
        row = rows[i]
        for d in range(x.shape[1]):
            some_x[i, d] = x[row, d]
        for k in range(action.shape[1]):
            some_action[i, k] = action[row, k]
        some.advantage[i] = samples.advantage[row]
        some.target[i] = samples.target[row]
        some.old_log_prob[i] = samples.old_log_prob[row]
        some.old_value[i] = samples.old_value[row]


@inner
def scatter(rows, some, samples):
    """Copy the outputs back to where their samples came from."""
    for i in range(rows.size):
        samples.log_prob[rows[i]] = some.log_prob[i]
        samples.entropy[rows[i]] = some.entropy[i]
        samples.value[rows[i]] = some.value[i]


@inner
def finite(x):
    """Whether no entry is NaN or infinite."""
    total = f32(0)
    for i in range(x.size):
        total += x[i] * f32(0)
    return total == f32(0)


@inner
def step_along_gradients(samples, nets, rates, optimizer, max_norm, norms):
    """Clip the gradients and take the step, unless something is not finite; returns what became of it."""
    if not (finite(samples.log_prob) and finite(samples.entropy) and finite(samples.value)):
        return OUTPUTS_NOT_FINITE
    for i in range(len(nets)):
        norms[i] = norm(net_at(nets[i]).gradient) if rates[i] >= 0 else 0.0
    # what fast arithmetic leaves of isfinite is not to be relied on; a comparison with NaN is False
    if not norms[0] + norms[1] < np.inf:
        return GRADIENT_NOT_FINITE
    for i in range(len(nets)):
        net = net_at(nets[i])
        if rates[i] >= 0:
            step(optimizer, net, rates[i], clip_factor(norms[i], max_norm))
            for k in range(net.ahead):
                net.parameters[k] = min(max(net.parameters[k], f32(net.lowest)), f32(net.highest))
    return DONE


@compiled(
    types.int64(
        MATRIX, MATRIX, SAMPLE, ADDRESS, VECTOR, SIZES, SIZES, types.int64,
        HEAD, NET, types.float64, NET, types.float64, types.int64, types.float64, types.float64[::1],
    )
)  # fmt: skip
def update(
    x, action, samples, cotangents, coefficients, order, bounds, what,
    head, actor, policy_rate, critic, value_rate, optimizer, max_norm, norms,
):  # fmt: skip
    """Optimiser steps of the networks whose rate is 0 or more; returns what became of the last.

    Without an `order` it is one step on all samples. With one, minibatch i is the samples that
    order[bounds[i]:bounds[i + 1]] names, a step each. Writes the samples' outputs, as each was last
    evaluated, and both gradients' L2 norms of the last step, [2] float64, before clipping to `max_norm`.
    `what` is GRADIENT alone, STEP alone (from gradients that are there already), or both.
    """
    write_cotangents = cotangents_at(cotangents)
    use_policy, use_value = policy_rate >= 0, value_rate >= 0
    largest = 0
    for i in range(bounds.size - 1):
        largest = max(largest, bounds[i + 1] - bounds[i])
    room = np.zeros((7, largest), np.float32)
    some = Sample(room[0], room[1], room[2], room[3], room[4], room[5], room[6])
    some_x = np.empty((largest, x.shape[1]), np.float32)
    some_action = np.empty((largest, action.shape[1]), np.float32)
    ending = DONE
    for i in range(max(bounds.size - 1, 1)):
        part, part_x, part_action = samples, x, action
        if order.size:
            rows = order[bounds[i] : bounds[i + 1]]
            part, part_x, part_action = (
                rows_of(some, 0, rows.size),
                some_x[: rows.size],
                some_action[: rows.size],
            )
            gather(rows, x, action, samples, part_x, part_action, part)
        if what & GRADIENT:
            add_gradients(
                part_x, part_action, part, write_cotangents, coefficients,
                use_policy, head, actor, use_value, critic,
            )  # fmt: skip
        if order.size:
            scatter(order[bounds[i] : bounds[i + 1]], part, samples)
        if what & STEP:
            ending = step_along_gradients(
                part, (actor, critic), (policy_rate, value_rate), optimizer, max_norm, norms
            )
        if ending != DONE:
            break
    return ending
