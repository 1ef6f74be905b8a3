"""Selection of a run's best policy: a few candidates are scored on fresh episodes at the end of the run.

A running mean of training returns averages over policies that kept changing, and the largest of many means is the one
that luck has favored most. The means therefore only name candidates. Fresh episodes decide between them, and between
greedy and sampled actions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policygrad._support.seeding import stream
from policygrad.engines.fusible import unsupported_reason
from policygrad.envs import Environments, KernelVectorEnv
from policygrad.evaluation.episodes import engine_for_episodes, run_episodes
from policygrad.policies import Policy, Snapshot, evaluation_mode
from policygrad.types import F64

EPISODES = 50
"""Maximum number of fresh episodes for the last remaining candidates."""
ROUND = 5
"""Episodes per round for each candidate and each way of acting. After every round but the first, the worse half is
left out. If the budget is too small for one round, nothing is scored, because the means would say less than those of
the windows."""
EACH = 20
"""Episodes per scored candidate that the budget must allow for. With fewer, the best of many means would be luck
again."""
SHARE = 1 / 20
"""Share of the run's steps that scoring may use."""
COMPILED_STEPS = 150_000
"""Steps that scoring may use in compiled environments if that is more: about 0.1 seconds of CartPole."""


@dataclass(frozen=True)
class Selection:
    """The outcome of scoring the candidates."""

    chosen: int
    """Index of the selected candidate."""
    greedy: bool
    """True if greedy actions scored at least as well as sampled ones, on average over the candidates."""
    mean: float
    """Its mean return over `episodes` fresh episodes. As the largest of several means it is slightly too high."""
    episodes: int
    candidates: int
    """Number of candidates that were scored, each with greedy and with sampled actions."""
    steps: int
    """Environment steps that scoring used. They count neither in the run's steps nor in its seconds."""

    def summary(self) -> dict[str, Any]:
        """Return the selection as plain JSON values."""
        names = ("greedy", "mean", "episodes", "candidates", "steps")
        return {name: getattr(self, name) for name in names}


def allowance(environments: Environments, policy: Policy, steps: int) -> int:
    """Return how many steps scoring may use after a run of `steps` steps.

    The budget is in steps rather than seconds, so that the same seed selects the same policy on a busy machine.
    """
    compiled = isinstance(environments.vector, KernelVectorEnv) and unsupported_reason(policy, None) is None
    return max(int(steps * SHARE), COMPILED_STEPS if compiled else 0)


def typical_length(steps: F64, episodes: F64) -> float | None:
    """Return the mean length in steps of about the last hundred training episodes; None before any has ended.

    Args:
        steps, episodes: [updates] float64: number of steps and of finished episodes after each update.
    """
    before = int(np.searchsorted(episodes, episodes[-1] - 100, side="right"))
    first_steps, first_episodes = (steps[before - 1], episodes[before - 1]) if before else (0.0, 0.0)
    if episodes[-1] == first_episodes:
        return None
    return float((steps[-1] - first_steps) / (episodes[-1] - first_episodes))


def select(
    policy: Policy,
    snapshots: Sequence[Snapshot],
    environments: Environments,
    *,
    budget: int,
    length: float,
    seed: int,
) -> Selection | None:
    """Score snapshots of a policy on fresh episodes, in rounds that leave out the worse half.

    All candidates have the same seeds in a round. EnvPool's environments, however, can be seeded only once.

    Karnin, Koren & Somekh 2013, "Almost optimal exploration in multi-armed bandits", algorithm 1, with rounds of
    equal length and means over all rounds.

    Args:
        policy: receives the parameters of the snapshots, and is restored afterwards.
        snapshots: the candidates, the most promising one first. The earlier one wins a tie.
        environments: environments that nothing else uses during scoring.
        budget: number of steps that scoring may use.
        length: typical length of an episode in steps, for planning.
        seed: seed of the run; scoring has a separate random stream.

    Returns:
        The selection, or None if the budget is too small to tell anything.
    """
    # every environment runs the same number of episodes
    size = environments.num_envs * math.ceil(ROUND / environments.num_envs)
    if budget < 2 * size * length:
        return None
    rng = stream(seed, "selection")
    scores = _Scores(policy, snapshots, environments, budget, size)
    before = policy.snapshot()
    arms = [(0, True), (0, False)]
    try:
        with evaluation_mode(policy):
            first = int(rng.integers(2**31))
            # the most promising one, both ways, which also shows how long greedy episodes are: they may be far longer
            if not scores.play(arms, first):
                return None
            length = max(scores.used / (2 * size), length)
            others = int((budget - scores.used) / (2 * max(EACH, size) * length))
            more = [(i, way) for i in range(1, min(len(snapshots), 1 + others)) for way in (True, False)]
            if scores.play(more, first):
                arms += more
            while len(arms) > 1 and scores.played(arms[0]) < EPISODES:
                expected = size * length * len(arms)
                if scores.used + expected > budget or not scores.play(arms, int(rng.integers(2**31))):
                    break
                # which way is better depends on the task and on the noise, which all candidates share, so all count
                greedy = scores.better_greedily(range(len(snapshots)))
                in_this_way = [arm for arm in arms if arm[1] == greedy]
                in_this_way.sort(key=lambda arm: (-scores.mean(arm), arm[0]))
                both_ways = len(in_this_way) < len(arms)
                arms = in_this_way if both_ways else in_this_way[: max(2, len(arms) // 2)]
    finally:
        policy.restore(before)
    greedy = scores.better_greedily(range(len(snapshots)))
    best = min((arm for arm in arms if arm[1] == greedy), key=lambda arm: (-scores.mean(arm), arm[0]))
    count = len(scores.returns) // 2
    return Selection(best[0], greedy, scores.mean(best), scores.played(best), count, scores.used)


class _Scores:
    """The returns of each arm, which is a pair (candidate, greedy), and the steps that were used."""

    def __init__(
        self,
        policy: Policy,
        snapshots: Sequence[Snapshot],
        environments: Environments,
        budget: int,
        size: int,
    ) -> None:
        self._policy, self._snapshots, self._environments = policy, snapshots, environments
        self._budget, self._size = budget, size
        # reads the parameters where the policy keeps them, so it plays every candidate
        self._engine = engine_for_episodes(policy, environments)
        self.returns: dict[tuple[int, bool], list[float]] = {}
        self.used = 0

    def play(self, arms: Sequence[tuple[int, bool]], seed: int) -> bool:
        """Run a round of episodes with each arm. If the budget ends first, record nothing and return False."""
        found: dict[tuple[int, bool], list[float]] = {}
        for i, greedy in arms:
            longest = (self._budget - self.used) // self._size
            if longest < 1:
                return False
            self._policy.restore(self._snapshots[i])
            result = run_episodes(
                self._policy,
                self._environments,
                self._size,
                greedy,
                seed,
                max_steps=longest,
                engine=self._engine,
            )
            self.used += int(result.lengths.sum())
            if result.cut and result.lengths.max() == longest:
                # the return of an episode that the budget ended is unknown
                return False
            found[i, greedy] = result.returns.tolist()
        for arm, returns in found.items():
            self.returns.setdefault(arm, []).extend(returns)
        return True

    def played(self, arm: tuple[int, bool]) -> int:
        """Return the number of episodes of an arm."""
        return len(self.returns[arm])

    def mean(self, arm: tuple[int, bool]) -> float:
        """Return the mean return of an arm."""
        return math.fsum(self.returns[arm]) / len(self.returns[arm])

    def better_greedily(self, candidates: Iterable[int]) -> bool:
        """Return whether greedy actions were at least as good on average, over the episodes played both ways."""
        difference = 0.0
        for i in (i for i in candidates if (i, True) in self.returns):
            both = min(len(self.returns[i, way]) for way in (True, False))
            difference += math.fsum(self.returns[i, True][:both]) - math.fsum(self.returns[i, False][:both])
        return difference >= 0
