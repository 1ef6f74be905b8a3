"""The result of a proof: its rows, its table of text, and its numbers as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policygrad._support.files import write_atomically
from policygrad.proof.cases import Case
from policygrad.proof.joint_test import JointTest
from policygrad.proof.sampling import Estimates
from policygrad.proof.theory import Theory
from policygrad.types import F64

Z = 2.576
"""Half the width of a 99 % interval, in standard deviations."""


@dataclass(frozen=True)
class Row:
    """The estimates of one case beside theory."""

    case: Case
    theory: Theory
    found: Estimates
    test: JointTest | None
    """Test of the mean against the exact expectation; None if there is no formula for it."""

    @property
    def estimates(self) -> F64:
        """The estimates, [R, P]."""
        return self.found.gradients

    @property
    def microseconds(self) -> float:
        """Microseconds per sample, to collect it and to learn from it."""
        return 1e6 * self.found.seconds / self.found.samples

    @property
    def p_value(self) -> float:
        """Probability of a mean as far from its expectation as this one; NaN without a formula."""
        return float("nan") if self.test is None else self.test.p_value

    @property
    def bias(self) -> tuple[float, float]:
        """Relative bias along the gradient, and half the width of its 99 % interval.

        It is (ĝ − g) · g / ‖g‖², where ĝ is the mean estimate and g the reference: −0.1 is a gradient that is a tenth
        too short.
        """
        g = self.theory.reference
        along = (self.estimates - g) @ g / (g @ g)
        return float(along.mean()), float(Z * along.std(ddof=1) / np.sqrt(len(along)))

    @property
    def distance(self) -> float:
        """Relative bias in all directions, ‖ĝ − g‖ / ‖g‖."""
        g = self.theory.reference
        return float(np.linalg.norm(self.estimates.mean(0) - g) / np.linalg.norm(g))

    @property
    def variance(self) -> float:
        """Total variance of one estimate, the trace of its covariance, relative to ‖g‖²."""
        g = self.theory.reference
        return float(self.estimates.var(0, ddof=1).sum() / (g @ g))

    def cosines(self) -> dict[int, float]:
        """Return the mean cosine between the gradient and the mean of 1, 4, 16, … estimates."""
        g, found, n = self.theory.reference, dict[int, float](), 1
        while n <= max(1, len(self.estimates) // 8):
            means = self.estimates[: len(self.estimates) // n * n].reshape(-1, n, len(g)).mean(1)
            sizes = np.linalg.norm(means, axis=1) * np.linalg.norm(g)
            found[n] = float((means @ g / np.where(sizes > 0, sizes, 1)).mean())
            n *= 4
        return found


@dataclass(frozen=True)
class Proof:
    """The result of `prove`, which is true if nothing contradicts theory."""

    rows: tuple[Row, ...]
    false_alarms: float
    """Probability that a proof of these rows is false although everything is right."""

    @property
    def limit(self) -> float:
        """The p-value below which a row contradicts theory: the false alarms, divided by twice the number of tests.

        The factor 2 leaves room for means of a thousand skewed estimates that are not quite normal yet.
        """
        return self.false_alarms / (2 * max(1, sum(row.test is not None for row in self.rows)))

    @property
    def contradictions(self) -> list[Row]:
        """The rows whose mean is not what theory says."""
        return [row for row in self.rows if row.test is not None and not row.p_value >= self.limit]

    def __bool__(self) -> bool:
        return not self.contradictions

    def __str__(self) -> str:
        return text_of(self)

    def simulated_false_alarms(self, tables: int = 2_000, seed: int = 0) -> float:
        """Return the share of tables with an alarm among tables of recentred estimates, whose means are right."""
        rng = np.random.default_rng(seed)
        least = np.ones(tables)
        for row in self.rows:
            if row.test is not None:
                least = np.minimum(least, row.test.simulated(tables, rng))
        return float((least < self.limit).mean())

    def save(self, path: Path) -> None:
        """Save all numbers as JSON."""
        write_atomically(path, (json.dumps(as_json(self), indent=1, allow_nan=False) + "\n").encode())


HEAD = f"{'':25} {'theory':8} {'bias, %':>13} {'all':>5} {'var':>6} {'cos':>5} {'µs':>5} {'p':>5}"


def verdict(proof: Proof, row: Row) -> str:
    """Return `ok`, `WRONG`, or `—` where there is no formula."""
    if row.test is None:
        return "—"
    return "ok" if row.p_value >= proof.limit else "WRONG"


def text_of(proof: Proof) -> str:
    """Return the table, in at most 80 columns."""
    lines = [HEAD]
    for row in proof.rows:
        bias, half = row.bias
        p = "" if row.test is None else f"{row.p_value:.3f}" if row.p_value >= 0.001 else f"{row.p_value:.0e}"
        theory = {"unbiased": "unbiased", "biased, known": "biased"}.get(row.theory.words, "biased*")
        along = f"{_short(100 * bias, 6, '+')} ± {_short(100 * half, 4).strip():<4}"
        others = (
            f"{_short(100 * row.distance, 5)} {_short(row.variance, 6, digits=2)} {row.cosines()[1]:5.2f}"
        )
        numbers = f"{along} {others} {_short(row.microseconds, 5)} {p:>5}"
        mark = "!" if verdict(proof, row) == "WRONG" else ""
        lines.append(f"{row.case.name[:25]:25} {theory:8} {numbers}{mark}".rstrip())
    tests = sum(row.test is not None for row in proof.rows)
    R = len(proof.rows[0].estimates)
    lines += [
        "",
        f"Each row has {R:,} estimates. Bias and variance are relative to the exact",
        "gradient: the bias along it, with a 99 % interval, and the length of the bias",
        "in all directions, which noise alone makes positive. The gradient is ∇J(θ) for",
        "whole episodes, and Σ_s weight(s) Σ_a ∇π(a|s) A(s, a) for a number of steps. The",
        "cosine is that of one estimate with it. µs is the time per sample, to collect it",
        "and to learn from it. p tests the mean against its exact expectation in all",
        "directions at once.",
    ]
    if any(row.theory.expected is None for row in proof.rows):
        lines.append("* biased, without a formula for the expectation")
    lines.append("")
    if proof.contradictions:
        lines.append(f"These rows, marked with !, contradict theory (p < {proof.limit:.1e}):")
        lines += [f"  {row.case.name[:78]}" for row in proof.contradictions]
    else:
        lines.append(f"Nothing contradicts theory: {tests} tests, none with p < {proof.limit:.1e}.")
    lines.append(f"If everything is right, this fails with a probability of {proof.false_alarms:g}.")
    return "\n".join(lines)


def _short(number: float, width: int, sign: str = "", digits: int = 1) -> str:
    """Return a number in `width` characters, with fewer digits if it is large."""
    fixed = f"{number:{sign}{width}.{digits}f}"
    return fixed if len(fixed) <= width else f"{number:{sign}{width}.0e}"


def as_json(proof: Proof) -> dict[str, Any]:
    """Return the numbers of a proof as plain values."""
    return {
        "false_alarms": proof.false_alarms,
        "limit": proof.limit,
        "contradicts": [row.case.name for row in proof.contradictions],
        "rows": [
            {
                "name": row.case.name,
                "theory": row.theory.words,
                "verdict": verdict(proof, row),
                "estimates": len(row.estimates),
                "p_value": None if row.test is None else row.p_value,
                "relative_bias": row.bias[0],
                "relative_bias_99": row.bias[1],
                "relative_distance": row.distance,
                "relative_variance": row.variance,
                "cosine_by_estimates": {str(n): cosine for n, cosine in row.cosines().items()},
                "seconds_per_estimate": row.found.seconds,
                "samples_per_estimate": row.found.samples,
                "reference": row.theory.reference.tolist(),
                "expected": None if row.theory.expected is None else row.theory.expected.tolist(),
                "mean": row.estimates.mean(0).tolist(),
            }
            for row in proof.rows
        ],
    }
