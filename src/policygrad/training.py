"""The training loop: a generator of iterations, which knows nothing of screens or files."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from torch import Tensor

from policygrad.algorithms import Algorithm
from policygrad.envs import Environments, Shaping
from policygrad.policies import GaussianPolicy, Policy
from policygrad.rollout import collect_episodes
from policygrad.seeding import EpisodeSeeds, stream
from policygrad.types import F64, Engine, Rollout

WINDOW = 100
"""Episodes in the running mean that says whether an environment is solved."""
LONGEST_EPISODE = 100_000
"""Steps after which an episode, if the whole budget is no longer than that, is taken to be endless."""


@dataclass(frozen=True)
class Iteration:
    """One round of collecting episodes and learning from them."""

    metrics: dict[str, float]
    """A row of the history: see `metrics.METRICS`."""
    returns: F64
    """[E] float64: undiscounted original return of each of its episodes."""
    acted: dict[str, Tensor]
    """The policy's state while it collected them, before the update: a copy."""
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
) -> Iterator[Iteration]:
    """Collect and learn until `steps` samples have been used; the last episodes are finished, never cut.

    Args:
        environments, policy, engine, algorithm: what learns where, and how.
        steps: the budget, in environment steps.
        seed: of the environments' and the actions' streams.
        shaping: what is learned from instead of the reward.
        threshold: mean return from which `Iteration.solved` is True; None is never.
    """
    seeds, action_rng = EpisodeSeeds(stream(seed, "env")), stream(seed, "action")
    recent: deque[float] = deque(maxlen=WINDOW)
    used = episodes = 0
    began = time.perf_counter()
    while used < steps:
        acted = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
        rollout = collect_episodes(
            environments,
            policy,
            engine.act,
            seeds=seeds,
            action_rng=action_rng,
            episodes_per_env=algorithm.episodes_per_env,
            shaping=shaping,
            max_steps=max(steps, LONGEST_EPISODE),
        )
        learned = algorithm.learn(engine, rollout, used / steps)
        returns: F64 = rollout.original_reward.sum(0)
        recent.extend(returns.tolist())
        used += rollout.num_samples
        episodes += len(returns)
        mean = float(np.mean(recent))
        metrics = {
            "steps": used,
            "episodes": episodes,
            "seconds": time.perf_counter() - began,
            "return": float(returns.mean()),
            "return_100": mean,
            **_rollout_metrics(rollout, policy, shaped=shaping is not None),
            **learned,
        }
        solved = threshold is not None and len(recent) == WINDOW and mean >= threshold
        yield Iteration(metrics, returns, acted, solved)


def _rollout_metrics(rollout: Rollout, policy: Policy, *, shaped: bool) -> dict[str, float]:
    metrics = {
        "episode_length": float(rollout.valid.sum(0).mean()),
        "idle_share": 1 - rollout.num_samples / rollout.valid.size,
    }
    if shaped:
        metrics["shaped_return"] = float(rollout.reward.sum(0).mean())
    if isinstance(policy.action_space, spaces.Box):
        actions = rollout.action[rollout.valid]
        low, high = (b.reshape(-1) for b in (policy.action_space.low, policy.action_space.high))
        metrics["clipped_actions"] = float(((actions < low) | (actions > high)).mean())
    if isinstance(policy.network, GaussianPolicy):
        metrics["std"] = float(policy.network.log_std.detach().exp().mean())
    return metrics
