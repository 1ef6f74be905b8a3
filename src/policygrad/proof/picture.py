"""A proof as a picture."""

from __future__ import annotations

from pathlib import Path

from policygrad._support.files import save_png
from policygrad.proof.proof_result import Proof, verdict


def draw(proof: Proof, path: Path) -> None:
    """Save a PNG that shows the bias of each row with its interval, its variance, and the cosine by sample size."""
    from matplotlib.figure import Figure

    rows = list(reversed(proof.rows))
    figure = Figure(figsize=(13, 1.6 + 0.27 * len(rows)), dpi=110, layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    colors = {"ok": "#2166ac", "WRONG": "#d6604d", "—": "0.5"}
    for i, row in enumerate(rows):
        color, (bias, half) = colors[verdict(proof, row)], row.bias
        left.errorbar(100 * bias, i, xerr=100 * half, fmt="o", markersize=3, color=color, capsize=2)
        if row.theory.expected is not None:
            g = row.theory.reference
            expected = float((row.theory.expected - g) @ g / (g @ g))
            left.plot(100 * expected, i, "|", color="black", markersize=11)
        middle.barh(i, row.variance, color=color, height=0.6)
        cosines = row.cosines()
        right.plot(list(cosines), list(cosines.values()), color=color, alpha=0.6, linewidth=1)
    left.axvline(0, color="0.6", linewidth=1)
    left.set_yticks(range(len(rows)), [row.case.name for row in rows], fontsize=8)
    left.set(title="Bias along the gradient, %", xlabel="measured (dot, 99 % interval) and exact (bar)")
    middle.set_yticks([])
    middle.set(xscale="log", title="Variance of one estimate", xlabel="relative to the squared gradient")
    right.set(
        xscale="log", title="Cosine with the gradient", xlabel="estimates averaged (one line per row)",
        ylim=(None, 1.02),
    )  # fmt: skip
    for axes in (left, middle):
        axes.set_ylim(-0.7, len(rows) - 0.3)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    save_png(figure, path)
