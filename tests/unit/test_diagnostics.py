"""What an update reports: how far the policy moved, and how well V(s) fits its targets."""

from __future__ import annotations

import numpy as np
import pytest

from policygrad.algorithms.diagnostics import policy_change_metrics, value_metrics
from policygrad.engines import make_engine
from policygrad.policies import kl_estimate
from policygrad.types import Batch, Inputs
from tests.helpers import networks, steps_for


def test_the_kl_estimate_is_never_negative():
    """An estimator that can be negative, such as the mean of log π_old − log π, would stop an update too late."""
    rng = np.random.default_rng(0)
    old, new = rng.standard_normal((2, 10_000)).astype(np.float32)
    assert kl_estimate(new, old).min() >= 0
    # its mean over actions of the old policy is the KL, here between two coins
    p, q = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    estimates = kl_estimate(np.log(q).astype(np.float32), np.log(p).astype(np.float32))
    assert (p * estimates).sum() == pytest.approx((p * np.log(p / q)).sum(), rel=1e-5)


def test_value_metrics_equal_their_formulas():
    rng = np.random.default_rng(0)
    target = (1_000 + rng.standard_normal(500)).astype(np.float32)
    value = (target + 1 + 0.3 * rng.standard_normal(500)).astype(np.float32)
    error = value.astype(np.float64) - target
    metrics = value_metrics(value, target)
    assert metrics["value_loss"] == pytest.approx(0.5 * np.mean(error**2), rel=1e-9)
    assert metrics["value_bias"] == pytest.approx(np.mean(error), rel=1e-9)
    assert metrics["explained_variance"] == pytest.approx(explained(value, target), rel=1e-9)
    # the moments combine several parts
    moments = np.zeros((2, 3))
    for rows in (slice(0, 1), slice(1, 300), slice(300, 500)):
        in_parts = value_metrics(value[rows], target[rows], moments, remembered=np.inf)
    assert in_parts["explained_variance"] == pytest.approx(metrics["explained_variance"], rel=1e-9)
    assert np.isnan(value_metrics(value[:1], target[:1])["explained_variance"])


@pytest.mark.parametrize("size", [0.0, 1e-30, 0.1, 1e9 + 0.1, 1e30])
def test_explained_variance_is_nan_if_targets_differ_only_by_rounding(size: float):
    value = (size * np.random.default_rng(0).standard_normal(500)).astype(np.float32)
    target = np.full(500, size, np.float32)
    for odd in (target[0], np.nextafter(target[0], np.float32(2 * size))):
        target[::7] = odd
        moments = np.zeros((2, 3))
        for rows in (slice(0, 200), slice(200, 500)):
            assert np.isnan(
                value_metrics(value[rows], target[rows], moments, remembered=5_000.0)["explained_variance"]
            )
    # differences larger than rounding are explained as usual
    target[::7] *= np.float32(1.001)
    if size:
        found = value_metrics(value, target)["explained_variance"]
        assert found == pytest.approx(explained(value, target), rel=1e-9)


def explained(value: np.ndarray, target: np.ndarray) -> float:
    value, target = value.astype(np.float64), target.astype(np.float64)
    return 1 - np.var(target - value) / np.var(target)


def test_the_policy_change_is_measured_on_evenly_spaced_samples():
    policy, value = networks("categorical")
    engine, rollout = make_engine(policy, value, "adam"), steps_for(policy, 0)
    x, action = rollout.observation[rollout.valid], rollout.action[rollout.valid]
    batch = Batch(Inputs(x), action, {})
    new, _ = engine.evaluate(Inputs(x), action)
    old = new + np.random.default_rng(0).normal(0, 0.1, len(x)).astype(np.float32)
    # at most a third of the samples
    at_most = -(-len(x) // 3)
    assert len(x) > 3
    metrics = policy_change_metrics(engine, batch, old, clip=0.1, at_most=at_most)
    off = (new - old)[::3]
    assert metrics["kl"] == pytest.approx(float(kl_estimate(new[::3], old[::3]).mean()), rel=1e-6)
    assert metrics["largest_ratio"] == pytest.approx(float(np.exp(off).max()), rel=1e-6)
    assert metrics["clip_share"] == np.mean(np.abs(np.exp(off) - 1) > 0.1)


def test_explained_variance_of_perfect_constant_and_opposite_values():
    target = np.random.default_rng(0).standard_normal(50).astype(np.float32)

    def explained(value: np.ndarray, target: np.ndarray) -> float:
        return value_metrics(value, target)["explained_variance"]

    assert explained(target, target) == 1
    assert explained(np.zeros_like(target), target) == pytest.approx(0, abs=1e-12)
    assert explained(-target, target) == pytest.approx(-3, rel=1e-6)
    assert explained(target / 2, target) == pytest.approx(0.75, rel=1e-6)
    assert np.isnan(explained(target, np.ones_like(target)))
    value, three = np.array([1, 2, 2], np.float32), np.array([1, 3, 2], np.float32)
    for size in (np.float32(1e-20), np.float32(1), np.float32(1e20)):
        assert explained(size * value, size * three) == pytest.approx(1 - (2 / 9) / (2 / 3), rel=1e-6)
