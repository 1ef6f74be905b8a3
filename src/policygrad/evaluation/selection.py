"""Which policy of a run is its best: a few candidates, scored on fresh episodes when the run is over.

A running mean of training returns is of policies that kept changing, and the largest of many means is the one that
luck has favored most. So the means only name candidates, and fresh episodes decide between them, and between the two
ways of acting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from policygrad._support.seeding import stream
from policygrad._support.state import unpack
from policygrad.engines.fusible import unsupported_reason
from policygrad.envs import Environments, KernelVectorEnv
from policygrad.evaluation.episodes import run_episodes
from policygrad.policies import Policy, Snapshot, evaluation_mode
from policygrad.types import F64, State

CANDIDATES = 5
"""Windows of training returns that are remembered."""
APART = 25
"""Episodes: of the windows that end within the same so many, the best is remembered."""
EPISODES = 50
"""Fresh episodes for the last ones left, at most."""
ROUND = 5
"""Episodes per round, of each candidate in each way; after each round but the first the worse half is left out. If the
budget is too small for one round, nothing is scored: the means would say less than the windows'."""
EACH = 20
"""Episodes that there has to be time for, of each candidate that is scored: the best of many means of few episodes
is luck again."""
SHARE = 1 / 20
"""Share of the run's steps that scoring may use."""
COMPILED_STEPS = 150_000
"""Steps that scoring may use in compiled environments if that is more: about a tenth of a second of CartPole."""


@dataclass(frozen=True)
class Candidate:
    """A policy that may be the best."""

    snapshot: Snapshot
    mean: float
    """The mean of the training returns that speak for it."""
    episodes: int
    """How many had finished by then."""


class Candidates:
    """The policies of the best windows of training returns, the best first."""

    def __init__(self) -> None:
        self.entries: list[Candidate] = []

    def only(self, candidate: Candidate) -> None:
        """Forget all others: while no window is full, the latest policy is the only candidate."""
        self.entries = [candidate]

    def offer(self, candidate: Candidate) -> None:
        """Remember it if it is among the best; of equals the latest."""

        def near(other: Candidate) -> bool:
            return other.episodes // APART == candidate.episodes // APART

        if any(near(other) and other.mean > candidate.mean for other in self.entries):
            return
        others = [other for other in self.entries if not near(other)]
        self.entries = sorted([candidate, *others], key=lambda c: (-c.mean, -c.episodes))[:CANDIDATES]

    def state(self) -> State:
        """All of them, for a checkpoint."""
        return {
            str(i): {
                "parameters": entry.snapshot.parameters,
                "buffers": {name: b.numpy(force=True) for name, b in entry.snapshot.buffers.items()},
                "mean": entry.mean,
                "episodes": entry.episodes,
            }
            for i, entry in enumerate(self.entries)
        }

    def restore(self, state: State) -> None:
        """Hold the candidates of that `state`."""
        self.entries = []
        for i in range(len(state)):
            parameters, buffers, mean, episodes = unpack(
                state[str(i)], "parameters", "buffers", "mean", "episodes"
            )
            tensors = {name: torch.from_numpy(buffer) for name, buffer in buffers.items()}
            self.entries.append(Candidate(Snapshot(parameters, tensors), mean, episodes))


@dataclass(frozen=True)
class Selection:
    """What scoring the candidates came to."""

    chosen: int
    """Which of the candidates it is."""
    greedy: bool
    """Whether the candidates acted better greedily than by samples, on average over them."""
    mean: float
    """Its mean return over `episodes` fresh episodes: the largest of several means, and so a little too high."""
    episodes: int
    candidates: int
    """How many were scored, each both ways."""
    steps: int
    """Environment steps that this took; they count neither in the run's steps nor in its seconds."""

    def summary(self) -> dict[str, Any]:
        """As plain JSON."""
        names = ("greedy", "mean", "episodes", "candidates", "steps")
        return {name: getattr(self, name) for name in names}


def allowance(environments: Environments, policy: Policy, steps: int) -> int:
    """Return how many steps scoring may use after a run of so many.

    They are counted rather than timed, so that the same seed selects the same policy on a busy machine.
    """
    compiled = isinstance(environments.vector, KernelVectorEnv) and unsupported_reason(policy, None) is None
    return max(int(steps * SHARE), COMPILED_STEPS if compiled else 0)


def typical_length(steps: F64, episodes: F64) -> float | None:
    """Return the mean length in steps of the last hundred training episodes or so; None before any has ended.

    Args:
        steps, episodes: [updates] float64: how many there had been after each update.
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

    In a round all have the same seeds, which EnvPool's environments take the first time only.

    Karnin, Koren & Somekh 2013, "Almost optimal exploration in multi-armed bandits", algorithm 1, with rounds of
    equal length and means over all rounds.

    Args:
        policy: takes the snapshots' parameters; it is left as it was.
        snapshots: the candidates, the likeliest first, who win ties.
        environments: of the scoring's own.
        budget: how many steps it may use.
        length: of a typical episode in steps, for planning.
        seed: of the run; the scoring has a stream of its own.

    Returns:
        The selection, or None if the budget is too small to tell anything.
    """
    # each environment runs as many episodes as any other
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
            # the likeliest, both ways: it also tells how long episodes are now, for greedily they may be far longer
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
                # which way is better is a matter of the task and of the policies' noise, which they share: all tell
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
    """The returns of candidates, each acting in either way, (candidate, greedy), and the steps that they took."""

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
        self.returns: dict[tuple[int, bool], list[float]] = {}
        self.used = 0

    def play(self, arms: Sequence[tuple[int, bool]], seed: int) -> bool:
        """Run a round of episodes with each; False, and nothing noted, where the budget ends before they do."""
        found: dict[tuple[int, bool], list[float]] = {}
        for i, greedy in arms:
            longest = (self._budget - self.used) // self._size
            if longest < 1:
                return False
            self._policy.restore(self._snapshots[i])
            result = run_episodes(
                self._policy, self._environments, self._size, greedy, seed, max_steps=longest
            )
            self.used += int(result.lengths.sum())
            if result.cut and result.lengths.max() == longest:
                # an episode that the budget has ended says nothing of its return
                return False
            found[i, greedy] = result.returns.tolist()
        for arm, returns in found.items():
            self.returns.setdefault(arm, []).extend(returns)
        return True

    def played(self, arm: tuple[int, bool]) -> int:
        """Number of its episodes."""
        return len(self.returns[arm])

    def mean(self, arm: tuple[int, bool]) -> float:
        """Its mean return."""
        return math.fsum(self.returns[arm]) / len(self.returns[arm])

    def better_greedily(self, candidates: Iterable[int]) -> bool:
        """Whether greedily was better on average, over the episodes that each candidate played both ways."""
        difference = 0.0
        for i in (i for i in candidates if (i, True) in self.returns):
            both = min(len(self.returns[i, way]) for way in (True, False))
            difference += math.fsum(self.returns[i, True][:both]) - math.fsum(self.returns[i, False][:both])
        return difference >= 0
