"""The policies of a run that may be its best, by the means of their windows of training returns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from policygrad._support.compiling import compiled_when_called
from policygrad._support.state import unpack
from policygrad.policies import Snapshot
from policygrad.types import F64, I64, State

CANDIDATES = 5
"""Number of windows of training returns that are remembered."""
BLOCK = 25
"""Length of a block of episodes. Only the best of the windows that end within the same block is remembered."""
NONE = -1


@dataclass(frozen=True)
class Candidate:
    """A policy that may be the best."""

    snapshot: Snapshot
    mean: float
    """Mean of the window of training returns that made it a candidate."""
    episodes: int
    """Number of training episodes that had finished by then."""


class Candidates:
    """The policies with the best windows of training returns.

    The mean of a window that is not full is too noisy. Until it is, the latest policy is the only candidate.
    """

    def __init__(self, first: Snapshot) -> None:
        self.means: F64 = np.full(CANDIDATES, -math.inf)
        self.episodes: I64 = np.zeros(CANDIDATES, np.int64)
        self.count: I64 = np.ones(1, np.int64)
        """[1]: number of candidates. The arrays have an entry for each, in no order."""
        self.snapshots = [first]

    def consider(self, snapshot: Snapshot, mean: float, episodes: int, *, full: bool, ended: bool) -> bool:
        """Remember a policy if it is promising; return True if it is the most promising one.

        Args:
            snapshot, mean, episodes: see `Candidate`.
            full: the window was full before the latest episodes ended.
            ended: an episode has just ended.
        """
        slot = place_of(self.means, self.episodes, self.count, mean, episodes, full, ended)
        if slot == NONE:
            return False
        self.put(slot, snapshot)
        return slot == best_of(self.means, self.episodes, self.count)

    def put(self, slot: int, snapshot: Snapshot) -> None:
        """Keep the policy of a candidate that has been entered in the arrays, in order of the slots."""
        self.snapshots[slot:] = [snapshot, *self.snapshots[slot + 1 : int(self.count[0])]]

    @property
    def best(self) -> Candidate:
        """The most promising candidate."""
        return self._entry(best_of(self.means, self.episodes, self.count))

    @property
    def entries(self) -> list[Candidate]:
        """All candidates, the most promising one first. Of equal ones, the latest comes first."""
        entries = [self._entry(slot) for slot in range(int(self.count[0]))]
        return sorted(entries, key=lambda entry: (-entry.mean, -entry.episodes))

    def _entry(self, slot: int) -> Candidate:
        return Candidate(self.snapshots[slot], float(self.means[slot]), int(self.episodes[slot]))

    def state(self) -> State:
        """Return the serializable state."""
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
        """Restore the candidates from that state."""
        self.count[0], self.snapshots = len(state), []
        for i in range(len(state)):
            parameters, buffers, self.means[i], self.episodes[i] = unpack(
                state[str(i)], "parameters", "buffers", "mean", "episodes"
            )
            tensors = {name: torch.from_numpy(buffer) for name, buffer in buffers.items()}
            self.snapshots.append(Snapshot(parameters, tensors))


@compiled_when_called
def place_of(
    means: F64, episodes: I64, count: I64, mean: float, ended_by_now: int, full: bool, ended: bool
) -> int:
    """Enter a candidate in the arrays if it is promising, and return its place there, or `NONE`.

    While no window was full, it replaces all others. Later, it is offered if an episode has just ended: it replaces the
    one of the same block if that is not better, or else the worst one if that is not better.
    """
    place = NONE
    if not full:
        count[0] = 1
        place = 0
    elif ended:
        worst = 0
        for i in range(count[0]):
            if episodes[i] // BLOCK == ended_by_now // BLOCK:
                place = i
            if means[i] < means[worst] or (means[i] == means[worst] and episodes[i] < episodes[worst]):
                worst = i
        if place == NONE and count[0] < len(means):
            place = count[0]
            count[0] += 1
        else:
            place = worst if place == NONE else place
            if means[place] > mean:
                return NONE
    if place != NONE:
        means[place], episodes[place] = mean, ended_by_now
    return place


@compiled_when_called
def best_of(means: F64, episodes: I64, count: I64) -> int:
    """Return the place of the most promising candidate, the latest of equal ones."""
    best = 0
    for i in range(1, count[0]):
        if means[i] > means[best] or (means[i] == means[best] and episodes[i] > episodes[best]):
            best = i
    return best
