"""The training loop: a generator of iterations, which knows nothing of screens or files."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from policygrad.algorithms import Algorithm
from policygrad.compiled import compiled_when_called
from policygrad.envs import Environments, Shaping
from policygrad.interfaces import Engine
from policygrad.policies import GaussianPolicy, Policy, Snapshot
from policygrad.rollout import make_collector
from policygrad.seeding import EpisodeSeeds, stream
from policygrad.spaces import bounds_of
from policygrad.threads import Workers
from policygrad.types import F64, Bool, Learning, Rollout

WINDOW = 100
"""Episodes in the running mean that says whether an environment is solved."""
SMALLEST_ROW = 256
"""Updates from fewer samples are reported together, until so many were used or an episode has ended."""
_NO_EPISODES: F64 = np.zeros(0)
LONGEST_EPISODE = 100_000
"""Steps after which an episode, if the whole budget is no longer than that, is taken to be endless."""


@dataclass(frozen=True)
class Iteration:
    """One row of the history: an update, or several small ones (see `SMALLEST_ROW`)."""

    metrics: dict[str, float]
    """A row of the history: see `metrics.METRICS`."""
    returns: F64
    """[E] float64: undiscounted original return of each episode that ended in it."""
    acted: Snapshot
    """The policy as it was when it began to collect, before the first update."""
    solved: bool
    """Whether the last `WINDOW` returns reached the threshold; False until there are so many."""


def iterations(
    environments: Environments,
    policy: Policy,
    engine: Engine,
    algorithm: Algorithm,
    *,
    steps: int,
    seed: int,
    shaping: Shaping | None = None,
    threshold: float | None = None,
    workers: Workers | None = None,
) -> Iterator[Iteration]:
    """Collect and learn until `steps` samples have been used; the last episodes are finished, never cut.

    Args:
        environments, policy, engine, algorithm: what learns where, and how.
        steps: the budget, in environment steps.
        seed: of the environments' and the actions' streams.
        shaping: what is learned from instead of the reward.
        threshold: mean return from which `Iteration.solved` is True; None is never.
        workers: the cores that collect.
    """
    collector = make_collector(
        environments,
        policy,
        engine,
        seeds=EpisodeSeeds(stream(seed, "env")),
        action_rng=stream(seed, "action"),
        shaping=shaping,
        max_steps=max(steps, LONGEST_EPISODE),
        workers=workers,
    )
    snapshot = policy.snapshots()
    scaled = RewardScaling(policy, algorithm.gamma)
    ended, ended_shaped = EpisodeReturns(environments.num_envs), EpisodeReturns(environments.num_envs)
    recent: deque[float] = deque(maxlen=WINDOW)
    used = episodes = 0
    learning = Learning(stream(seed, "shuffle"))
    seconds = 0.0
    while used < steps:
        began = time.perf_counter()
        acted = snapshot()
        updates, rows, samples = _Means(), 0, 0
        returns, lengths = _NO_EPISODES, _NO_EPISODES
        while used < steps and samples < SMALLEST_ROW and not len(returns):
            collected = algorithm.collect(collector)
            learning.progress = used / steps
            if not collected.num_samples:
                # each environment only reset itself
                continue
            learned = algorithm.learn(engine, scaled(collected), learning)
            policy.renew_normalizer()
            more_returns, more_lengths = ended.of(collected, collected.original_reward)
            found = _rollout_metrics(collected, policy) | learned
            if shaping is not None:
                shaped_returns, _ = ended_shaped.of(collected, collected.reward)
                if len(shaped_returns):
                    found["shaped_return"] = float(shaped_returns.mean())
            updates.add(found)
            returns, lengths = np.append(returns, more_returns), np.append(lengths, more_lengths)
            rows += collected.valid.size
            samples += collected.num_samples
            used += collected.num_samples
        recent.extend(returns.tolist())
        episodes += len(returns)
        mean = sum(recent) / len(recent) if recent else float("nan")
        seconds += time.perf_counter() - began
        metrics = {
            "steps": used,
            "episodes": episodes,
            "seconds": seconds,
            "return": float(returns.mean()) if len(returns) else float("nan"),
            "return_100": mean,
            "episode_length": float(lengths.mean()) if len(returns) else float("nan"),
            "idle_share": 1 - samples / rows,
            **updates.means(),
        }
        solved = threshold is not None and len(recent) == WINDOW and mean >= threshold
        yield Iteration(metrics, returns, acted, solved)


class _Means:
    """The mean of each metric over the updates of a row; those that have it."""

    def __init__(self) -> None:
        self._updates: list[dict[str, float]] = []

    def add(self, metrics: dict[str, float]) -> None:
        self._updates.append(metrics)

    def means(self) -> dict[str, float]:
        if len(self._updates) == 1:
            return self._updates[0]
        names = dict.fromkeys(name for update in self._updates for name in update)
        return {name: fmean(update[name] for update in self._updates if name in update) for name in names}


class RewardScaling:
    """Divides the rewards of one rollout after another as the policy's `RewardScale` says, if it has one."""

    def __init__(self, policy: Policy, gamma: float) -> None:
        self._scale = policy.reward_scale
        self._limit = policy.normalization.clip_rewards
        self._gamma = gamma
        self._so_far = np.zeros(0)

    def __call__(self, rollout: Rollout) -> Rollout:
        """The rollout with scaled rewards, its own among the statistics."""
        if self._scale is None:
            return rollout
        N = rollout.valid.shape[1]
        if len(self._so_far) != N:
            self._so_far = np.zeros(N)
        self._scale.add(rollout.reward, rollout.done, rollout.valid, self._gamma, self._so_far)
        reward = np.clip(rollout.reward / self._scale.deviation(), -self._limit, self._limit)
        return replace(rollout, reward=reward)


class EpisodeReturns:
    """Returns and lengths of episodes that may go on from one rollout to the next."""

    def __init__(self, num_envs: int) -> None:
        self._returns, self._lengths = np.zeros(num_envs), np.zeros(num_envs)

    def of(self, rollout: Rollout, reward: F64) -> tuple[F64, F64]:
        """(undiscounted return, length in steps) of each episode that ended, in order of their ends."""
        done = rollout.done
        whole = (
            done.any(0).all() and done.sum() == done.shape[1] and not (rollout.valid[1:] & done[:-1]).any()
        )
        if whole and not self._lengths.any():
            # an episode a column, as Monte Carlo methods have it: there may be more columns than environments
            return reward.sum(0), rollout.valid.sum(0).astype(np.float64)
        ended: F64 = np.empty((2, np.count_nonzero(done)))
        _add_up(np.ascontiguousarray(reward), rollout.valid, done, self._returns, self._lengths, ended)
        return ended[0], ended[1]


@compiled_when_called
def _add_up(reward: F64, valid: Bool, done: Bool, returns: F64, lengths: F64, ended: F64) -> None:
    """Sums [N] of what came so far go on; those of the episodes that end are written to `ended` [2, E]."""
    e = 0
    for t in range(reward.shape[0]):
        for n in range(reward.shape[1]):
            returns[n] += reward[t, n]
            lengths[n] += valid[t, n]
            if done[t, n]:
                ended[0, e], ended[1, e] = returns[n], lengths[n]
                returns[n], lengths[n] = 0.0, 0.0
                e += 1


def _rollout_metrics(rollout: Rollout, policy: Policy) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if policy.distribution.transform == "clip to the box":
        actions = rollout.action[rollout.valid]
        low, high = bounds_of(policy.action_space)
        metrics["clipped_actions"] = float(((actions < low) | (actions > high)).mean())
    if isinstance(policy.network, GaussianPolicy) and not policy.network.state_dependent_std:
        metrics["std"] = float(policy.network.log_std.detach().exp().mean())
    return metrics
