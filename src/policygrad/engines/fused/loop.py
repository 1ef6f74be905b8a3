"""A whole update in one call: forward, the algorithm's three numbers, backward, clipping and the step."""

# pyright: basic
# compiled: the types of arguments are the Numba signatures above the functions

from __future__ import annotations

import math

import numpy as np
from numba import types

from policygrad.compiled import compiled, inlined, inner
from policygrad.engines.fused.heads import HEAD, differentiate, evaluate, sample
from policygrad.engines.fused.mlp import backward, backward_from_both, forward, last_hidden, transpose
from policygrad.engines.fused.net import NET, clear_gradient, gradient_ahead, net_at, parameters_ahead
from policygrad.engines.fused.optimizers import clip_factor, norm, step
from policygrad.engines.signatures import MATRIX, SAMPLE, SIZES, VECTOR, cotangents_at
from policygrad.pointers import ADDRESS
from policygrad.types import Sample

ROWS = 256
"""Samples a part: their activations stay in a core's second-level cache."""

DONE, OUTPUTS_NOT_FINITE, GRADIENT_NOT_FINITE = 0, 1, 2
"""What became of an update. Unless it is done, the parameters are as before."""

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
        hidden = last_hidden(x[start:stop], actor)
        sample(head, outputs, hidden, parameters_ahead(actor), noise[start:stop], action[start:stop])


@compiled(types.void(MATRIX, MATRIX, HEAD, NET, VECTOR, VECTOR))
def evaluations(x, action, head, actor, log_prob, entropy):
    """log π(a|s) and H(π(·|s)) of B samples into [B] each."""
    transpose(actor)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs = forward(x[start:stop], actor)
        hidden, log_std = last_hidden(x[start:stop], actor), parameters_ahead(actor)
        evaluate(
            head, outputs, hidden, log_std, action[start:stop], log_prob[start:stop], entropy[start:stop]
        )


@compiled(types.void(MATRIX, NET, VECTOR))
def values(x, critic, value):
    """V(s) of observations [B, D] into `value` [B]."""
    transpose(critic)
    trunk = net_at(critic).trunk
    if trunk != 0:
        transpose(trunk)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        seen = x[start:stop]
        if trunk != 0:
            forward(seen, trunk)
            seen = last_hidden(seen, trunk)
        outputs = forward(seen, critic)
        for i in range(stop - start):
            value[start + i] = outputs[i, 0]


@inner
def add_part(
    x, y, action, sample, write_cotangents, coefficients, use_policy, head, actor, use_value, critic, room
):
    """(log π, H, V) of up to ROWS samples into `sample`; adds to both networks' gradients."""
    n = x.shape[0]
    log_std = parameters_ahead(actor)
    w, e, c = room[0, :n], room[1, :n], room[2, :n]
    outputs = hidden = guess = x[:0]
    if use_policy:
        outputs = forward(x, actor)
        hidden = last_hidden(x, actor)
        evaluate(head, outputs, hidden, log_std, action, sample.log_prob, sample.entropy)
    shared = net_at(critic).trunk != 0
    if use_value:
        if shared and not use_policy:
            forward(x, actor)
        if shared:
            y = last_hidden(x, actor)
        guess = forward(y, critic)
        for i in range(n):
            sample.value[i] = guess[i, 0]
    write_cotangents(sample, coefficients, w, e, c)
    if use_value:
        for i in range(n):
            guess[i, 0] = c[i]
        # before the policy's, which overwrites its hidden layers
        backward(y, critic)
    if use_policy:
        slope = gradient_ahead(actor)
        differentiate(head, outputs, hidden, log_std, action, sample.entropy, w, e, slope)
        if use_value and shared:
            backward_from_both(x, actor, c, net_at(critic).parameters[: y.shape[1]])
        else:
            backward(x, actor)


@inner
def add_gradients(
    x, y, action, samples, write_cotangents, coefficients, use_policy, head, actor, use_value, critic, room
):
    """(log π, H, V) of B samples into `samples`, and both networks' gradients.

    A network that is not used is not computed: its outputs and its gradient stay as they are. `room` [3, ROWS]
    is for the three numbers.
    """
    if use_policy:
        clear_gradient(actor)
    if use_policy or net_at(critic).trunk != 0:
        transpose(actor)
    if use_value:
        transpose(critic)
        clear_gradient(critic)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        add_part(
            x[start:stop], y[start:stop], action[start:stop], rows_of(samples, start, stop),
            write_cotangents, coefficients, use_policy, head, actor, use_value, critic, room,
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
def gather(rows, x, y, action, samples, some_x, some_y, some_action, some):
    """Copy the given rows to the front of the others; `some_y` is empty where y is x."""
    for i in range(rows.size):
        row = rows[i]
        for d in range(x.shape[1]):
            some_x[i, d] = x[row, d]
        for d in range(some_y.shape[1]):
            some_y[i, d] = y[row, d]
        for k in range(action.shape[1]):
            some_action[i, k] = action[row, k]
        some.advantage[i] = samples.advantage[row]
        some.target[i] = samples.target[row]
        some.old_log_prob[i] = samples.old_log_prob[row]
        some.old_value[i] = samples.old_value[row]


@inner
def scatter(rows, some, samples, use_policy, use_value):
    """Copy the outputs that were computed back to where their samples came from."""
    for i in range(rows.size):
        if use_policy:
            samples.log_prob[rows[i]] = some.log_prob[i]
            samples.entropy[rows[i]] = some.entropy[i]
        if use_value:
            samples.value[rows[i]] = some.value[i]


@inner
def kl_estimate(sample):
    """The mean of r − 1 − log r, r = π(a|s) / π_old(a|s), of samples from π_old: see `policies.kl_estimate`."""
    total = 0.0
    for i in range(sample.log_prob.size):
        log_ratio = types.float64(sample.log_prob[i]) - types.float64(sample.old_log_prob[i])
        total += math.expm1(log_ratio) - log_ratio
    return total / sample.log_prob.size


@inner
def finite(x):
    """Whether no entry is NaN or infinite."""
    total = f32(0)
    for i in range(x.size):
        total += x[i] * f32(0)
    return total == f32(0)


@inner
def step_along_gradients(nets, rates, optimizer, max_norm, norms):
    """Clip the gradients and take the step, unless one is not finite; returns what became of it."""
    for i in range(len(nets)):
        if rates[i] >= 0:
            norms[i] = norm(net_at(nets[i]).gradient)
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


@compiled(types.int64(NET, NET, types.float64, types.float64, types.int64, types.float64, types.float64[::1]))
def step_of_both(actor, critic, policy_rate, value_rate, optimizer, max_norm, norms):
    """A step of both networks along the gradients that stand in them."""
    return step_along_gradients((actor, critic), (policy_rate, value_rate), optimizer, max_norm, norms)


@compiled(
    types.int64(
        MATRIX, MATRIX, MATRIX, SAMPLE, ADDRESS, VECTOR, SIZES, SIZES, types.int64,
        HEAD, NET, types.float64, NET, types.float64, types.int64, types.float64, types.float64,
        types.float64[::1],
    ),
    makes_arrays=True,
)  # fmt: skip
def update(
    x, y, action, samples, cotangents, coefficients, order, bounds, what,
    head, actor, policy_rate, critic, value_rate, optimizer, max_norm, max_kl, report,
):  # fmt: skip
    """Optimiser steps of the networks whose rate is 0 or more; returns what became of the last.

    The policy sees x, the value network y, which may be x. Without an `order` it is one step on all samples.
    With one, minibatch i is the samples that order[bounds[i]:bounds[i + 1]] names, a step each. Writes the
    samples' outputs, as each was last evaluated, and a `report` [3] float64: both gradients' L2 norms of the
    last step, before clipping to `max_norm`, and how many steps the policy took before a minibatch's KL went
    over `max_kl`.
    `what` is GRADIENT alone, STEP alone (from gradients that are there already), or both.
    """
    write_cotangents = cotangents_at(cotangents)
    use_policy, use_value = policy_rate >= 0, value_rate >= 0
    largest = 0
    for i in range(bounds.size - 1):
        largest = max(largest, bounds[i + 1] - bounds[i])
    columns = np.zeros((7, largest), np.float32)
    some = Sample(columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6])
    room = np.empty((3, ROWS), np.float32)
    some_x = np.empty((largest, x.shape[1]), np.float32)
    both_see_x = x.ctypes.data == y.ctypes.data
    some_y = np.empty((largest, 0 if both_see_x else y.shape[1]), np.float32)
    some_action = np.empty((largest, action.shape[1]), np.float32)
    ending = DONE
    for i in range(max(bounds.size - 1, 1)):
        part, part_x, part_y, part_action = samples, x, y, action
        if order.size:
            rows = order[bounds[i] : bounds[i + 1]]
            part, part_x, part_action = (
                rows_of(some, 0, rows.size),
                some_x[: rows.size],
                some_action[: rows.size],
            )
            gather(rows, x, y, action, samples, part_x, some_y, part_action, part)
            part_y = part_x if both_see_x else some_y[: rows.size]
        if what & GRADIENT:
            add_gradients(
                part_x, part_y, part_action, part, write_cotangents, coefficients,
                use_policy, head, actor, use_value, critic, room,
            )  # fmt: skip
        if order.size:
            scatter(order[bounds[i] : bounds[i + 1]], part, samples, use_policy, use_value)
        if use_policy and max_kl < np.inf and kl_estimate(part) > max_kl:
            use_policy, policy_rate = False, LEFT_OUT
        if what & STEP:
            if not (finite(part.log_prob) and finite(part.entropy) and finite(part.value)):
                return OUTPUTS_NOT_FINITE
            ending = step_along_gradients(
                (actor, critic), (policy_rate, value_rate), optimizer, max_norm, report
            )
            report[2] += use_policy
        if ending != DONE:
            break
    return ending
