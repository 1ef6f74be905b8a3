"""Plots of learning curves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policygrad._support.files import save_png
from policygrad.training import WINDOW
from policygrad.types import F64, Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 2000
"""Maximum number of points per line; a screen shows no more."""
DOTS = 5000
"""Maximum number of episodes that are drawn."""


def thinned(x: F64, y: F64, most: int = POINTS) -> tuple[F64, F64]:
    """Return at most `most` points of a line, [n] each: the lowest and the highest of each segment, in order.

    >>> thinned(np.arange(6.0), np.array([0.0, 5.0, 1.0, 2.0, -3.0, 4.0]), most=4)
    (array([0., 1., 4., 5.]), array([ 0.,  5., -3.,  4.]))
    """
    if len(x) <= most:
        return x, y
    segments = np.array_split(np.arange(len(x)), most // 2)
    ends = [sorted((part[y[part].argmin()], part[y[part].argmax()])) for part in segments]
    chosen = np.unique(np.concatenate(ends))
    return x[chosen], y[chosen]


def save_curve(path: Path, *arguments: Any) -> None:
    """Write the plot that `curve_figure` returns for these arguments as a PNG file."""
    save_png(curve_figure(*arguments), path)


def curve_figure(
    history: Mapping[str, F64],
    episodes: tuple[Array, F64],
    title: str,
    threshold: float | None = None,
    solved_at: int | None = None,
) -> Figure:
    """Return a plot of each episode's return and the running mean against environment steps.

    Args:
        history: `steps`, `return` and `return_100` of each update: [updates] float64.
        episodes: the steps and the return of each episode, both [episodes].
        title: the title of the plot.
        threshold: return that counts as solved, drawn as a horizontal line.
        solved_at: steps at which the running mean reached it, drawn as a vertical line.
    """
    figure, axes = _figure()
    blue, orange = "#2166ac", "#d6604d"
    if len(episodes[0]):
        steps, returns = (each[:: math.ceil(len(episodes[0]) / DOTS)] for each in episodes)
        axes.scatter(steps, returns, s=6, color=blue, alpha=0.25, linewidths=0, label="training episode")
    ended = np.isfinite(history["return"])
    at = history["steps"][ended]
    axes.plot(
        *thinned(at, history["return"][ended]), color=blue, linewidth=1, alpha=0.5, label="mean per update"
    )
    label = f"mean of the last {WINDOW} episodes"
    axes.plot(*thinned(at, history["return_100"][ended]), color=blue, linewidth=2, label=label)
    if threshold is not None:
        axes.axhline(threshold, color="0.4", linewidth=1, linestyle="--", label=f"solved: {threshold:g}")
    if solved_at is not None:
        axes.axvline(solved_at, color=orange, linewidth=1.5, label=f"solved after {solved_at:,} steps")
    _finish(figure, axes, title, "episode return")
    return figure


def save_curves(
    path: Path, runs: Sequence[Mapping[str, F64]], title: str, threshold: float | None = None
) -> None:
    """Plot the running means of several runs of one experiment, with their median and quartiles.

    Args:
        path: the PNG file to write.
        runs: the history of each run, as in `save_curve`.
        title: the title of the plot.
        threshold: return that counts as solved, drawn as a horizontal line.
    """
    figure, axes = _figure()
    means = list[tuple[F64, F64]]()
    for history in runs:
        ended = np.isfinite(history["return"])
        means.append((history["steps"][ended], history["return_100"][ended]))
    for steps, mean in means:
        alpha = max(0.15, 0.8 / math.sqrt(len(runs)))
        axes.plot(*thinned(steps, mean), color="#2166ac", linewidth=0.8, alpha=alpha)
    # only where every run has data, because elsewhere the median would leave out some runs
    grid = np.linspace(max(s[0] for s, _ in means), min(s[-1] for s, _ in means), 200)
    values = np.stack([np.interp(grid, steps, mean) for steps, mean in means])
    low, middle, high = np.percentile(values, [25, 50, 75], axis=0)
    axes.fill_between(grid, low, high, color="#d6604d", alpha=0.25, linewidth=0, label="quartiles")
    axes.plot(grid, middle, color="#d6604d", linewidth=2, label=f"median of {len(runs)} seeds")
    if threshold is not None:
        axes.axhline(threshold, color="0.4", linewidth=1, linestyle="--", label=f"solved: {threshold:g}")
    _finish(figure, axes, title, f"mean return of the last {WINDOW} episodes")
    save_png(figure, path)


@contextmanager
def drawing_may_fail() -> Generator[None]:
    """Turn an exception in the block into a warning, because a plot must not cost a run."""
    try:
        yield
    except Exception as error:
        warnings.warn(f"the learning curve could not be drawn: {error}", RuntimeWarning, stacklevel=3)


def _figure() -> tuple[Any, Any]:
    # imported here because it is slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    return figure, figure.add_subplot()


def _finish(figure: Any, axes: Any, title: str, what: str) -> None:
    # a name may contain $, which would begin a formula
    axes.set_title(title, parse_math=False)
    axes.set(xlabel="environment steps", ylabel=what)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # below the plot, where it hides nothing; searching for the best position is slow for many points
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
