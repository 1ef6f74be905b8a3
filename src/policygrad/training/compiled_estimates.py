"""Rewards, samples, values, advantages and targets of one update in machine code: see `compiled_learning`."""

# pyright: basic
# compiled code: `m` is a reference to `memory.Memory`, and other arrays are those of its fields

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import exact, inlined
from policygrad._support.function_pointers import function_at
from policygrad._support.references import value_of
from policygrad._support.views import as_matrix
from policygrad.advantages import estimate_at, normalize_in_place
from policygrad.advantages.scaling import normalize_each, normalize_episodes
from policygrad.algorithms.recipe import FLOAT64_ROUNDING
from policygrad.algorithms.steps import copy_to_float32
from policygrad.engines.fused.forward_loop import EVALUATIONS, VALUES
from policygrad.envs.shaping import shape_by_potential
from policygrad.policies.normalization import add_rows, continue_returns, scale_rewards
from policygrad.training import compiled_plan as plan
from policygrad.training import memory as at
from policygrad.training.memory import BAD_RETURN, BAD_SHAPED, BAD_TARGET, FINE

_values_at, _evaluations_at = function_at(VALUES), function_at(EVALUATIONS)


@exact
def add_observations(m, T):
    """Add the samples' observations to the running statistics. Variances of float32 numbers are finite in float64."""
    raw, valid, x, statistics = m.work.steps.raw, m.work.valid, m.work.part_x, m.carried.statistics
    D, i = raw.shape[2], 0
    for t in range(T):
        for n in range(raw.shape[1]):
            if valid[t, n]:
                for d in range(D):
                    x[i * D + d] = raw[t, n, d]
                i += 1
    add_rows(as_matrix(x, i, D), statistics.samples, statistics.mean, statistics.squares, m.work.sums)


@inlined
def shaped_rewards(m, T):
    """Return the rewards [T, N] after shaping."""
    N = m.work.valid.shape[1]
    return as_matrix(m.work.shaped, T, N) if m.plan.potential else as_matrix(m.work.steps.reward, T, N)


@inlined
def learned_rewards(m, T):
    """Return the rewards [T, N] after shaping and scaling."""
    return (
        as_matrix(m.work.scaled, T, m.work.valid.shape[1])
        if m.plan.normalizes_rewards
        else shaped_rewards(m, T)
    )


@exact
def write_rewards(m, T, samples):
    """Write the rewards that are learned from and update their statistics; return the status."""
    steps, statistics = m.work.steps, m.carried.statistics
    shaped, scaled = shaped_rewards(m, T), as_matrix(m.work.scaled, T, m.work.valid.shape[1])
    if m.plan.potential:
        finite = shape_by_potential(
            m.plan.potential, m.plan.gamma, steps.reward[:T], steps.raw[:T], steps.raw_next[:T], steps.terminated[:T],
            m.work.valid[:T], m.work.numbers, shaped,
        )  # fmt: skip
        if not finite:
            return BAD_SHAPED
    if m.plan.normalizes_rewards:
        continue_returns(shaped, m.work.done[:T], m.plan.gamma, statistics.returns, scaled)
        flatten(m, scaled, m.work.flat[0])
        running = as_matrix(m.work.flat[0], samples, 1)
        if not add_rows(
            running, statistics.reward_samples, statistics.reward_mean, statistics.reward_squares, m.work.sums
        ):
            return BAD_RETURN
        scale_rewards(
            shaped, statistics.reward_samples, statistics.reward_squares, m.plan.reward_limit, scaled
        )
    return FINE


@inlined
def samples_of(m, T):
    """Return the samples' observations [B, D] and actions [B, K]: without a copy if all T steps are samples."""
    N, D, K = m.work.valid.shape[1], m.work.steps.observation.shape[2], m.work.steps.action.shape[2]
    valid, observation, taken = m.work.valid, m.work.steps.observation, m.work.steps.action
    some_x, some_actions = m.work.x, m.work.action
    B = 0
    for t in range(T):
        for n in range(N):
            B += valid[t, n]
    if B == T * N:
        return as_matrix(observation, B, D), as_matrix(taken, B, K)
    i = 0
    for t in range(T):
        for n in range(N):
            if valid[t, n]:
                for d in range(D):
                    some_x[i * D + d] = observation[t, n, d]
                for k in range(K):
                    some_actions[i * K + k] = taken[t, n, k]
                i += 1
    return as_matrix(some_x, B, D), as_matrix(some_actions, B, K)


@inlined
def real(m, which, T):
    """Return one of the arrays [T, N] of `Work.reals`."""
    N = m.work.valid.shape[1]
    return as_matrix(m.work.reals[which], T, N)


@exact
def flatten(m, source, target):
    """Copy the samples of [T, N] to the beginning of a vector."""
    valid, i = m.work.valid, 0
    for t in range(source.shape[0]):
        for n in range(source.shape[1]):
            if valid[t, n]:
                target[i] = source[t, n]
                i += 1


@exact
def values_along(m, T, finals):
    """See `Engine.values_along`: write V(s_t) and V(s_{t+1})."""
    N, D = m.work.valid.shape[1], m.work.steps.observation.shape[2]
    rows = (T + 1) * N
    x = as_matrix(m.work.steps.observation, rows, D)
    _values_at(m.plan.values)(x, m.world.critic, m.work.all_values[:rows])
    value, next_value, along = real(m, 0, T), real(m, 1, T), m.work.all_values
    for t in range(T):
        for n in range(N):
            value[t, n] = along[t * N + n]
            next_value[t, n] = along[(t + 1) * N + n]
    if finals > 0:
        found = m.work.all_values[rows : rows + finals]
        _values_at(m.plan.values)(m.work.steps.final[:finals], m.world.critic, found)
        for i in range(finals):
            row = m.work.steps.final_index[i]
            next_value[row // N, row % N] = found[i]


@exact
def values_at_truncations(m, T):
    """Write V(s_{t+1}) where an episode was truncated; the other numbers are not read."""
    N, D = m.work.valid.shape[1], m.work.steps.observation.shape[2]
    count = 0
    for t in range(T):
        for n in range(N):
            if m.work.steps.truncated[t, n]:
                for d in range(D):
                    m.work.part_x[count * D + d] = m.work.steps.observation[t + 1, n, d]
                count += 1
    if count == 0:
        return
    found = m.work.all_values[:count]
    _values_at(m.plan.values)(as_matrix(m.work.part_x, count, D), m.world.critic, found)
    next_value, i = real(m, 1, T), 0
    for t in range(T):
        for n in range(N):
            if m.work.steps.truncated[t, n]:
                next_value[t, n] = found[i]
                i += 1


@exact
def estimate(m, reward, T, B):
    """Write the advantages and targets of the samples; return whether the targets are finite."""
    advantage, target = real(m, 3, T), real(m, 4, T)
    estimate_at(m.plan.estimator)(
        reward, real(m, 0, T), real(m, 1, T), real(m, 2, T), m.work.steps.terminated[:T], m.work.done[:T],
        m.work.valid[:T], m.plan.parameters, advantage, target
    )  # fmt: skip
    flatten(m, advantage, m.work.flat[0])
    flatten(m, target, m.work.flat[2])
    flat, size = m.work.flat[2, :B], 0.0
    for i in range(B):
        size = max(size, abs(flat[i]))
    m.work.size[0] = size
    return copy_to_float32(flat, m.work.columns[at.TARGET, :B])


@exact
def normalize(m, kind, parts, T, B):
    """Write the advantages that a pass learns from; return whether they are finite."""
    x, negligible = m.work.flat[1, :B], FLOAT64_ROUNDING * m.work.size[0]
    raw, order = m.work.flat[0, :B], m.work.order
    for i in range(B):
        x[i] = raw[i]
    if kind == plan.EPISODES:
        normalize_episodes(
            x, m.work.valid[:T], m.work.flat[2, : m.work.valid.shape[1]], m.plan.relative_rounding, negligible
        )
    elif kind == plan.MINIBATCH and parts > 1:
        ordered = m.work.flat[2, :B]
        for i in range(B):
            ordered[i] = x[order[i]]
        normalize_each(ordered, m.work.bounds[: parts + 1], m.plan.relative_rounding, negligible)
        for i in range(B):
            x[order[i]] = ordered[i]
    elif kind != plan.NO_NORMALIZATION and B > 1:
        normalize_in_place(x, m.plan.relative_rounding, negligible)
    if m.plan.discount_weighting:
        flatten(m, real(m, 5, T), m.work.flat[2])
        for i in range(B):
            x[i] *= m.work.flat[2, i]
    return copy_to_float32(x, m.work.columns[at.ADVANTAGE, :B])


@exact
def write_values(m, x, value):
    """Write V(s) of samples."""
    _values_at(m.plan.values)(x, m.world.critic, value)


@exact
def evaluate_policy(m, x, action, log_prob, entropy):
    """Write log π(a|s) and H of samples."""
    _evaluations_at(m.plan.evaluations)(x, action, value_of(m.world.head), m.world.actor, log_prob, entropy)


@exact
def log_ratios(m, x, action, T):
    """Write log π(a|s) now minus log π(a|s) when it acted, for an estimator that reads them."""
    B, N = len(x), m.work.valid.shape[1]
    log_prob, entropy = m.work.part_outputs[:B], m.work.part_outputs[B : 2 * B]
    evaluate_policy(m, x, action, log_prob, entropy)
    extra, i = real(m, 2, T), 0
    for t in range(T):
        for n in range(N):
            extra[t, n] = 0.0
            if m.work.valid[t, n]:
                extra[t, n] = np.float64(log_prob[i]) - np.float64(m.work.columns[at.OLD_POLICY, i])
                i += 1


@exact
def estimate_again(m, reward, x, action, T, finals):
    """Estimate with V(s) and, if the estimator reads it, log π(a|s) as they are now; return the status."""
    if m.plan.reads_log_ratio:
        log_ratios(m, x, action, T)
    values_along(m, T, finals)
    return FINE if estimate(m, reward, T, len(x)) else BAD_TARGET


@exact
def write_episode_lengths(m, T):
    """Write the length of each sample's episode to the columns, for whole episodes."""
    valid, length, lengths, i = m.work.valid, m.world.elapsed, m.work.columns[at.EPISODE_LENGTH], 0
    for t in range(T):
        for n in range(valid.shape[1]):
            if valid[t, n]:
                lengths[i] = length[n]
                i += 1
