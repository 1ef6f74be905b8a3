"""Comparison of all variants of REINFORCE: their results, and a figure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from policygrad._support.files import save_png
from policygrad.proof.estimates import UNBIASED, Estimates, estimate


@dataclass(frozen=True)
class VariantResult:
    """The estimates of one variant, and whether it is unbiased in theory (`expected`)."""

    name: str
    expected: bool
    estimates: Estimates


PLAIN = UNBIASED["reward-to-go, none"]
BIASED = {
    "reward-to-go, mean": replace(PLAIN, baseline="mean"),
    "reward-to-go, time": replace(PLAIN, baseline="time"),
    "reward-to-go, optimal": replace(PLAIN, baseline="optimal"),
    "reward-to-go, without γ^t": replace(PLAIN, discount_weighting=False),
    "reward-to-go, divided by steps": replace(PLAIN, average="steps"),
}
"""Common variants whose expectation is not ∇J. Their baselines contain the sample's own return, they omit γ^t, or they
average over a random number of steps."""


PARAMETERS = [f"a{a}s{s}" for a in range(2) for s in range(3)] + ["a0", "a1"]
"""Parameters of the linear policy for the three-state process. State 2 is terminal, so its weights are never used."""


def run_all(repeats: int, episodes: int, seed: int) -> list[VariantResult]:
    """Estimate the gradient with every variant; the unbiased ones come first."""
    return [
        VariantResult(name, expected, estimate(algorithm, repeats=repeats, episodes=episodes, seed=seed))
        for variants, expected in ((UNBIASED, True), (BIASED, False))
        for name, algorithm in variants.items()
    ]


def draw(results: list[VariantResult], path: Path) -> None:
    """Save a PNG of each parameter's 99.9 % interval relative to its exact derivative, with one panel per variant."""
    from matplotlib.figure import Figure

    rows = (len(results) + 3) // 4
    figure = Figure(figsize=(13, 2.9 * rows), dpi=110, layout="constrained")
    grid = figure.subplots(rows, 4, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, shown in zip(grid, results, strict=False):
        low, high = shown.estimates.intervals()
        exact = shown.estimates.exact
        inside = (low <= exact) & (exact <= high)
        axes.axhline(0, color="0.5", linewidth=1)
        for k in range(len(exact)):
            color = "#2166ac" if inside[k] else "#d6604d"
            axes.plot([k, k], [low[k] - exact[k], high[k] - exact[k]], color=color, linewidth=3)
        axes.set_title(shown.name, fontsize=9)
        axes.set_xticks(range(len(exact)), PARAMETERS)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(results) :]:
        axes.axis("off")
    figure.supxlabel("parameter: weight of action a in state s, bias of action a")
    figure.supylabel("estimate − exact derivative")
    figure.suptitle("99.9 % intervals of the mean estimate: blue contains the exact gradient, red does not")
    save_png(figure, path)
