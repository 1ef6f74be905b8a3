"""Estimates of scores: point estimates equal those of rliable, and intervals behave at their limits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from policygrad import statistics
from policygrad.statistics.across_tasks import Aggregate
from policygrad.statistics.one_task import Statistic

RLIABLE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "rliable_1_2_0.json").read_text())


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def tasks(scores: list[list[float]]) -> list[Any]:
    return [np.array(each) for each in scores]


@pytest.mark.parametrize("case", RLIABLE["cases"])
def test_point_estimates_equal_those_of_rliable(case: dict[str, Any]):
    x, y = tasks(case["x"]), tasks(case["y"])
    assert statistics.mean(x) == pytest.approx(case["mean"], rel=1e-12)
    assert statistics.median_of_tasks(x) == pytest.approx(case["median"], rel=1e-12)
    assert statistics.iqm(x) == pytest.approx(case["iqm"], rel=1e-12)
    assert statistics.optimality_gap(x) == pytest.approx(case["optimality_gap"], rel=1e-9)
    assert statistics.optimality_gap(x, 0.5) == pytest.approx(case["optimality_gap_at_half"], abs=1e-12)
    for one, other, value in ((x, y, case["improvement"]), (y, x, case["improvement_of_y"])):
        found = statistics.probability_of_improvement(one, other, generator())
        assert found.value == pytest.approx(value, rel=1e-12)
        assert 0 <= found.low < found.value < found.high <= 1


def test_point_estimates_pass_the_tests_of_rliable():
    """The numbers of tests/rliable/metrics_test.py."""
    x = tasks([[1, 2, 1, 2], [2, 2, 1, 1]])
    y = tasks([[1, 2, 3], [1, 2, 3]])
    assert (statistics.median_of_tasks(x), statistics.mean(x), statistics.iqm(x)) == (1.5, 1.5, 1.5)
    assert (statistics.median_of_tasks(y), statistics.mean(y), statistics.iqm(y)) == (2, 2, 2)
    assert statistics.probability_of_improvement(x, y, generator()).value == pytest.approx(1 / 3)


@pytest.mark.parametrize("statistic", get_args(Aggregate))
def test_an_estimate_over_tasks_has_the_value_of_the_function_of_its_name(statistic: Aggregate):
    scores = [generator().normal(k, 1, 4 + 8 * k) for k in range(3)]
    found = statistics.aggregate(scores, generator(), statistic)
    assert found.value == pytest.approx(getattr(statistics, statistic)(scores))
    assert found.low < found.value < found.high
    assert found.n == 36


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 8, 10, 25])
@pytest.mark.parametrize("statistic", get_args(Statistic))
def test_the_same_generator_gives_the_same_interval_around_the_value(statistic: Statistic, n: int):
    values = generator().gamma(2.0, size=(n, 6))
    first, again = (statistics.curve(values, generator(), statistic) for _ in range(2))
    np.testing.assert_array_equal([first.low, first.high], [again.low, again.high])
    expected = {
        "mean": values.mean(axis=0),
        "median": np.median(values, axis=0),
        "iqm": [statistics.iqm([column]) for column in values.T],
    }
    np.testing.assert_allclose(first.value, expected[statistic], rtol=1e-12)
    assert (first.low < first.value).all()
    assert (first.value < first.high).all()
    assert first.n == n
    one = statistics.estimate(values[:, 3], generator(), statistic)
    assert (one.value, one.method) == (pytest.approx(first.value[3]), first.method)
    # products of matrices of different shapes are rounded differently
    assert (one.low, one.high) == (pytest.approx(first.low[3]), pytest.approx(first.high[3]))


@pytest.mark.parametrize("statistic", get_args(Statistic))
def test_intervals_move_and_stretch_with_the_scores(statistic: Statistic):
    scores = generator().gamma(2.0, size=12)
    one = statistics.estimate(scores, generator(), statistic)
    for scale, shift in ((1e-150, 0.0), (1e150, 0.0), (3.0, -500.0)):
        other = statistics.estimate(scale * scores + shift, generator(), statistic)
        expected = [scale * number + shift for number in (one.value, one.low, one.high)]
        assert [other.value, other.low, other.high] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 12])
@pytest.mark.parametrize("statistic", get_args(Statistic))
def test_the_interval_of_equal_scores_is_a_point(statistic: Statistic, n: int):
    found = statistics.estimate(np.full(n, 0.1), generator(), statistic)
    assert (found.low, found.value, found.high) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("statistic", get_args(Aggregate))
def test_the_interval_of_equal_scores_in_each_task_is_a_point(statistic: Aggregate):
    found = statistics.aggregate([np.full(3, 0.1), np.full(12, 0.3)], generator(), statistic)
    assert found.low == found.value == found.high


def test_one_seed_has_no_interval():
    found = statistics.estimate(np.array([3.0]), generator())
    assert (found.value, found.method) == (3.0, "one seed has no interval")
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.level)
    over_tasks = statistics.aggregate(tasks([[1.0], [2.0, 3.0]]), generator(), "mean")
    assert str(over_tasks) == "1.75, a task with one seed has no interval"
    better = statistics.probability_of_improvement(tasks([[1.0]]), tasks([[0.0, 2.0]]), generator())
    assert (better.value, math.isnan(better.low)) == (0.5, True)


def test_the_median_of_few_seeds_has_the_range_of_the_scores_and_its_own_level():
    for n in range(2, 6):
        scores = generator().normal(size=n)
        found = statistics.estimate(scores, generator(), "median")
        # each seed is below the median with probability ½: all are, or none, with probability 2 · 2⁻ⁿ
        assert found.level == pytest.approx(1 - 2 * 0.5**n)
        assert (found.low, found.high) == (scores.min(), scores.max())
    assert statistics.estimate(generator().normal(size=6), generator(), "median").level == 0.95


def test_the_interval_of_the_median_lies_between_the_order_statistics_of_its_level():
    """With 20 seeds, the 6th and 15th scores have the level 95.86 %, and the 7th and 14th 88.47 %."""
    x = np.sort(generator().normal(size=20))
    exact = 1 - 2 * sum(math.comb(20, k) for k in range(6)) / 2**20
    at_6 = statistics.estimate(x, generator(), "median", level=exact)
    assert (at_6.low, at_6.high) == (pytest.approx(x[5]), pytest.approx(x[14]))
    at_95 = statistics.estimate(x, generator(), "median")
    assert x[5] < at_95.low < x[6]
    assert x[13] < at_95.high < x[14]


def test_a_probability_of_improvement_of_one_has_no_interval_of_width_zero():
    x, y = [np.arange(10.0) + 100], [np.arange(10.0)]
    best = statistics.probability_of_improvement(x, y, generator())
    worst = statistics.probability_of_improvement(y, x, generator())
    assert (best.value, best.high) == (1, pytest.approx(1))
    assert 0.6 < best.low < 0.9
    assert (worst.value, worst.low) == (0, pytest.approx(0))
    assert worst.high == pytest.approx(1 - best.low)


def test_the_bootstrap_is_that_of_all_resamples():
    """For 5 seeds, the percentiles agree with those of all 3,125 equally likely resamples."""
    x = np.array([0.0, 1.0, 4.0, 9.0, 20.0])
    every = np.sort(x[np.array(np.meshgrid(*[range(5)] * 5)).reshape(5, -1)], axis=0)[1:4].mean(axis=0)
    found = statistics.estimate(x, generator(), "iqm", level=0.5, resamples=200_000)
    shares = [(every < found.low).mean(), (every <= found.low).mean()]
    # Φ(−√(5/4) t₄) at the level 0.5, where t₄ = 0.7407
    assert shares[0] - 0.01 <= 0.2038 <= shares[1] + 0.01
    assert (every > found.high).mean() - 0.01 <= 0.2038 <= (every >= found.high).mean() + 0.01


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [[1.0]]])
def test_bad_scores_are_refused(bad: Any):
    for function in (statistics.mean, statistics.iqm):
        with pytest.raises(ValueError, match=r"tasks\[0\] must be"):
            function([np.array(bad)])
    with pytest.raises(ValueError, match="scores must be"):
        statistics.estimate(np.array(bad), generator())


def test_bad_requests_are_refused():
    x: Any = np.arange(4.0)
    wrong: Any = "midmean"
    with pytest.raises(ValueError, match=r"statistic must be one of .*'iqm'.*got 'midmean'"):
        statistics.estimate(x, generator(), wrong)
    with pytest.raises(ValueError, match=r"statistic must be one of .*'median_of_tasks'"):
        statistics.aggregate([x], generator(), wrong)
    with pytest.raises(ValueError, match=r"level must be at least 0.5 and below 1"):
        statistics.estimate(x, generator(), level=95)
    with pytest.raises(ValueError, match="resamples must be 1 or more"):
        statistics.estimate(x, generator(), resamples=0)
    with pytest.raises(ValueError, match="at least one task"):
        statistics.aggregate([], generator())
    with pytest.raises(ValueError, match="the same tasks; got 1 and 2"):
        statistics.probability_of_improvement([x], [x, x], generator())
