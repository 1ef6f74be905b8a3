"""The learning curve of a run as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from policygrad.files import save_png
from policygrad.training import WINDOW
from policygrad.types import F64, Array


def running_mean(returns: F64, window: int = WINDOW) -> F64:
    """The mean of the last `window` returns at each episode (fewer at the start): [episodes] float64.

    >>> running_mean(np.array([2.0, 4.0, 6.0]), window=2)
    array([2., 3., 5.])
    """
    sums = np.concatenate([[0.0], np.cumsum(returns)])
    stop = np.arange(1, len(returns) + 1)
    start = np.maximum(stop - window, 0)
    return (sums[stop] - sums[start]) / (stop - start)


def save_curve(
    path: Path,
    steps: Array,
    returns: F64,
    title: str,
    threshold: float | None = None,
    solved_at: int | None = None,
) -> None:
    """Draw each episode's return and the running mean against environment steps, as a PNG.

    Args:
        path: where to.
        steps: [episodes], the samples learned from when the episode's update was over.
        returns: [episodes] float64.
        title: over the picture.
        threshold: a line at the return that counts as solved.
        solved_at: a mark at the steps where the running mean reached it.
    """
    # heavy, and only needed here
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    blue, orange = "#2166ac", "#d6604d"
    axes.scatter(steps, returns, s=6, color=blue, alpha=0.25, linewidths=0, label="one training episode")
    last = _last_of_each_update(steps)
    means = [part.mean() for part in np.split(returns, last[:-1] + 1)]
    axes.plot(steps[last], means, color=blue, linewidth=1, alpha=0.5, label="mean of an update")
    axes.plot(
        steps[last], running_mean(returns)[last], color=blue, linewidth=2, label=f"mean of the last {WINDOW}"
    )
    if threshold is not None:
        axes.axhline(threshold, color="0.4", linewidth=1, linestyle="--", label=f"solved: {threshold:g}")
    if solved_at is not None:
        axes.axvline(solved_at, color=orange, linewidth=1.5, label=f"solved after {solved_at:,} steps")
    axes.set(title=title, xlabel="environment steps", ylabel="return of an episode")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    save_png(figure, path)


def _last_of_each_update(steps: Array) -> Array:
    """Episodes of one update share their steps: a point an update, not a staircase."""
    return np.flatnonzero(np.diff(steps, append=steps[-1] + 1))


def save_curves(
    path: Path, runs: Sequence[tuple[Array, F64]], title: str, threshold: float | None = None
) -> None:
    """Draw several runs of one experiment: each one's running mean, and their median with its quartiles.

    Args:
        path: where to, as a PNG.
        runs: of each (steps [episodes], returns [episodes]), as in `save_curve`.
        title: over the picture.
        threshold: a line at the return that counts as solved.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    lasts = [_last_of_each_update(steps) for steps, _ in runs]
    means = [(s[last], running_mean(returns)[last]) for (s, returns), last in zip(runs, lasts, strict=True)]
    for steps, mean in means:
        axes.plot(steps, mean, color="#2166ac", linewidth=0.8, alpha=max(0.15, 0.8 / math.sqrt(len(runs))))
    # where every run has data: beyond, the median would be of those that are still going
    grid = np.linspace(max(s[0] for s, _ in means), min(s[-1] for s, _ in means), 200)
    together = np.stack([np.interp(grid, steps, mean) for steps, mean in means])
    low, middle, high = np.percentile(together, [25, 50, 75], axis=0)
    axes.fill_between(grid, low, high, color="#d6604d", alpha=0.25, linewidth=0, label="quartiles")
    axes.plot(grid, middle, color="#d6604d", linewidth=2, label=f"median of {len(runs)} seeds")
    if threshold is not None:
        axes.axhline(threshold, color="0.4", linewidth=1, linestyle="--", label=f"solved: {threshold:g}")
    axes.set(title=title, xlabel="environment steps", ylabel=f"mean return of the last {WINDOW} episodes")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    save_png(figure, path)
