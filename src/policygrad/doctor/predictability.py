"""How well numbers can be predicted from others: ridge regression on random Fourier features.

Rahimi & Recht 2007, "Random features for large-scale kernel machines". The features approximate a Gaussian kernel, so
the regression can follow any smooth function without a choice of its form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policygrad.types import F64, Bool

FEATURES = 200
"""Number of random features."""
WIDTHS = (0.5, 1.0, 2.0)
"""Widths of the kernel, in units of √D for D standardized inputs. The best one counts."""
RIDGE = 1e-3
"""Weight of the penalty, per sample."""
MOST = 1500
"""Maximum number of samples of each half: those that are fitted, and those that are predicted."""
FEWEST = 100
"""Number of samples of each half below which nothing is predicted."""


@dataclass(frozen=True)
class Predictability:
    """Something that is easier to predict with more inputs. Shares of variance are of samples that were not fitted."""

    what: str
    """What is predicted."""
    without: float
    """Share of its variance that is predicted from the current observation and action."""
    with_history: float
    """Share that is predicted if the previous and the first observation are known too."""


def predicted_shares(inputs: F64, targets: F64, fitted: Bool, rng: np.random.Generator) -> F64:
    """Return the share of each target's variance that is predicted on the samples that were not fitted, [K].

    A share is 1 for perfect predictions and 0 or less for those that are no better than the mean.

    Args:
        inputs: [n, D].
        targets: [n, K].
        fitted: [n]: True for the samples that the regression is fitted to.
        rng: draws the features.
    """
    mean, deviation = inputs[fitted].mean(0), inputs[fitted].std(0)
    x = (inputs - mean) / np.where(deviation > 1e-8, deviation, 1.0)
    # far outside of what was fitted, nothing can be predicted, and linear terms would explode
    x = np.clip(x, -5.0, 5.0)
    shift, unit = targets[fitted].mean(0), targets[fitted].std(0)
    y = (targets - shift) / np.where(unit > 1e-12, unit, 1.0)
    shares = [_share(x, y, fitted, width, rng) for width in WIDTHS]
    return np.max(shares, axis=0)


def _share(x: F64, y: F64, fitted: Bool, width: float, rng: np.random.Generator) -> F64:
    frequencies = rng.standard_normal((x.shape[1], FEATURES)) / (width * np.sqrt(x.shape[1]))
    waves = np.cos(x @ frequencies + rng.uniform(0, 2 * np.pi, FEATURES)) * np.sqrt(2 / FEATURES)
    features = np.concatenate([np.ones((len(x), 1)), x, waves], axis=1)
    known = features[fitted]
    penalty = RIDGE * len(known) * np.diag([0.0, *np.full(features.shape[1] - 1, 1.0)]) / FEATURES
    weights = np.linalg.solve(known.T @ known + penalty + 1e-9 * np.eye(len(penalty)), known.T @ y[fitted])
    errors = y[~fitted] - features[~fitted] @ weights
    variance = y[~fitted].var(0)
    return 1 - (errors**2).mean(0) / np.where(variance > 0, variance, np.inf)
