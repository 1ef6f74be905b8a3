"""A whole update in one call: forward pass, derivatives of the loss, backward pass, clipping and optimizer step."""

# pyright: basic
# compiled code: the types of the arguments are in the Numba signatures above the functions

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from policygrad._support.compiling import compiled, inlined, inner
from policygrad._support.function_pointers import ADDRESS, addressable, function_at
from policygrad.engines.fused.gathering import MINIBATCH_WORKSPACE, MinibatchWorkspace, gather, scatter, total
from policygrad.engines.fused.heads import HEAD, differentiate, evaluate
from policygrad.engines.fused.mlp import backward, backward_from_both, forward, last_hidden, transpose
from policygrad.engines.fused.net import NET, clear_gradient, gradient_ahead, net_at, parameters_ahead
from policygrad.engines.fused.optimizers import clip_factor, norm, step
from policygrad.engines.gradient_noise import WANTED, measure_at
from policygrad.engines.signatures import MATRIX, NUMBERS, SIZES, VECTOR
from policygrad.losses.compiled_loss import derivatives_at
from policygrad.policies.distributions.kl import kl_of

ROWS = 256
"""Number of samples computed at a time, so that their activations stay in a core's second-level cache."""

DONE, OUTPUTS_NOT_FINITE, GRADIENT_NOT_FINITE = 0, 1, 2
"""Status of an update. Unless it is DONE, the last step was not taken and the parameters are as before it."""

GRADIENT, STEP = 1, 2
"""Flags for what `update` does: one of them, or both."""
LEFT_OUT = -1.0
"""Learning rate of a network that is neither computed nor changed."""
f32 = np.float32


@inner
def add_part(
    x, y, action, outputs, columns, weight, start, stop, derivatives, coefficients, scale,
    use_policy, head, actor, use_value, critic, d_outputs,
):  # fmt: skip
    """Write (log π, H, V) of the samples from `start` to `stop`, at most ROWS, to `outputs`; add to both gradients."""
    n = stop - start
    x, y, action = x[start:stop], y[start:stop], action[start:stop]
    log_std = parameters_ahead(actor)
    policy_output = hidden = value_output = x[:0]
    if use_policy:
        policy_output = forward(x, actor)
        hidden = last_hidden(x, actor)
        evaluate(head, policy_output, hidden, log_std, action, outputs[0, start:stop], outputs[1, start:stop])
    shared = net_at(critic).trunk != 0
    if use_value:
        if shared and not use_policy:
            forward(x, actor)
        if shared:
            y = last_hidden(x, actor)
        value_output = forward(y, critic)
        for i in range(n):
            outputs[2, start + i] = value_output[i, 0]
    derivatives(outputs, columns, start, stop, coefficients, scale, d_outputs)
    if weight.size:
        for k in range(3):
            for i in range(n):
                d_outputs[k, i] *= weight[start + i]
    d_log_prob, d_entropy, d_value = d_outputs[0, :n], d_outputs[1, :n], d_outputs[2, :n]
    if use_value:
        for i in range(n):
            value_output[i, 0] = d_value[i]
        # before the policy's backward pass, which overwrites the hidden layers that V(s) may share
        backward(y, critic)
    if use_policy:
        slope = gradient_ahead(actor)
        entropy = outputs[1, start:stop]
        differentiate(head, policy_output, hidden, log_std, action, entropy, d_log_prob, d_entropy, slope)
        if use_value and shared:
            backward_from_both(x, actor, d_value, net_at(critic).parameters[: y.shape[1]])
        else:
            backward(x, actor)


@inlined
def add_gradients(
    x, y, action, outputs, columns, weight, first, last, length, derivatives, coefficients, scale,
    use_policy, head, actor, use_value, critic, d_outputs,
):  # fmt: skip
    """Write (log π, H, V) of the samples from `first` to `last` to `outputs`, and compute both networks' gradients.

    A network that is not used is not computed: its outputs and its gradient stay as they are. `d_outputs` [3, ROWS]
    is workspace for the derivatives. Each part consists of whole segments of `length` samples, if one fits into ROWS.
    """
    if use_policy:
        clear_gradient(actor)
    if use_policy or net_at(critic).trunk != 0:
        transpose(actor)
    if use_value:
        transpose(critic)
        clear_gradient(critic)
    rows = max(ROWS // length, 1) * length if length <= ROWS else ROWS
    for start in range(first, last, rows):
        add_part(
            x, y, action, outputs, columns, weight, start, min(start + rows, last),
            derivatives, coefficients, scale, use_policy, head, actor, use_value, critic, d_outputs,
        )  # fmt: skip


@inlined
def mean_kl(log_prob, old_log_prob):
    """Return the mean of `policies.kl_estimate`."""
    sum_of_kl = 0.0
    for i in range(log_prob.size):
        sum_of_kl += kl_of(types.float64(log_prob[i]) - types.float64(old_log_prob[i]))
    return sum_of_kl / log_prob.size


@inlined
def finite(x):
    """Return True if no entry is NaN or infinite."""
    total = f32(0)
    for i in range(x.size):
        total += x[i] * f32(0)
    return total == f32(0)


@inner
def step_along_gradients(nets, rates, optimizer, max_norm, norms, samples):
    """Clip the gradients and take the step, unless a gradient is not finite; return the status.

    The noise of the policy's gradient is measured where it is the mean over a number of `samples`, and not if it is 0.
    """
    for i in range(len(nets)):
        if rates[i] >= 0:
            norms[i] = norm(net_at(nets[i]).gradient)
    # isfinite is not reliable with fast-math; a comparison with NaN is False
    if not norms[0] + norms[1] < np.inf:
        return GRADIENT_NOT_FINITE
    for i in range(len(nets)):
        net = net_at(nets[i])
        if rates[i] >= 0:
            if i == 0 and samples > 0 and net.noise[WANTED]:
                measure_at(net.measure)(net.gradient, samples, net.previous, net.noise)
            step(optimizer, net, rates[i], clip_factor(norms[i], max_norm))
            for k in range(net.ahead):
                net.parameters[k] = min(max(net.parameters[k], f32(net.lowest)), f32(net.highest))
    return DONE


@compiled(
    types.int64(NET, NET, types.float64, types.float64, types.int64, types.float64, types.float64[::1]),
    at_first_call=True,
)
def step_of_both(actor, critic, policy_rate, value_rate, optimizer, max_norm, norms):
    """Take a step of both networks along the gradients stored in them."""
    return step_along_gradients((actor, critic), (policy_rate, value_rate), optimizer, max_norm, norms, 0)


_ARGUMENTS: Any = (
    MATRIX, MATRIX, MATRIX, MATRIX, MATRIX, VECTOR, types.int64, types.int64, types.int64,
    types.boolean, ADDRESS, NUMBERS, types.float64, SIZES, SIZES, types.int64,
    HEAD, NET, types.float64, NET, types.float64, types.int64, types.float64, types.float64, types.int64,
    types.float64[::1],
)  # fmt: skip
TAKE_STEPS: Any = types.int64(*_ARGUMENTS, MINIBATCH_WORKSPACE)
_take_steps_at = function_at(TAKE_STEPS)


@addressable(TAKE_STEPS)
def take_steps(
    x, y, action, outputs, columns, weight, first, last, length,
    both, derivatives, coefficients, scale, order, bounds, what,
    head, actor, policy_rate, critic, value_rate, optimizer, max_norm, max_kl, old_log_prob, report, work,
):  # fmt: skip
    """See `update`."""
    write_derivatives = derivatives_at(derivatives)
    use_policy, use_value = both or policy_rate >= 0, both or value_rate >= 0
    both_see_x = x.ctypes.data == y.ctypes.data
    status = DONE
    for i in range(max(bounds.size - 1, 1)):
        part, part_columns, part_x, part_y, part_action = outputs, columns, x, y, action
        part_weight = weight
        if order.size:
            segments = order[bounds[i] : bounds[i + 1]]
            first, last = 0, segments.size * length
            part, part_columns, part_x, part_action = work.outputs, work.columns, work.x, work.action
            part_weight = work.weight
            gather(
                segments, length, x, y, action, columns, weight,
                part_x, work.y, part_action, part_columns, part_weight,
            )  # fmt: skip
            part_y = part_x if both_see_x else work.y
            scale = 1 / total(part_weight, last)
        if what & GRADIENT:
            add_gradients(
                part_x, part_y, part_action, part, part_columns, part_weight, first, last, length,
                write_derivatives, coefficients, scale, use_policy, head, actor, use_value, critic, work.d_outputs,
            )  # fmt: skip
        if order.size:
            scatter(order[bounds[i] : bounds[i + 1]], length, part, outputs, use_policy, use_value)
        if policy_rate >= 0 and max_kl < np.inf:
            kl = mean_kl(part[0, first:last], part_columns[old_log_prob, first:last])
            if kl > max_kl:
                use_policy, policy_rate = both, LEFT_OUT
        if what & STEP:
            for k in range(3):
                if not finite(part[k, first:last]):
                    return OUTPUTS_NOT_FINITE
            status = step_along_gradients(
                (actor, critic), (policy_rate, value_rate), optimizer, max_norm, report, last - first
            )
            report[2] += policy_rate >= 0
        if status != DONE:
            break
    return status


UPDATE: Any = types.int64(ADDRESS, *_ARGUMENTS)


@compiled(UPDATE, makes_arrays=True, at_first_call=True)
def update(
    take_steps, x, y, action, outputs, columns, weight, first, last, length,
    both, derivatives, coefficients, scale, order, bounds, what,
    head, actor, policy_rate, critic, value_rate, optimizer, max_norm, max_kl, old_log_prob, report,
):  # fmt: skip
    """Take optimizer steps of the networks whose rate is 0 or more; return the status of the last step.

    The policy sees x and the value network y, which may be x. Without an `order`, there is one step on the samples from
    `first` to `last`, whose derivatives are multiplied by `scale`. With an `order`, there is one step per minibatch,
    along the weighted mean over the segments order[bounds[i]:bounds[i + 1]]. The function writes the samples' outputs
    [3, B], as each was last evaluated, and a `report` [3] float64: the L2 norms of both gradients in the last step,
    before clipping to `max_norm`, and the number of steps that the policy took before the KL of a minibatch from the
    column `old_log_prob` exceeded `max_kl`. With `both`, a network without a rate is computed as well, for derivatives
    that depend on it. `what` is GRADIENT alone, STEP alone (along gradients that were computed before), or both.

    `take_steps` is the address of the function of this name, which counts no references and is not compiled a second
    time as a part of this one.
    """
    largest = 0
    for i in range(bounds.size - 1):
        largest = max(largest, (bounds[i + 1] - bounds[i]) * length)
    both_see_x = x.ctypes.data == y.ctypes.data
    work = MinibatchWorkspace(
        np.empty((largest, x.shape[1]), np.float32),
        np.empty((largest, 0 if both_see_x else y.shape[1]), np.float32),
        np.empty((largest, action.shape[1]), np.float32),
        np.zeros((3, largest), np.float32),
        np.empty((columns.shape[0], largest), np.float32),
        np.empty(largest if weight.size else 0, np.float32),
        np.empty((3, ROWS), np.float32),
    )
    return _take_steps_at(take_steps)(
        x, y, action, outputs, columns, weight, first, last, length,
        both, derivatives, coefficients, scale, order, bounds, what,
        head, actor, policy_rate, critic, value_rate, optimizer, max_norm, max_kl, old_log_prob, report, work,
    )  # fmt: skip
