"""The metrics of a run as short lines that a chart can draw, next to their healthy ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from policygrad.metrics import METRICS
from policygrad.types import F64, Array

CLOCKS = ("steps", "episodes", "seconds")
"""Metrics that only grow, which no chart shows."""
LAST_PART = 0.1
"""Share of the updates, at the end of a run, whose mean is compared with the healthy range."""


def shortened(table: F64, most: int) -> tuple[Array, F64]:
    """Return at most `most` rows that keep the peaks of each column.

    The rows are divided into segments. Each gives two rows: the lowest and the highest value of each column in it, in
    the order in which they occurred. NaN only remains where a segment has no other values.

    >>> shortened(np.array([[0.0], [9.0], [1.0], [2.0], [3.0], [-5.0]]), 4)
    (array([0, 1, 3, 4]), array([[ 0.],
           [ 9.],
           [ 3.],
           [-5.]]))

    Args:
        table: [R, M].
        most: an even number.

    Returns:
        (places [K]: where in the table the rows come from, values [K, M]).
    """
    R, M = table.shape
    if most >= R:
        return np.arange(R), table
    borders = np.linspace(0, R, most // 2 + 1).astype(np.int64)
    rows = np.empty((most, M))
    places = np.empty(most, np.int64)
    for i, (start, end) in enumerate(pairwise(borders)):
        part = table[start:end]
        known = np.isfinite(part)
        low, high = np.where(known, part, np.inf), np.where(known, part, -np.inf)
        first = low.argmin(axis=0) <= high.argmax(axis=0)
        lowest, highest = low.min(axis=0), high.max(axis=0)
        rows[2 * i], rows[2 * i + 1] = np.where(first, lowest, highest), np.where(first, highest, lowest)
        places[2 * i], places[2 * i + 1] = (
            start,
            start + max((end - start) // 2, 1) if end - start > 1 else start,
        )
    rows[~np.isfinite(rows)] = np.nan
    return places, rows


def metric_lines(history: Mapping[str, F64], most: int) -> dict[str, Any]:
    """Return the steps `x` and the lines by metric, with at most `most` points each, as JSON values.

    Metrics that were never measured are left out.
    """
    if not history or not len(history["steps"]):
        return {"x": [], "lines": {}}
    names = [name for name in ordered(history) if np.isfinite(history[name]).any()]
    if not names:
        return {"x": history["steps"].astype(np.int64).tolist()[:most], "lines": {}}
    places, rows = shortened(np.stack([history[name] for name in names], axis=1), most)
    return {
        "x": history["steps"][places].astype(np.int64).tolist(),
        "lines": {name: digits(column) for name, column in zip(names, rows.T, strict=True)},
    }


def ordered(names: Mapping[str, Any]) -> list[str]:
    """Return the names of metrics in the order of the registry, and then those that are not registered here."""
    known = [name for name in METRICS if name in names and name not in CLOCKS]
    return known + sorted(name for name in names if name not in METRICS)


def digits(values: F64) -> list[float | int | None]:
    """Return numbers with four significant digits, which is what a screen shows, and None for NaN.

    >>> digits(np.array([1.23456, 200.0, np.nan]))
    [1.235, 200, None]
    """
    found = list[float | int | None]()
    for value in values.tolist():
        if not math.isfinite(value):
            found.append(None)
            continue
        short = float(f"{value:.4g}")
        found.append(int(short) if short == int(short) and abs(short) < 1e15 else short)
    return found


def at_the_end(values: F64) -> float:
    """Return the mean of the last tenth of a run's values; NaN if there are none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan
    return float(known[-max(1, math.ceil(LAST_PART * len(known))) :].mean())


def is_healthy(name: str, value: float) -> bool | None:
    """Return whether a value is in the metric's healthy range; None if the range has no numbers or the value is NaN."""
    metric = METRICS.get(name)
    if metric is None or (metric.low is None and metric.high is None) or math.isnan(value):
        return None
    return not (
        (metric.low is not None and value < metric.low) or (metric.high is not None and value > metric.high)
    )
