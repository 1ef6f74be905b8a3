"""What playing a few episodes with a policy shows, and with random actions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from policygrad.doctor.predictability import Predictability
from policygrad.types import F32, F64

Ending = Literal["terminated", "truncated", "cut"]


@dataclass(frozen=True)
class Played:
    """One episode of T steps."""

    observations: F64
    """[T + 1, D]: flat numbers of the observations, as the environment returns them."""
    actions: F64
    """[T, A]: the actions as numbers; choices are one-hot."""
    rewards: F64
    """[T]: rewards of the environment, without shaping."""
    ending: Ending
    """How the episode ended; `cut` if it was longer than the probe plays."""

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True)
class Probe:
    """What playing shows. Each way of acting has played in the same environments, from the same seeds."""

    by_chance: tuple[Played, ...]
    """Episodes of random actions."""
    sampled: tuple[Played, ...]
    """Episodes of actions that the policy sampled."""
    greedy: tuple[Played, ...]
    """Episodes of the policy's most probable actions."""
    seen: F32
    """[n, D]: observations of the first two as the network sees them, after normalization."""
    dead_units: tuple[tuple[int, int], ...] = ()
    """(units that are 0 for all observations in `seen`, all units) of each ReLU layer of the policy."""
    difference: str | None = None
    """First difference between two episodes from the same seed with the same actions; None if there was none."""
    compared_seeds: bool = True
    """False if the environments cannot be reset with a seed, so that no such episodes were compared."""
    max_episode_steps: int | None = None
    """Time limit that the environment declares; None if it declares none."""
    memory: Predictability | None = None
    """What can be predicted better from earlier observations than from the current one; None if nothing can."""
    predictable_returns: float = math.nan
    """Share of the variance of the discounted returns of sampled actions that is predictable from the observation."""
    time: float = math.nan
    """Share of the variance of the time in an episode that is predictable from the observation, at most 1."""

    @cached_property
    def all_played(self) -> tuple[Played, ...]:
        """All episodes."""
        return self.by_chance + self.sampled + self.greedy

    @cached_property
    def rewards(self) -> F64:
        """Rewards of all steps, one after another."""
        return np.concatenate([episode.rewards for episode in self.all_played])

    @cached_property
    def usual_reward(self) -> float:
        """The most frequent reward."""
        values, counts = np.unique(self.rewards, return_counts=True)
        return float(values[counts.argmax()])

    @cached_property
    def rare_rewards(self) -> float:
        """Share of the steps whose reward differs from the usual one."""
        return float(np.mean(self.rewards != self.usual_reward))


def returns_of(played: tuple[Played, ...]) -> F64:
    """Return the undiscounted return of each episode."""
    return np.array([episode.rewards.sum() for episode in played])
