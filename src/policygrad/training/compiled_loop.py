"""The training loop in machine code: many updates per call, each collecting, learning and recording.

`training.Training` does the same in Python, one row of the history at a time. Where a call ends changes no result.
"""

# pyright: basic
# compiled code: the types of the arguments are those of `memory`

from __future__ import annotations

import numpy as np
from numba import types

from policygrad._support.compiling import compiled_later, exact
from policygrad._support.function_pointers import ADDRESS, function_at
from policygrad._support.references import reference_at, value_of
from policygrad.algorithms.diagnostics import mean
from policygrad.engines.fused.mlp import transpose
from policygrad.engines.fused.net import net_at
from policygrad.engines.gradient_noise import ratios
from policygrad.envs.kernel_vector import reset_all
from policygrad.policies.normalization import write_normalizer
from policygrad.rollout.compiled_steps import BAD_INDEX, WALK, copy, encode
from policygrad.rollout.episode_returns import add_up, add_up_whole
from policygrad.training.candidates import NONE, best_of, place_of
from policygrad.training.compiled_estimates import (
    add_observations,
    learned_rewards,
    shaped_rewards,
    write_rewards,
)
from policygrad.training.compiled_learning import learn
from policygrad.training.iteration import SMALLEST_ROW
from policygrad.training.memory import FINE, MEMORY, SHAPED_RETURN
from policygrad.training.recent_returns import WINDOW, mean_of_recent, remember

ROWS, PREVIOUS, NOISE, USED, ALL_EPISODES, ROW_SAMPLES, ROW_STEPS, ROW_UPDATES, ROW_BEGAN = range(9)
WRITTEN, RETURNS, NEW_BEST, STOPPED_AT, TURN = range(9, 14)
COUNTS = 14
"""Entries of `Carried.counts`: rows of the update that have been collected, rows of the previous update, rows of noise
that have been used, samples and episodes of the run; samples, steps with padding, updates, and first return of the
current row of the history; rows and returns in `Results`, whether the best candidate is new, the row in which an
environment failed, and which part of `Results.acted` is that of the current row."""

PAUSED, NEEDS_NOISE, SOLVED, FINISHED, ENVIRONMENT, LEARNING = range(6)
"""Why a call ended: as many rows as requested, no more noise, the threshold, the budget, or a fault: 10 times the last
two, plus the status of `run_steps` or of `learn`."""
OWN_METRICS = (
    "steps",
    "episodes",
    "seconds",
    "return",
    "return_100",
    "episode_length",
    "idle_share",
    "gradient_snr",
    "noise_scale",
)
"""The first columns of a row, before those of `memory.METRICS`. Seconds are left to the caller."""

_walk_at = function_at(WALK)


@exact
def begin_update(m, c):
    """Prepare the buffers, and reset all environments if whole episodes are collected; return a status."""
    N = len(m.world.alive)
    terminated, truncated, reward = m.work.steps.terminated, m.work.steps.truncated, m.work.steps.reward
    for t in range(c[PREVIOUS]):
        for n in range(N):
            terminated[t, n] = truncated[t, n] = False
            reward[t, n] = 0.0
    m.work.steps.final_count[0] = 0
    m.world.alive[:] = True
    if m.plan.horizon == 0:
        seeds = m.work.order[:N]
        for n in range(N):
            seeds[n] = (m.world.seeds[0] + n * m.world.seeds[1]) % 2**31
        m.world.seeds[0] = (m.world.seeds[0] + N * m.world.seeds[1]) % 2**31
        ending = reset_all(
            m.world.kernel, seeds, m.world.states, m.world.rngs, m.world.elapsed, m.world.shown, m.world.where
        )
        if ending != FINE:
            return ending
    for n in range(N):
        if not encode(m.world.spaces, m.world.shown[n], m.work.steps.observation[0, n]):
            return BAD_INDEX
    return FINE


@exact
def collect(m, c):
    """Collect the steps of an update, or continue to; return NEEDS_NOISE, a fault or FINE."""
    if c[ROWS] == 0:
        ending = begin_update(m, c)
        if ending != FINE:
            c[STOPPED_AT] = 0
            return 10 * ENVIRONMENT + ending
    last = m.world.max_steps if m.plan.horizon == 0 else m.plan.horizon
    while c[ROWS] < last and m.world.alive.any():
        rows = min(len(m.world.noise) - c[NOISE], last - c[ROWS])
        if rows == 0:
            return NEEDS_NOISE
        transpose(m.world.actor)
        ending, stop = _walk_at(m.plan.walk)(
            m.world.kernel, m.world.states, m.world.rngs, m.world.elapsed, m.world.shown,
            m.world.max_steps, m.world.alive, 0, len(m.world.alive), m.plan.horizon > 0,
            value_of(m.world.head), m.world.actor, value_of(m.world.spaces),
            m.world.noise[c[NOISE] : c[NOISE] + rows], c[ROWS], value_of(m.work.steps), m.world.where,
            value_of(m.work.walk),
        )  # fmt: skip
        if ending != FINE:
            c[STOPPED_AT] = stop
            return 10 * ENVIRONMENT + ending
        c[NOISE] += stop - c[ROWS]
        c[ROWS] = stop
    return FINE


@exact
def mark(m, T):
    """Write which rows are samples, and where episodes end; return the number of samples."""
    samples, always = 0, m.plan.horizon > 0
    done, valid, elapsed = m.work.done, m.work.valid, m.world.elapsed
    terminated, truncated = m.work.steps.terminated, m.work.steps.truncated
    for t in range(T):
        for n in range(len(elapsed)):
            done[t, n] = terminated[t, n] or truncated[t, n]
            valid[t, n] = always or t < elapsed[n]
            samples += valid[t, n]
    return samples


@exact
def count_episodes(m, c, T):
    """Append the returns and lengths of the episodes that ended in T steps to the results."""
    reward, valid, done = m.work.steps.reward[:T], m.work.valid[:T], m.work.done[:T]
    at = c[RETURNS]
    returns, lengths = m.results.returns[at:], m.results.lengths[at:]
    if m.plan.horizon == 0:
        c[RETURNS] += add_up_whole(reward, valid, returns, lengths)
    else:
        so_far = m.carried.so_far
        c[RETURNS] += add_up(reward, valid, done, so_far[0], so_far[1], returns, lengths)
    if m.plan.potential:
        count_shaped_episodes(m, T)


@exact
def count_shaped_episodes(m, T):
    """Write the mean of the shaped returns of the episodes that ended in T steps."""
    reward, valid, done, returns = shaped_rewards(m, T), m.work.valid[:T], m.work.done[:T], m.work.flat[0]
    if m.plan.horizon == 0:
        ended = add_up_whole(reward, valid, returns, m.work.flat[1])
    else:
        so_far = m.carried.shaped_so_far
        ended = add_up(reward, valid, done, so_far[0], so_far[1], returns, m.work.flat[1])
    if ended > 0:
        m.work.metrics[SHAPED_RETURN] = mean(returns[:ended])


@exact
def write_row(m, c):
    """Write a row of the history, and consider the policy at its start as a candidate."""
    returns, lengths = (
        m.results.returns[c[ROW_BEGAN] : c[RETURNS]],
        m.results.lengths[c[ROW_BEGAN] : c[RETURNS]],
    )
    ended = len(returns)
    full = c[ALL_EPISODES] >= WINDOW
    remember(m.carried.ring, m.carried.ring_count, returns)
    c[ALL_EPISODES] += ended
    recent = mean_of_recent(m.carried.ring, m.carried.ring_count)
    row = m.results.table[c[WRITTEN]]
    row[0], row[1], row[2] = c[USED], c[ALL_EPISODES], np.nan
    row[3] = mean(returns) if ended > 0 else np.nan
    row[4] = recent
    row[5] = mean(lengths) if ended > 0 else np.nan
    row[6] = 1 - c[ROW_SAMPLES] / c[ROW_STEPS]
    row[7], row[8] = ratios(m.carried.noise)
    for k in range(len(m.carried.sums)):
        row[9 + k] = m.carried.sums[k] / m.carried.defined[k] if m.carried.defined[k] > 0 else np.nan
        m.carried.sums[k], m.carried.defined[k] = 0.0, 0
    m.results.episodes[c[WRITTEN]] = ended
    c[WRITTEN] += 1
    place = place_of(
        m.results.means,
        m.results.candidate_episodes,
        m.results.candidate_count,
        recent,
        c[ALL_EPISODES],
        full,
        ended > 0,
    )
    if place != NONE:
        m.results.changed[place] = 1
        copy(m.results.acted[c[TURN]], m.results.candidates[place])
        copy(m.results.acted_statistics[c[TURN]], m.results.candidate_statistics[place])
        best = best_of(m.results.means, m.results.candidate_episodes, m.results.candidate_count)
        c[NEW_BEST] |= place == best
    c[ROW_SAMPLES], c[ROW_STEPS], c[ROW_UPDATES], c[ROW_BEGAN] = 0, 0, 0, c[RETURNS]
    c[TURN] = 1 - c[TURN]
    return recent


_memory_at = reference_at(MEMORY)


@compiled_later(types.int64(ADDRESS, types.int64, types.float64, types.int64, types.int64))
def run_updates(memory, budget, threshold, pause_at, most_rows):
    """Perform updates until a row of the history is complete and one of the following holds; return which one.

    FINISHED: `budget` samples have been used. SOLVED: the mean of the recent returns is at least `threshold`. PAUSED:
    `pause_at` samples have been used, `most_rows` rows are complete, or the results are full. NEEDS_NOISE is returned
    in the middle of a row, whenever the noise is used up. A fault ends the call at once.
    """
    m = _memory_at(memory)
    c, metrics = m.carried.counts, m.work.metrics
    N = len(m.world.alive)
    while c[USED] < budget:
        if c[ROW_UPDATES] == 0 and c[ROWS] == 0:
            copy(net_at(m.world.actor).parameters, m.results.acted[c[TURN]])
            copy(m.carried.statistics.all, m.results.acted_statistics[c[TURN]])
        ending = collect(m, c)
        if ending != FINE:
            return ending
        T = c[ROWS]
        samples = mark(m, T)
        progress = c[USED] / budget
        if m.plan.normalizes_observations:
            add_observations(m, T)
        ending = write_rewards(m, T, samples)
        if ending == FINE:
            ending = learn(m, learned_rewards(m, T), T, m.work.steps.final_count[0], progress)
        if ending != FINE:
            return 10 * LEARNING + ending
        if m.plan.normalizes_observations:
            statistics = m.carried.statistics
            write_normalizer(
                statistics.samples, statistics.mean, statistics.squares, statistics.shift, statistics.scale
            )
        count_episodes(m, c, T)
        for k in range(len(metrics)):
            if not np.isnan(metrics[k]):
                m.carried.sums[k] += metrics[k]
                m.carried.defined[k] += 1
        c[USED] += samples
        c[ROW_SAMPLES] += samples
        c[ROW_STEPS] += T * N
        c[ROW_UPDATES] += 1
        c[ROWS], c[PREVIOUS] = 0, T
        if c[USED] >= budget or c[ROW_SAMPLES] >= SMALLEST_ROW or c[RETURNS] > c[ROW_BEGAN]:
            recent = write_row(m, c)
            if c[ALL_EPISODES] >= WINDOW and recent >= threshold:
                return SOLVED
            full = c[WRITTEN] == len(m.results.table) or c[RETURNS] + len(m.work.order) > len(
                m.results.returns
            )
            if c[USED] >= pause_at or c[WRITTEN] >= most_rows or full:
                return PAUSED
    return FINISHED
