"""Numbers that stand for observations: the leader of a run has these numbers, and the actors have the observations.

A number contains the index of the actor and that of a row in the actor's table. The table begins with the T + 1 rows
[T + 1, N] of a rollout, one after another, which its F final observations follow. Rollouts of further rounds of whole
episodes come after it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from policygrad.types import I64

ROW_BITS = 40
"""Number of bits of a row's index; those before it are the index of the actor."""
Rows: TypeAlias = "slice | I64"
"""Rows of an actor's table, in the form that is smaller to send."""


def numbers(actor: int, first: int, count: int) -> I64:
    """Return the numbers of `count` rows of an actor's table, from row `first` on."""
    return (np.int64(actor) << ROW_BITS) + np.arange(first, first + count)


def rows_by_actor(numbers: I64, actors: int) -> list[tuple[I64, Rows]]:
    """Return, for each actor, where its numbers are among these [B], and its rows."""
    owners, rows = numbers >> ROW_BITS, numbers & ((1 << ROW_BITS) - 1)
    found = list[tuple[I64, Rows]]()
    for actor in range(actors):
        places = np.flatnonzero(owners == actor)
        found.append((places, _compact(rows[places])))
    return found


def _compact(rows: I64) -> Rows:
    """Return consecutive rows as a slice, and others as they are."""
    if not len(rows):
        return slice(0, 0)
    first, last = int(rows[0]), int(rows[-1])
    consecutive = last - first + 1 == len(rows) and bool((np.diff(rows) == 1).all())
    return slice(first, last + 1) if consecutive else rows
