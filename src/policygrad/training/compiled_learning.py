"""One update of a recipe in machine code. `algorithms.learning` is the same in Python, step by step.

Both call the same functions of the fused engine by their addresses, because a copy that is compiled into another
function may round differently. All arithmetic here is as written.
"""

# pyright: basic
# compiled code: `m` is a reference to `memory.Memory`, and other arrays are those of its fields

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import exact, inlined
from policygrad._support.function_pointers import function_at
from policygrad._support.references import value_of
from policygrad._support.views import as_matrix
from policygrad.advantages import continue_discount_weights
from policygrad.algorithms.diagnostics import mean, policy_change, value_errors
from policygrad.algorithms.minibatches import number_of_parts, write_minibatches
from policygrad.algorithms.penalty import adapted
from policygrad.algorithms.schedule import interpolated
from policygrad.algorithms.steps import copy_to_float32
from policygrad.engines.fused.net import parameters_ahead
from policygrad.engines.fused.traces import STEP_ALONG_TRACES
from policygrad.engines.fused.update_loop import DONE, GRADIENT, LEFT_OUT, STEP, TAKE_STEPS
from policygrad.engines.gradient_noise import begin_update
from policygrad.losses.compiled_loss import VALUE
from policygrad.policies.distributions.gaussian import mean_std
from policygrad.policies.distributions.units import share_outside
from policygrad.rollout.compiled_steps import copy
from policygrad.training import compiled_plan as plan
from policygrad.training import memory as at
from policygrad.training.compiled_estimates import (
    estimate,
    estimate_again,
    evaluate_policy,
    flatten,
    normalize,
    real,
    samples_of,
    values_along,
    values_at_truncations,
    write_episode_lengths,
    write_values,
)
from policygrad.training.memory import BAD_ADVANTAGE, BAD_TARGET, BAD_UPDATE, BAD_VALUE, FINE

_take_steps_at, _loss_at, _step_along_traces_at = (
    function_at(TAKE_STEPS), function_at(VALUE), function_at(STEP_ALONG_TRACES),
)  # fmt: skip


@inlined
def columns_of(m, p, B):
    """Return the columns [C, B] that a pass reads."""
    count = m.plan.passes[p, plan.COLUMNS]
    matrix = as_matrix(m.work.matrix, count, B)
    for k in range(count):
        copy(m.work.columns[m.plan.columns[p, k], :B], matrix[k])
    return matrix


@exact
def take_steps(m, x, action, outputs, p, T, progress):
    """Take the steps of one epoch of pass p and return the status."""
    B, one = len(x), m.plan.passes[p]
    steps_policy = one[plan.NETWORKS] != plan.VALUE_ONLY and m.work.marks[at.STOPPED] == 0
    steps_value = one[plan.NETWORKS] != plan.POLICY
    if not (steps_policy or steps_value):
        return FINE
    if one[plan.TRACES]:
        return step_along_traces(m, x, action, outputs, p, progress)
    parts = number_of_parts(B, one[plan.SIZE], 2 if one[plan.NORMALIZE] == plan.MINIBATCH else 1)
    order, bounds = m.work.order[:B], m.work.bounds[: parts + 1]
    if parts > 1:
        write_minibatches(m.world.bits, parts, order, bounds)
    else:
        order, bounds = order[:0], bounds[:1]
    only_target = one[plan.COLUMNS] == 0 or (one[plan.COLUMNS] == 1 and m.plan.columns[p, 0] == at.TARGET)
    if not only_target and not normalize(m, one[plan.NORMALIZE], parts, T, B):
        return BAD_ADVANTAGE
    policy_rate = interpolated(m.plan.rates[0, 0], m.plan.rates[0, 1], progress) if steps_policy else LEFT_OUT
    value_rate = interpolated(m.plan.rates[1, 0], m.plan.rates[1, 1], progress) if steps_value else LEFT_OUT
    m.results.norms[:] = 0.0
    status = _take_steps_at(m.plan.take_steps)(
        x, x, action, outputs, columns_of(m, p, B), m.work.part_x[:0], 0, B, 1,
        one[plan.TOGETHER] > 0, one[plan.LOSS], m.plan.coefficients[p, 2, : one[plan.COEFFICIENTS]],
        1 / B, order, bounds, GRADIENT | STEP,
        value_of(m.world.head), m.world.actor, policy_rate, m.world.critic, value_rate, m.plan.optimizer,
        m.plan.max_grad_norm, m.plan.max_kl[p], one[plan.OLD_LOG_PROB], m.results.norms,
        value_of(m.work.minibatch),
    )  # fmt: skip
    if status != DONE:
        return BAD_UPDATE
    taken = int(m.results.norms[2])
    if taken > 0:
        m.work.metrics[at.POLICY_NORM] = m.results.norms[0]
        if m.work.marks[at.KNOWN] == 0:
            # the first step returns log π and H as they were before it
            remember_policy(m, outputs)
    if steps_value:
        m.work.metrics[at.VALUE_NORM] = m.results.norms[1]
    m.work.marks[at.TAKEN] += taken
    if steps_policy and taken < parts:
        m.work.marks[at.STOPPED] = 1
    return FINE


@exact
def step_along_traces(m, x, action, outputs, p, progress):
    """Take a step of both networks along their traces and return the status; there is one sample per environment."""
    B = len(x)
    done, over, env, importance = m.work.done, m.work.over[:B], m.work.order[:B], m.work.flat[1, :B]
    for i in range(B):
        over[i], env[i], importance[i] = done[0, i], i, 1.0
    if m.plan.discount_weighting:
        flatten(m, real(m, 5, 1), m.work.flat[1])
    m.results.norms[:] = 0.0
    status = _step_along_traces_at(m.plan.step_along_traces)(
        x, action, outputs, env, over, m.work.flat[0, :B], importance, m.plan.decays, m.plan.coefficients[p, 2, 0],
        m.carried.policy_traces, m.carried.value_traces, value_of(m.world.head),
        m.world.actor, interpolated(m.plan.rates[0, 0], m.plan.rates[0, 1], progress),
        m.world.critic, interpolated(m.plan.rates[1, 0], m.plan.rates[1, 1], progress),
        m.plan.optimizer, m.plan.max_grad_norm,
        m.work.policy_direction, m.work.value_direction, m.work.trace_derivatives, m.results.norms,
    )  # fmt: skip
    if status != DONE:
        return BAD_UPDATE
    m.work.metrics[at.POLICY_NORM], m.work.metrics[at.VALUE_NORM] = m.results.norms[0], m.results.norms[1]
    m.work.marks[at.TAKEN] += 1
    remember_policy(m, outputs)
    return FINE


@exact
def remember_policy(m, outputs):
    """Remember log π(a|s) as that of the policy that acted."""
    m.work.marks[at.KNOWN] = 1
    copy(outputs[0], m.work.columns[at.OLD_POLICY, : outputs.shape[1]])
    m.work.metrics[at.ENTROPY] = mean(outputs[1])


@exact
def write_coefficients(m, progress, samples, episodes):
    """Write the current coefficients of all passes."""
    for p in range(len(m.plan.passes)):
        for k in range(m.plan.passes[p, plan.COEFFICIENTS]):
            kind = m.plan.computed[p, k]
            number = interpolated(m.plan.coefficients[p, 0, k], m.plan.coefficients[p, 1, k], progress)
            if kind == plan.PER_EPISODE:
                number = samples / episodes if m.plan.per_episode else 1.0
            elif kind == plan.ADAPTED:
                number = m.plan.penalty[0]
            m.plan.coefficients[p, 2, k] = number


@exact
def estimate_first(m, reward, x, action, outputs, T, finals, progress):
    """Evaluate what is needed of both networks as they were when they acted, and estimate; return the status."""
    B, N = len(x), m.work.valid.shape[1]
    old_value = m.work.columns[at.OLD_VALUE, :B]
    if m.plan.bootstrap == plan.EVERYWHERE:
        values_along(m, T, finals)
        flatten(m, real(m, 0, T), m.work.flat[2])
        if not copy_to_float32(m.work.flat[2, :B], old_value):
            return BAD_VALUE
    elif m.plan.bootstrap == plan.AT_TRUNCATIONS:
        values_at_truncations(m, T)
    if m.plan.bootstrap != plan.EVERYWHERE and m.plan.reads_value:
        if m.plan.early_pass >= 0:
            # a step of V(s) returns V(s) as it was before it
            if not estimate(m, reward, T, B):
                return BAD_TARGET
            status = take_steps(m, x, action, outputs, m.plan.early_pass, T, progress)
            if status != FINE:
                return status
            for i in range(B):
                old_value[i] = outputs[2, i]
        else:
            write_values(m, x, old_value)
        value, valid, i = real(m, 0, T), m.work.valid, 0
        for t in range(T):
            for n in range(N):
                value[t, n] = 0.0
                if valid[t, n]:
                    value[t, n] = old_value[i]
                    i += 1
    if not estimate(m, reward, T, B):
        return BAD_TARGET
    if m.plan.evaluates_policy_first:
        evaluate_policy(m, x, action, outputs[0], outputs[1])
        remember_policy(m, outputs)
    return FINE


@exact
def write_metrics(m, x, action, outputs, progress):
    """Write the metrics that are measured after the steps, and adapt the coefficient that changes after an update."""
    B = len(x)
    main = 0
    for p in range(len(m.plan.passes)):
        if m.plan.passes[p, plan.MAIN]:
            main = p
    if m.plan.loss_value != 0:
        coefficients = m.plan.coefficients[main, 2, : m.plan.passes[main, plan.COEFFICIENTS]]
        m.work.metrics[at.LOSS_MEAN] = _loss_at(m.plan.loss_value)(
            outputs, columns_of(m, main, B), coefficients
        )
    old, count = m.work.columns[at.OLD_POLICY, :B], B
    some_x, some_action = x, action
    if m.plan.kl_samples < B:
        stride = -(-B // m.plan.kl_samples)
        count = -(-B // stride)
        D, K = x.shape[1], action.shape[1]
        some_x, some_action = (
            as_matrix(m.work.part_x, count, D),
            as_matrix(m.work.part_action, count, K),
        )
        old = m.work.part_outputs[2 * B : 2 * B + count]
        for i in range(count):
            copy(x[i * stride], some_x[i])
            copy(action[i * stride], some_action[i])
            old[i] = m.work.columns[at.OLD_POLICY, i * stride]
    log_prob, entropy = m.work.part_outputs[:count], m.work.part_outputs[B : B + count]
    evaluate_policy(m, some_x, some_action, log_prob, entropy)
    if m.plan.limits.shape[1] > 0:
        m.work.metrics[at.CLIPPED_ACTIONS] = share_outside(action, m.plan.limits[0], m.plan.limits[1])
    if m.plan.std > 0:
        m.work.metrics[at.STD] = m.plan.std * mean_std(parameters_ahead(m.world.actor))
    clip = interpolated(m.plan.clip[0], m.plan.clip[1], progress)
    m.work.metrics[at.KL], m.work.metrics[at.LARGEST_RATIO], m.work.metrics[at.CLIP_SHARE] = policy_change(
        log_prob, old, clip
    )
    m.work.metrics[at.POLICY_STEPS] = m.work.marks[at.TAKEN]
    m.work.metrics[at.PENALTY] = m.plan.penalty[0]
    if m.plan.penalty[2] > 0:
        m.plan.penalty[0] = adapted(
            m.plan.penalty[0], m.work.metrics[at.KL], m.plan.penalty[2], m.plan.penalty[1]
        )


@exact
def learn(m, reward, T, finals, progress):
    """Perform one update from T steps, write its `memory.METRICS`, and return the status."""
    N = m.work.valid.shape[1]
    x, action = samples_of(m, T)
    B = len(x)
    outputs = as_matrix(m.work.outputs, 3, B)
    outputs[:] = np.float32(0)
    m.work.marks[:] = 0
    m.work.metrics[:] = np.nan
    m.work.metrics[at.LEARNING_RATE] = interpolated(m.plan.rates[0, 0], m.plan.rates[0, 1], progress)
    if m.plan.step_along_traces == 0:
        begin_update(m.carried.noise, B)
    write_coefficients(m, progress, B, N)
    if m.plan.discount_weighting:
        if m.plan.horizon == 0:
            m.carried.weight[:] = 1.0
        weights = real(m, 5, T)
        continue_discount_weights(m.work.done[:T], m.work.valid[:T], m.plan.gamma, m.carried.weight, weights)
    if m.plan.horizon == 0:
        write_episode_lengths(m, T)
    real(m, 2, T)[:] = 0.0
    status = estimate_first(m, reward, x, action, outputs, T, finals, progress)
    if status == FINE and m.plan.reads_value:
        old_value, target = m.work.columns[at.OLD_VALUE, :B], m.work.columns[at.TARGET, :B]
        for i in range(B):
            outputs[2, i] = old_value[i]
        if m.plan.remembered == 0:
            m.carried.moments[:] = 0.0
        m.work.metrics[at.VALUE_LOSS], m.work.metrics[at.VALUE_BIAS], m.work.metrics[at.EXPLAINED] = (
            value_errors(old_value, target, m.carried.moments, m.plan.remembered)
        )
    for p in range(len(m.plan.passes)):
        for epoch in range(1 if p == m.plan.early_pass else 0, m.plan.passes[p, plan.EPOCHS]):
            if status == FINE and epoch > 0 and m.plan.passes[p, plan.AGAIN]:
                status = estimate_again(m, reward, x, action, T, finals)
            if status == FINE:
                status = take_steps(m, x, action, outputs, p, T, progress)
    if status == FINE:
        write_metrics(m, x, action, outputs, progress)
    return status
