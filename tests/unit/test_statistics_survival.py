"""The time to solve a task, with runs that ended unsolved: published numbers, and what is not known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import CensoredData, ecdf

from policygrad.statistics import Survival, kaplan_meier

# weeks of remission with 6-MP (Freireich et al. 1963, Blood 21); negative: still in remission
REMISSION = [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35]


def estimated(signed: Any) -> Survival:
    time = np.array(signed, np.float64)
    return kaplan_meier(abs(time), time > 0)


def test_the_estimate_equals_the_published_one():
    """Klein & Moeschberger 2003, tables 4.1A and 4.1B, and example 4.1 of section 4.5."""
    curve = estimated(REMISSION)
    assert curve.time.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert curve.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert curve.solved.tolist() == [3, 1, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(curve.survival, [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], atol=5e-4)
    errors = [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346]
    np.testing.assert_allclose(np.sqrt(curve.variance), errors, atol=5e-5)
    mean = curve.restricted_mean()
    assert mean.value == pytest.approx(23.29, abs=0.005)
    assert (mean.high - mean.low) / 2 / 1.96 == pytest.approx(2.83, abs=0.005)
    assert curve.median == 23
    assert curve.median_interval == (13, math.inf)
    assert curve.median_in_words == "23  95 % [13, ∞)"


def test_the_estimate_and_its_intervals_equal_those_of_scipy():
    rng = np.random.default_rng(0)
    time, end = np.ceil(rng.exponential(100, 40)), rng.integers(20, 200, 40)
    solved, observed = time <= end, np.minimum(time, end)
    # the intervals are undefined where nothing or everything was solved
    solved[[observed.argmin(), observed.argmax()]] = True, False
    curve = kaplan_meier(observed, solved)
    other = ecdf(CensoredData.right_censored(observed, ~solved)).sf
    ends = other.confidence_interval(0.95, method="log-log")
    places = np.searchsorted(other.quantiles, curve.time)
    assert 10 < len(places) < len(other.quantiles)
    np.testing.assert_allclose(curve.survival, other.probabilities[places])
    np.testing.assert_allclose(curve.low, ends.low.probabilities[places])
    np.testing.assert_allclose(curve.high, ends.high.probabilities[places])


def test_without_unsolved_runs_it_is_the_share_of_later_ones():
    time = np.random.default_rng(0).exponential(size=9)
    curve = kaplan_meier(time, np.ones(9, bool))
    np.testing.assert_allclose(curve.survival, [(time > t).mean() for t in np.sort(time)], atol=1e-15)
    np.testing.assert_allclose(curve.variance, curve.survival * (1 - curve.survival) / 9, atol=1e-15)
    assert curve.median == np.median(time)
    mean = curve.restricted_mean()
    assert mean.value == pytest.approx(time.mean())
    assert (mean.high - mean.low) / 2 / 1.959964 == pytest.approx(time.std() / 3)


def test_the_survival_at_a_time_is_that_of_the_step_before_it():
    curve = estimated(REMISSION)
    assert curve.at(5.9) == 1
    assert curve.at(6) == pytest.approx(18 / 21)
    assert curve.at(6.5) == curve.at(6)
    assert curve.at(35) == curve.survival[-1]
    assert math.isnan(curve.at(36))
    assert estimated([1, 2]).at(3) == 0


def test_there_is_no_median_unless_half_of_the_runs_solved_the_task():
    curve = estimated([100, 200, -500, -500, -500, -500, -500])
    assert curve.median is None
    assert curve.median_interval[1] == math.inf
    assert "2 of 7 runs solved it, so there is no median time" in curve.median_in_words
    nothing = estimated([-500, -500])
    assert nothing.median is None
    assert nothing.median_interval == (math.inf, math.inf)
    assert nothing.median_in_words == "0 of 2 runs solved it, so there is no median time"
    assert nothing.restricted_mean().value == 500
    assert nothing.at(100) == 1


def test_a_survival_of_exactly_half_is_the_median():
    """0.9 · 8/9 · ... is ½ only up to rounding."""
    for n in range(2, 60, 2):
        assert kaplan_meier(np.arange(1.0, n + 1), np.ones(n, bool)).median == n / 2


@pytest.mark.parametrize("n", [10, 20])
def test_intervals_of_the_median_time_cover(n: int):
    rng = np.random.default_rng(n)
    hits = 0
    for _ in range(2000):
        time, end = rng.exponential(1, n), rng.uniform(0.5, 3, n)
        low, high = kaplan_meier(np.minimum(time, end), time <= end).median_interval
        hits += low <= math.log(2) <= high
    assert 93 <= 100 * hits / 2000 <= 97.5


def test_bad_times_are_refused():
    yes: Any = np.array([True, False])
    with pytest.raises(ValueError, match="time must be finite"):
        kaplan_meier(np.array([1.0, math.inf]), yes)
    with pytest.raises(ValueError, match="time must be 0 or more; got -1"):
        kaplan_meier(np.array([1.0, -1.0]), yes)
    with pytest.raises(ValueError, match="solved must be an array of bool with the shape"):
        kaplan_meier(np.array([1.0]), yes)
    with pytest.raises(ValueError, match="solved must be an array of bool"):
        kaplan_meier(np.array([1.0, 2.0]), yes.astype(float))
    with pytest.raises(ValueError, match="until must be positive and at most the longest observation, 35"):
        estimated(REMISSION).restricted_mean(40)
