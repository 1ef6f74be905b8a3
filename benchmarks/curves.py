"""Draw learning curves of several settings in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from policygrad._support.files import save_png

COLORS = ("#2166ac", "#d6604d", "#1b7837", "#7b3294", "#b8860b", "#4d4d4d")


@dataclass(frozen=True)
class Curve:
    """Learning curves of one setting on several seeds."""

    label: str
    seeds: Sequence[tuple[Sequence[float], Sequence[float]]]
    """(steps, returns) of each seed."""
    color: str
    style: str = "solid"
    """Line style, as in matplotlib."""


@dataclass(frozen=True)
class Level:
    """A return to compare the curves with."""

    label: str
    value: float
    color: str = "0.4"


def draw(
    path: Path,
    title: str,
    curves: Sequence[Curve],
    levels: Sequence[Level] = (),
    *,
    each_seed: bool = False,
) -> None:
    """Draw the median and the quartiles over seeds of each setting, and the levels as dashed lines.

    Args:
        path: PNG file to write.
        title: title of the picture.
        curves: one curve per setting.
        levels: returns to draw as dashed lines, with their labels at the right.
        each_seed: if True, also draw a thin line per seed.
    """
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        _draw_one(axes, curve, each_seed)
    for level in levels:
        axes.axhline(level.value, color=level.color, linewidth=1, linestyle=(0, (4, 3)), alpha=0.8, zorder=1)
    axes.set(title=title, xlabel="environment steps", ylabel="mean return of the last 100 training episodes")
    axes.yaxis.label.set_size(9)
    axes.xaxis.set_major_formatter(lambda x, _: _steps(x))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.10g}".replace("-", "−"))
    axes.set_xlim(0, None)
    axes.margins(x=0)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    _name(axes, levels)
    # below the axes, so that it does not cover a curve
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(figure, path)


def _draw_one(axes: Axes, curve: Curve, each_seed: bool) -> None:
    if each_seed:
        for steps, returns in curve.seeds:
            axes.plot(steps, returns, color=curve.color, linewidth=0.7, alpha=0.35)
    # only where every seed has data: beyond that, the median would be over the longest runs only
    grid = np.linspace(max(s[0] for s, _ in curve.seeds), min(s[-1] for s, _ in curve.seeds), 200)
    together = np.stack([np.interp(grid, steps, returns) for steps, returns in curve.seeds])
    low, middle, high = np.percentile(together, [25, 50, 75], axis=0)
    axes.fill_between(grid, low, high, color=curve.color, alpha=0.18, linewidth=0)
    count = len(curve.seeds)
    label = f"{curve.label}, {count} seed{'s' * (count > 1)}"
    axes.plot(grid, middle, color=curve.color, linewidth=2, linestyle=curve.style, label=label)


def _name(axes: Axes, levels: Sequence[Level]) -> None:
    """Write the labels of the levels at the right, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = 0.045
    ordered = sorted(levels, key=lambda level: level.value)
    heights = [(level.value - low) / (high - low) for level in ordered]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    # move labels that were pushed beyond the top back down, together with those below them
    top = 1.02
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], top)
        top = heights[i] - gap
    for level, height in zip(ordered, heights, strict=True):
        axes.annotate(
            level.label,
            xy=(1, level.value),
            xycoords=axes.get_yaxis_transform(),
            xytext=(1.03, height),
            textcoords="axes fraction",
            color=level.color,
            fontsize=8,
            va="center",
            arrowprops={"arrowstyle": "-", "color": level.color, "linewidth": 0.6, "alpha": 0.6},
        )


def _steps(x: float) -> str:
    return f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x else "0"
