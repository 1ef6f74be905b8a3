"""Bringing advantages to one scale, and how much of the returns V(s) explains."""

from __future__ import annotations

import numpy as np

from policygrad.types import F64, I64, Array

SMALLEST_DEVIATION = 1e-8
"""Below it all samples are taken to be equal."""


def normalize(advantage: F64) -> F64:
    """Zero mean and unit deviation over all samples [B]; where all are equal, zeros.

    A single one stays as it is: zero would say that it was as good as the others, and there are none.

    >>> normalize(np.array([1.0, 3.0]))
    array([-1.,  1.])
    """
    if len(advantage) == 1:
        return advantage
    centred = advantage - advantage.mean()
    deviation = np.sqrt(centred @ centred / len(centred))
    return centred / deviation if deviation > SMALLEST_DEVIATION else np.zeros_like(centred)


def normalize_parts(advantage: F64, order: I64, bounds: I64) -> F64:
    """As `normalize`, for each of several parts by itself: part i is order[bounds[i] : bounds[i + 1]].

    A part of one sample among others gives zero: its scale would be another than theirs.

    Args:
        advantage: [B] float64.
        order: [B] int64, each row once.
        bounds: [parts + 1] int64, from 0 to B.

    Returns:
        [B] float64, in the rows' own places.
    """
    sizes, starts = np.diff(bounds), bounds[:-1]
    sorted_ = advantage[order]
    centred = sorted_ - np.repeat(np.add.reduceat(sorted_, starts) / sizes, sizes)
    deviation = np.sqrt(np.add.reduceat(centred**2, starts) / sizes)
    # a part of one sample, or of equal ones, says nothing of which was better
    scale = np.where(deviation > SMALLEST_DEVIATION, 1 / np.maximum(deviation, SMALLEST_DEVIATION), 0.0)
    normalized = np.empty_like(advantage)
    normalized[order] = centred * np.repeat(scale, sizes)
    return normalized


def explained_variance(value: Array, target: Array) -> float:
    """1 − Var(G − V) / Var(G): 1 is a perfect V, 0 no better than a constant, below 0 worse; NaN if G is constant."""
    variance = _variance(target.astype(np.float64))
    return 1 - _variance(target.astype(np.float64) - value) / variance if variance else float("nan")


def _variance(x: F64) -> float:
    centred = (x - x.mean()).ravel()
    return float(centred @ centred) / x.size
