"""The training loop: a generator of iterations, which knows nothing of screens or files."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from policygrad.algorithms import Algorithm
from policygrad.envs import Environments, Shaping
from policygrad.policies import GaussianPolicy, Policy, Snapshot
from policygrad.rollout import make_collector
from policygrad.seeding import EpisodeSeeds, stream
from policygrad.spaces import bounds_of
from policygrad.threads import Workers
from policygrad.types import F64, Engine, Rollout

WINDOW = 100
"""Episodes in the running mean that says whether an environment is solved."""
LONGEST_EPISODE = 100_000
"""Steps after which an episode, if the whole budget is no longer than that, is taken to be endless."""


@dataclass(frozen=True)
class Iteration:
    """One round of collecting and learning."""

    metrics: dict[str, float]
    """A row of the history: see `metrics.METRICS`."""
    returns: F64
    """[E] float64: undiscounted original return of each episode that ended in it."""
    acted: Snapshot
    """The policy as it was while it collected, before the update."""
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
    ended = EpisodeReturns(environments.num_envs)
    recent: deque[float] = deque(maxlen=WINDOW)
    used = episodes = 0
    began = time.perf_counter()
    while used < steps:
        acted = snapshot()
        rollout = algorithm.collect(collector)
        learned = algorithm.learn(engine, rollout, used / steps)
        returns, lengths = ended.of(rollout)
        recent.extend(returns.tolist())
        samples = rollout.num_samples
        used += samples
        episodes += len(returns)
        mean = sum(recent) / len(recent) if recent else float("nan")
        metrics = {
            "steps": used,
            "episodes": episodes,
            "seconds": time.perf_counter() - began,
            "return": float(returns.mean()) if len(returns) else float("nan"),
            "return_100": mean,
            "episode_length": float(lengths.mean()) if len(returns) else float("nan"),
            "idle_share": 1 - samples / rollout.valid.size,
            **_rollout_metrics(rollout, policy, shaped=shaping is not None),
            **learned,
        }
        solved = threshold is not None and len(recent) == WINDOW and mean >= threshold
        yield Iteration(metrics, returns, acted, solved)


class EpisodeReturns:
    """Returns and lengths of episodes that may go on from one rollout to the next."""

    def __init__(self, num_envs: int) -> None:
        self._returns, self._lengths = np.zeros(num_envs), np.zeros(num_envs)

    def of(self, rollout: Rollout) -> tuple[F64, F64]:
        """(undiscounted original return, length in steps) of each episode that ended, in order of their ends."""
        done = rollout.done
        whole = (
            done.any(0).all() and done.sum() == done.shape[1] and not (rollout.valid[1:] & done[:-1]).any()
        )
        if whole and not self._lengths.any():
            # an episode a column, as Monte Carlo methods have it: there may be more columns than environments
            return rollout.original_reward.sum(0), rollout.valid.sum(0).astype(np.float64)
        returns: list[float] = []
        lengths: list[float] = []
        for t in range(len(done)):
            self._returns += rollout.original_reward[t]
            self._lengths += rollout.valid[t]
            if done[t].any():
                returns += self._returns[done[t]].tolist()
                lengths += self._lengths[done[t]].tolist()
                self._returns[done[t]] = self._lengths[done[t]] = 0
        return np.array(returns), np.array(lengths)


def _rollout_metrics(rollout: Rollout, policy: Policy, *, shaped: bool) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if shaped:
        metrics["shaped_return"] = float(rollout.reward.sum(0).mean())
    if policy.distribution.transform == "clip to the box":
        actions = rollout.action[rollout.valid]
        low, high = bounds_of(policy.action_space)
        metrics["clipped_actions"] = float(((actions < low) | (actions > high)).mean())
    if isinstance(policy.network, GaussianPolicy) and not policy.network.state_dependent_std:
        metrics["std"] = float(policy.network.log_std.detach().exp().mean())
    return metrics
