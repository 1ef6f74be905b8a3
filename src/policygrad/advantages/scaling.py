"""Normalization of advantages."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from policygrad._support.compiling import compiled_when_called, exact
from policygrad.types import F64, I64, Array, Bool

Float = TypeVar("Float", np.float32, np.float64)
ROUNDING = 4
"""Numbers that differ by less than about this many units in the last place are treated as equal."""


def rounding_error(numbers: Array) -> float:
    """Return the largest difference that rounding alone may cause between equal numbers of this size and dtype."""
    return _relative_rounding(numbers) * float(max(-numbers.min(), numbers.max()))


def normalize(advantage: NDArray[Float], negligible: float = 0.0) -> NDArray[Float]:
    """Return the advantages shifted and scaled to mean 0 and standard deviation 1; zeros if all are equal.

    Advantages count as equal if they differ by no more than a few units in the last place of their dtype, so float32
    advantages should be passed as float32. Everything is computed in float64. A NaN or an infinity among the
    advantages makes all of them NaN.

    A single advantage is returned unchanged: there are no others to compare it with, and 0 would mean "as good as the
    others".

    >>> normalize(np.array([1.0, 3.0]))
    array([-1.,  1.])
    >>> normalize(np.array([0.1 + 0.2, 0.3]))
    array([0., 0.])

    Args:
        advantage: [B] float32 or float64.
        negligible: differences up to this size are ignored as well. Advantages that are differences of large
            numbers have the rounding errors of those numbers; see `rounding_error`.

    Returns:
        [B] of the same dtype.
    """
    if len(advantage) == 1:
        return advantage
    normalized = advantage.astype(np.float64)
    normalize_in_place(normalized, _relative_rounding(advantage), negligible)
    return normalized.astype(advantage.dtype, copy=False)


def normalize_parts(advantage: NDArray[Float], order: I64, bounds: I64) -> NDArray[Float]:
    """Return the advantages with each of several parts normalized separately, as `normalize` does it.

    Part i consists of the rows order[bounds[i] : bounds[i + 1]]. A part with a single sample becomes zero, because
    unnormalized it would not have the scale of the other parts.

    Args:
        advantage: [B] float32 or float64.
        order: [B] int64, each row once.
        bounds: [parts + 1] int64, strictly increasing from 0 to B.

    Returns:
        [B] of the same dtype, in the original order of the rows.
    """
    parts = advantage[order].astype(np.float64)
    normalize_each(parts, bounds, _relative_rounding(advantage), 0.0)
    normalized = np.empty_like(advantage)
    normalized[order] = parts
    return normalized


def _relative_rounding(numbers: Array) -> float:
    return ROUNDING * float(np.finfo(numbers.dtype).eps)


@compiled_when_called
def normalize_in_place(part: F64, relative_rounding: float, negligible: float) -> None:
    """Normalize [B] in place; all zeros if all values are equal up to rounding: see `normalize`."""
    first = part[0]
    negligible = max(negligible, relative_rounding * abs(first))
    different = 0
    for i in range(len(part)):
        # equal advantages become exact zeros; subtracting their mean, which is rounded, would not guarantee that
        part[i] -= first
        # `not <=` rather than `>`, which is False for NaN
        different += not abs(part[i]) <= negligible
    if different == 0:
        part[:] = 0.0
        return
    # after scaling no number exceeds 1, so no square overflows, and the squares cannot all underflow
    scale = _sum_of_sizes(part)
    for i in range(len(part)):
        part[i] /= scale
    mean = _sum(part) / len(part)
    for i in range(len(part)):
        part[i] -= mean
    deviation = np.sqrt(_sum_of_squares(part) / len(part))
    for i in range(len(part)):
        part[i] /= deviation


@compiled_when_called
def normalize_each(parts: F64, bounds: I64, relative_rounding: float, negligible: float) -> None:
    """Normalize each part of [B] in place; part i is parts[bounds[i] : bounds[i + 1]]."""
    for k in range(len(bounds) - 1):
        normalize_in_place(parts[bounds[k] : bounds[k + 1]], relative_rounding, negligible)


@compiled_when_called
def normalize_episodes(
    advantage: F64, valid: Bool, first: F64, relative_rounding: float, negligible: float
) -> None:
    """Give each sample the normalized advantage of its episode, which counts once however long it is; in place.

    Args:
        advantage: [B] float64: advantages of the samples of whole episodes, whose first N are their first steps.
        valid: [T, N] bool: True for the B samples.
        first: [N] float64, workspace.
        relative_rounding, negligible: see `normalize_in_place`.
    """
    for n in range(len(first)):
        first[n] = advantage[n]
    if len(first) > 1:
        normalize_in_place(first, relative_rounding, negligible)
    i = 0
    for t in range(valid.shape[0]):
        for n in range(valid.shape[1]):
            if valid[t, n]:
                advantage[i] = first[n]
                i += 1


@exact
def _sum(x: F64) -> float:
    total = 0.0
    for i in range(len(x)):
        total += x[i]
    return total


@exact
def _sum_of_sizes(x: F64) -> float:
    total = 0.0
    for i in range(len(x)):
        total += abs(x[i])
    return total


@exact
def _sum_of_squares(x: F64) -> float:
    total = 0.0
    for i in range(len(x)):
        total += x[i] * x[i]
    return total
