"""Plots of studies: the learning curves of all configurations, and the differences between two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from policygrad.statistics import Comparison
from policygrad.studies.analysis import curve_of
from policygrad.studies.saved_cell import SavedCell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#2166ac", "#d6604d", "#4d9221", "#762a83", "#b35806", "#35978f", "#c51b7d", "#525252")
"""Colors of configurations; they differ in brightness as well."""
COLUMNS = 3
"""Maximum number of environments side by side."""


def study_figure(cells: Sequence[SavedCell], metric: str, what: str) -> Figure:
    """Return the curves of all configurations, in one panel per environment, as IQM with 95 % intervals.

    Args:
        cells: the cells of a study.
        metric: name of the metric.
        what: label of the vertical axes.
    """
    from matplotlib.figure import Figure

    environments = list(dict.fromkeys(cell.environment for cell in cells))
    configurations = list(dict.fromkeys(cell.configuration for cell in cells))
    columns = min(COLUMNS, len(environments))
    rows = math.ceil(len(environments) / columns)
    figure = Figure(figsize=(1.5 + 4.2 * columns, 0.8 + 3.2 * rows), dpi=120, layout="constrained")
    labeled = set[str]()
    for i, environment in enumerate(environments):
        axes: Any = figure.add_subplot(rows, columns, i + 1)
        of_environment = [cell for cell in cells if cell.environment == environment]
        limits = list[float]()
        for cell in of_environment:
            if (drawn := curve_of(cell, metric)) is None:
                continue
            steps, band = drawn.steps, drawn.band
            limits += [drawn.lowest, drawn.highest]
            color = COLORS[configurations.index(cell.configuration) % len(COLORS)]
            label = None if cell.configuration in labeled else cell.configuration
            labeled.add(cell.configuration)
            axes.plot(steps, band.value, color=color, linewidth=1.8, label=label)
            axes.fill_between(steps, band.low, band.high, color=color, alpha=0.2, linewidth=0)
        threshold = next((cell.threshold for cell in of_environment if cell.threshold is not None), None)
        if threshold is not None and metric == "return_100":
            label = None if "solved" in labeled else "solved"
            labeled.add("solved")
            axes.axhline(threshold, color="0.4", linewidth=1, linestyle="--", label=label)
            limits.append(threshold)
        if limits and min(limits) < max(limits):
            margin = 0.05 * (max(limits) - min(limits))
            axes.set_ylim(min(limits) - margin, max(limits) + margin)
        _dress(axes, environment, "environment steps", what if i % columns == 0 else "")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:,.0f}k" if x else "0")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return figure


def comparison_figure(a: str, b: str, environments: Mapping[str, Comparison]) -> Figure:
    """Return a plot of the difference of the means of a and b in each environment, each on a scale of its own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.9 + 1.1 * len(environments)), dpi=120, layout="constrained")
    for i, (environment, one) in enumerate(environments.items()):
        axes: Any = figure.add_subplot(len(environments), 1, i + 1)
        color = "0.45" if one.verdict == "not decided" else COLORS[0]
        axes.axvline(0, color="0.6", linewidth=1, linestyle="--")
        if not math.isnan(one.low):
            axes.plot([one.low, one.high], [0, 0], color=color, linewidth=3, alpha=0.5, solid_capstyle="butt")
        axes.plot([one.difference], [0], "o", color=color)
        last = i == len(environments) - 1
        _dress(axes, "", f"mean of {a} − mean of {b}" if last else "", "")
        axes.set_yticks([0], [environment], parse_math=False)
        axes.spines["left"].set_visible(False)
    return figure


def _dress(axes: Any, title: str, x: str, y: str) -> None:
    # a name may contain $, which would begin a formula
    axes.set_title(title, parse_math=False, fontsize="medium")
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(y, parse_math=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
