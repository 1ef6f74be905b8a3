"""Permutation tests (Fisher 1935): exact if two configurations score alike, whatever the distribution of the scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from policygrad.types import F64

ALL = 4096
"""Largest number of permutations that are enumerated; above it, `DRAWN` random ones are compared."""
DRAWN = 3999
ROUNDING = 1e-12
"""Statistics that differ by less than this share are considered equal."""


def sign_flip_p(differences: F64, rng: np.random.Generator) -> float:
    """Return the two-sided p-value of the sign-flip test for paired differences.

        p = share of s ∈ {−1, 1}^n with |Σ_i s_i d_i| ≥ |Σ_i d_i|

    If the two configurations score alike, d_i and −d_i are equally likely, and P(p ≤ α) ≤ α. The smallest p is 2^{1−n}.
    With many differences, random signs are drawn, and p is (1 + count) / (1 + drawn) (Phipson & Smyth 2010).

    >>> sign_flip_p(np.array([1.0, 2.0, 3.0]), np.random.default_rng(0))
    0.25

    Args:
        differences: [n].
        rng: source of random numbers, used if 2^n is above `ALL`.
    """
    n = len(differences)
    if 2**n <= ALL:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return _share(signs @ differences, float(differences.sum()), drawn=False)
    signs = 1.0 - 2.0 * rng.integers(2, size=(DRAWN, n))
    return _share(signs @ differences, float(differences.sum()), drawn=True)


def label_p(x: F64, y: F64, rng: np.random.Generator) -> float:
    """Return the two-sided p-value of the permutation test for the difference of two means.

        p = share of the ways to call n of the n + m scores x with |x̄ − ȳ| at least as large as observed

    If the two configurations score alike, P(p ≤ α) ≤ α. With many scores, random labels are drawn (see `sign_flip_p`).

    >>> label_p(np.array([4.0, 5.0]), np.array([1.0, 2.0]), np.random.default_rng(0))  # 2 of 6 ways
    0.3333333333333333

    Args:
        x, y: [n] and [m].
        rng: source of random numbers, used if there are more than `ALL` ways.
    """
    together, n, m = np.concatenate([x, y]), len(x), len(y)
    # the difference of the means is a weighted sum of all scores
    own = np.repeat([1 / n, -1 / m], [n, m])
    if math.comb(n + m, n) <= ALL:
        weights = np.full((math.comb(n + m, n), n + m), -1 / m)
        np.put_along_axis(weights, np.array(list(combinations(range(n + m), n))), 1 / n, axis=1)
        drawn = False
    else:
        weights = rng.permuted(np.tile(own, (DRAWN, 1)), axis=1)
        drawn = True
    centered = together - together.mean()
    return _share(weights @ centered, float(own @ centered), drawn)


def improvement_p(x: Sequence[F64], y: Sequence[F64], rng: np.random.Generator) -> float:
    """Return the two-sided p-value of the permutation test for the probability of improvement over several tasks.

    The labels are permuted within each task. The statistic is P(X > Y) − ½, averaged over tasks, which for one task is
    the rank-sum test of Mann & Whitney 1947. `DRAWN` random permutations are compared (see `sign_flip_p`).

    Args:
        x, y: one array [seeds] of scores per task.
        rng: source of random numbers.
    """
    permuted, observed = np.zeros(DRAWN), 0.0
    for scores, others in zip(x, y, strict=True):
        n, m = len(scores), len(others)
        # U is the sum of the ranks of x, but for a constant
        ranks = (rankdata(np.concatenate([scores, others])) - (n + m + 1) / 2) / (n * m)
        permuted += rng.permuted(np.tile(ranks, (DRAWN, 1)), axis=1)[:, :n].sum(axis=1)
        observed += float(ranks[:n].sum())
    return _share(permuted, observed, drawn=True)


def _share(permuted: F64, observed: float, drawn: bool) -> float:
    """Return the share of statistics whose magnitude is at least the observed one, itself included."""
    largest = max(float(abs(permuted).max()), abs(observed))
    count = int((abs(permuted) >= abs(observed) - ROUNDING * largest).sum())
    return (1 + count) / (1 + len(permuted)) if drawn else count / len(permuted)
