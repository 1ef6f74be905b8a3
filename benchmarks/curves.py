"""Learning curves of several settings in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from policygrad._support.files import save_png

COLOURS = ("#2166ac", "#d6604d", "#1b7837", "#7b3294", "#b8860b", "#4d4d4d")


@dataclass(frozen=True)
class Curve:
    """One setting on several seeds."""

    label: str
    seeds: Sequence[tuple[Sequence[float], Sequence[float]]]
    """Of each (steps, returns)."""
    colour: str
    style: str = "solid"
    """Of its line, as matplotlib names it."""


@dataclass(frozen=True)
class Level:
    """A return to compare with."""

    label: str
    value: float
    colour: str = "0.4"


def draw(
    path: Path,
    title: str,
    curves: Sequence[Curve],
    levels: Sequence[Level] = (),
    *,
    each_seed: bool = False,
) -> None:
    """Each setting's median over seeds with its quartiles; dashed lines, named at the right.

    Args:
        path: where to, as a PNG.
        title: over the picture.
        curves: the settings.
        levels: the dashed lines.
        each_seed: also a thin line a seed.
    """
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        _draw_one(axes, curve, each_seed)
    for level in levels:
        axes.axhline(level.value, color=level.colour, linewidth=1, linestyle=(0, (4, 3)), alpha=0.8, zorder=1)
    axes.set(title=title, xlabel="environment steps", ylabel="mean return of the last 100 training episodes")
    axes.yaxis.label.set_size(9)
    axes.xaxis.set_major_formatter(lambda x, _: _steps(x))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.10g}".replace("-", "−"))
    axes.set_xlim(0, None)
    axes.margins(x=0)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    _name(axes, levels)
    # below the axes, where it covers no curve
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(figure, path)


def _draw_one(axes: Axes, curve: Curve, each_seed: bool) -> None:
    if each_seed:
        for steps, returns in curve.seeds:
            axes.plot(steps, returns, color=curve.colour, linewidth=0.7, alpha=0.35)
    # where every seed has data: beyond, the median would be of those that are still going
    grid = np.linspace(max(s[0] for s, _ in curve.seeds), min(s[-1] for s, _ in curve.seeds), 200)
    together = np.stack([np.interp(grid, steps, returns) for steps, returns in curve.seeds])
    low, middle, high = np.percentile(together, [25, 50, 75], axis=0)
    axes.fill_between(grid, low, high, color=curve.colour, alpha=0.18, linewidth=0)
    count = len(curve.seeds)
    label = f"{curve.label}, {count} seed{'s' * (count > 1)}"
    axes.plot(grid, middle, color=curve.colour, linewidth=2, linestyle=curve.style, label=label)


def _name(axes: Axes, levels: Sequence[Level]) -> None:
    """The levels' names at the right, moved apart where they would lie over each other."""
    low, high = axes.get_ylim()
    gap = 0.045
    ordered = sorted(levels, key=lambda level: level.value)
    places = [(level.value - low) / (high - low) for level in ordered]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    # what was pushed over the top comes down again, and pushes those below it
    top = 1.02
    for i in reversed(range(len(places))):
        places[i] = min(places[i], top)
        top = places[i] - gap
    for level, place in zip(ordered, places, strict=True):
        axes.annotate(
            level.label,
            xy=(1, level.value),
            xycoords=axes.get_yaxis_transform(),
            xytext=(1.03, place),
            textcoords="axes fraction",
            color=level.colour,
            fontsize=8,
            va="center",
            arrowprops={"arrowstyle": "-", "color": level.colour, "linewidth": 0.6, "alpha": 0.6},
        )


def _steps(x: float) -> str:
    return f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x else "0"
