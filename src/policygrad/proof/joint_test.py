"""Whether the mean of vectors is a given vector, by one test of all directions in which the vectors vary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from policygrad.types import F64

SPAN = 1e-6
"""Directions with less than this share of the longest one, or of the largest variance, do not count."""
LEAST = 30
"""Smallest effective number of estimates in a direction, (Σ z²)² / Σ z⁴. With fewer, the mean is not normal."""
OUTSIDE = 1e-4
"""Largest distance, relative to the size of the vectors, between mean and expectation outside of the tested span."""


@dataclass(frozen=True)
class JointTest:
    """Hotelling's test of R vectors with P entries against their expectation, in the r directions that they span.

    Gradients of a softmax lie in a space of few dimensions, whatever the number of parameters: separate intervals of
    each parameter would test the same thing many times, and miss a bias that is spread over all.
    """

    coordinates: F64
    """[R, r]: the vectors minus the expectation, in directions of unit variance."""
    outside: float
    """Distance of the mean from the expectation outside of the span, relative to the size of the vectors."""

    @property
    def p_value(self) -> float:
        """Probability of a distance as large as this if the expectation is right; 0 if it is outside of the span."""
        if self.outside > OUTSIDE:
            return 0.0
        R, r = self.coordinates.shape
        if r == 0:
            return 1.0
        moments = np.concatenate(
            [self.coordinates.mean(0), (self.coordinates.T @ self.coordinates / R).ravel()]
        )
        return float(_p_values(moments[None], R, r)[0])

    def simulated(self, tables: int, rng: np.random.Generator) -> F64:
        """Return the p-values [tables] of the same number of vectors, drawn from these after they were recentred.

        Their expectation is right by construction, so the p-values should be uniform.
        """
        R, r = self.coordinates.shape
        if r == 0:
            return np.ones(tables)
        centred = self.coordinates - self.coordinates.mean(0)
        products = (centred[:, :, None] * centred[:, None, :]).reshape(R, r * r)
        features = np.concatenate([centred, products], axis=1)
        found = np.empty(tables)
        for first in range(0, tables, 250):
            counts = rng.multinomial(R, np.full(R, 1 / R), min(250, tables - first))
            found[first : first + len(counts)] = _p_values(counts @ features / R, R, r)
        return found


def joint_test(samples: F64, expected: F64, span: F64) -> JointTest:
    """Return the test of samples [R, P] against their expectation [P].

    Args:
        samples, expected: the vectors and what they should average to.
        span: [K, P]: vectors of which all samples are sums, such as the scores of all actions.

    Raises:
        ValueError: a number is not finite, or there are too few samples for a mean that is normally distributed.
    """
    if not (np.isfinite(samples).all() and np.isfinite(expected).all()):
        raise ValueError("an estimate or the exact expectation is not finite")
    _, lengths, directions = np.linalg.svd(span, full_matrices=False)
    basis = directions[lengths > SPAN * max(float(lengths[0]), np.finfo(float).tiny)]
    difference = samples - expected
    distance = difference.mean(0)
    size = max(float(np.sqrt((samples**2).sum(1).mean())), float(np.linalg.norm(expected)), 1e-12)
    outside = float(np.linalg.norm(distance - distance @ basis.T @ basis)) / size
    within = (samples - samples.mean(0)) @ basis.T
    variances, axes = np.linalg.eigh(within.T @ within / (len(samples) - 1))
    hint = "Use more estimates, or more environments per estimate."
    if not variances.min(initial=np.inf) > SPAN * max(variances.max(initial=0.0), np.finfo(float).tiny):
        raise ValueError(
            f"the estimates do not vary in all of the {len(basis)} directions that gradients have: some actions were "
            f"never taken, or there are only {len(samples)} estimates. {hint}"
        )
    turned = within @ axes
    weights = (turned**2).sum(0) ** 2 / (turned**4).sum(0)
    if weights.min(initial=np.inf) < LEAST:
        raise ValueError(
            f"a few rare estimates decide the mean: their effective number is {weights.min():.0f} of {len(samples)}, "
            f"and a test needs {LEAST}. {hint}"
        )
    return JointTest(difference @ basis.T @ axes / np.sqrt(variances), outside)


def _p_values(moments: F64, R: int, r: int) -> F64:
    """Return the p-values of Hotelling's test, [K], from K rows of (means [r], mean products [r · r])."""
    mean, products = moments[:, :r], moments[:, r:].reshape(-1, r, r)
    covariance = (products - mean[:, :, None] * mean[:, None, :]) * (R / (R - 1))
    distance = R * np.einsum("ki,ki->k", mean, np.linalg.solve(covariance, mean[:, :, None])[:, :, 0])
    return stats.f.sf(distance * (R - r) / (r * (R - 1)), r, R - r)
