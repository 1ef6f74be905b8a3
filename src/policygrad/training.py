"""The training loop: a generator of iterations that is independent of displays and files."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from policygrad._support.checks import whole
from policygrad._support.isolation import default_numpy_errors
from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad._support.state import module_state, restore_module, restore_rng, rng_state, unpack
from policygrad._support.threads import Workers
from policygrad.algorithms import Algorithm
from policygrad.envs import Environments, Shaping
from policygrad.interfaces import Engine
from policygrad.policies import Distribution, Policy, Snapshot
from policygrad.rollout import EpisodeReturns, RewardScaling, make_collector
from policygrad.types import F64, LearnerState, Rollout, State

WINDOW = 100
"""Number of episodes in the running mean that decides whether an environment is solved."""
SMALLEST_ROW = 256
"""Updates with fewer samples are reported together, until this many were used or an episode has ended."""
_NO_EPISODES: F64 = np.zeros(0)
LONGEST_EPISODE = 100_000
"""Steps after which an episode is considered endless, unless the budget is larger."""


@dataclass(frozen=True)
class Iteration:
    """One row of the history, which covers one update or several small ones (see `SMALLEST_ROW`)."""

    metrics: dict[str, float]
    """The row itself: see `metrics.METRICS`."""
    returns: F64
    """[E] float64: undiscounted original return of each episode that ended in this iteration."""
    acted: Snapshot
    """The policy as it was at the start of collection, before the first update."""
    solved: bool
    """True if the mean of the last `WINDOW` returns reached the threshold; False until there are that many."""


class Training:
    """Collects samples and learns from them until `steps` have been used. The last episodes are finished, never cut.

    Iterating over it runs the training. Between two iterations, its `state` is all that the next ones depend on.

    Args:
        environments, policy, engine, algorithm: the components to train with.
        steps: budget in environment steps.
        seed: seed of the random streams of the environments, the actions and the learner.
        shaping: replaces the reward that is learned from.
        threshold: mean return at which `Iteration.solved` becomes True; with None it never does.
        workers: cores on which samples are collected.
    """

    def __init__(
        self,
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
    ) -> None:
        self._policy, self._engine, self._algorithm = policy, engine, algorithm
        self._resets_by_seed = environments.resets_by_seed
        self._steps, self._shaping, self._threshold = steps, shaping, threshold
        self._collector = make_collector(
            environments,
            policy,
            engine,
            seeds=EpisodeSeeds(stream(seed, "env")),
            action_rng=stream(seed, "action"),
            shaping=shaping,
            max_steps=max(steps, LONGEST_EPISODE),
            workers=workers,
        )
        self._learner = LearnerState(stream(seed, "shuffle"))
        self._scaled = RewardScaling(policy, algorithm.gamma)
        self._ended = EpisodeReturns(environments.num_envs)
        self._ended_shaped = EpisodeReturns(environments.num_envs)
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self.used = 0
        """Number of samples learned from."""
        self._episodes = 0
        self._seconds = 0.0

    def __iter__(self) -> Iterator[Iteration]:
        """Yield the remaining iterations."""
        snapshot = self._policy.snapshots()
        while self.used < self._steps:
            yield self._iteration(snapshot())

    def _iteration(self, acted: Snapshot) -> Iteration:
        began = time.perf_counter()
        updates, rows, samples = _Means(), 0, 0
        returns, lengths = _NO_EPISODES, _NO_EPISODES
        while self.used < self._steps and samples < SMALLEST_ROW and not len(returns):
            collected = self._algorithm.collect(self._collector)
            self._learner.progress = self.used / self._steps
            if not collected.num_samples:
                # every environment was only reset
                continue
            with default_numpy_errors():
                learned = self._algorithm.learn(self._engine, self._scaled(collected), self._learner)
            self._policy.refresh_normalizer()
            more_returns, more_lengths = self._ended.of(collected, collected.original_reward)
            update = _rollout_metrics(collected, self._policy) | learned
            if self._shaping is not None:
                shaped_returns, _ = self._ended_shaped.of(collected, collected.reward)
                if len(shaped_returns):
                    update["shaped_return"] = float(shaped_returns.mean())
            updates.add(update)
            returns, lengths = np.append(returns, more_returns), np.append(lengths, more_lengths)
            rows += collected.valid.size
            samples += collected.num_samples
            self.used += collected.num_samples
        self._recent.extend(returns.tolist())
        self._episodes += len(returns)
        mean = self._mean_of_recent()
        self._seconds += time.perf_counter() - began
        metrics = {
            "steps": self.used,
            "episodes": self._episodes,
            "seconds": self._seconds,
            "return": float(returns.mean()) if len(returns) else float("nan"),
            "return_100": mean,
            "episode_length": float(lengths.mean()) if len(returns) else float("nan"),
            "idle_share": 1 - samples / rows,
            **updates.means(),
        }
        return Iteration(metrics, returns, acted, self.solved)

    @property
    def solved(self) -> bool:
        """True if the mean of the last `WINDOW` returns reaches the threshold; False until there are that many."""
        full = len(self._recent) == WINDOW
        return self._threshold is not None and full and self._mean_of_recent() >= self._threshold

    def _mean_of_recent(self) -> float:
        return sum(self._recent) / len(self._recent) if self._recent else float("nan")

    def state(self) -> State:
        """Return everything that the next iterations depend on, except the settings."""
        learner = self._learner
        return {
            "policy": module_state(self._policy),
            "engine": self._engine.state(),
            "collector": self._collector.state(),
            "learning": {
                "rng": rng_state(learner.rng),
                "adapted": dict(learner.adaptive_coefficients),
                "traces": dict(learner.traces),
            },
            "under way": {
                "scaled": self._scaled.so_far.copy(),
                "ended": self._ended.so_far.copy(),
                "ended shaped": self._ended_shaped.so_far.copy(),
            },
            "recent": list(self._recent),
            "counts": {"used": self.used, "episodes": self._episodes, "seconds": self._seconds},
        }

    def restore(self, state: State) -> bool:
        """Continue from that state.

        Returns:
            True if training continues as if it had never been interrupted. Otherwise the episodes that were in
            progress are lost, because the state of the environments cannot be saved, and new ones begin.

        Raises:
            CheckpointError: the state is from different settings or from another version.
        """
        policy, engine, collector, learner, under_way, recent, counts = unpack(
            state, "policy", "engine", "collector", "learning", "under way", "recent", "counts"
        )
        restore_module(self._policy, policy, "policy")
        self._engine.restore(engine)
        rng, adaptive_coefficients, traces = unpack(learner, "rng", "adapted", "traces")
        restore_rng(self._learner.rng, rng)
        self._learner.adaptive_coefficients = adaptive_coefficients
        self._recent = deque(map(float, recent), maxlen=WINDOW)
        used, episodes, seconds = unpack(counts, "used", "episodes", "seconds")
        self.used, self._episodes = whole("used", used, at_least=0), whole("episodes", episodes, at_least=0)
        self._seconds = float(seconds)
        sums = unpack(under_way, "scaled", "ended", "ended shaped")
        continues = self._collector.restore(collector)
        if continues:
            self._learner.traces = traces
            self._scaled.so_far, self._ended.so_far, self._ended_shaped.so_far = sums
        # if all sums are 0, all episodes were at their beginnings, which seeded resets may reproduce
        return continues or (self._resets_by_seed and not any(saved.any() for saved in sums))


class _Means:
    """The mean of each metric over the updates of a row that have it."""

    def __init__(self) -> None:
        self._updates: list[dict[str, float]] = []

    def add(self, metrics: dict[str, float]) -> None:
        self._updates.append(metrics)

    def means(self) -> dict[str, float]:
        if len(self._updates) == 1:
            return self._updates[0]
        names = dict.fromkeys(name for update in self._updates for name in update)
        return {name: fmean(update[name] for update in self._updates if name in update) for name in names}


def _rollout_metrics(rollout: Rollout, policy: Policy) -> dict[str, float]:
    if type(policy.distribution).metrics is Distribution.metrics:
        # most distributions have none, and selecting the actions takes time
        return {}
    return policy.distribution.metrics(policy.network, rollout.action[rollout.valid])
