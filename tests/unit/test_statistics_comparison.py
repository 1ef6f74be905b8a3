"""Comparisons of two configurations: wrong verdicts are rare, and planned numbers of seeds are enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import mannwhitneyu, permutation_test, ttest_ind

from policygrad.statistics import compare, paired, seeds_needed, unpaired
from policygrad.statistics.permutations import improvement_p, label_p, sign_flip_p


def by_seed(scores: Any) -> dict[int, float]:
    return dict(enumerate(map(float, scores)))


def correlated(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """Skewed scores below a cap, with the same distribution for a and b and a correlation between them."""
    shared = rng.normal(size=n)
    return tuple(500 + 100 * np.log(ndtr((shared + rng.normal(size=n)) / math.sqrt(2))) for _ in range(2))  # type: ignore


def one_skewed(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """Equal means, but the scores of a are exponential and those of b nearly constant."""
    return 500 - rng.exponential(100, n), 400 + rng.normal(0, 10, n)


def share_decided(scores: Callable[..., Any], n: int, studies: int, compare: Callable[..., Any]) -> float:
    """The share of studies with a verdict, in percent."""
    rng = np.random.default_rng(n)
    verdicts = [compare(*map(by_seed, scores(rng, n)), rng, resamples=300).verdict for _ in range(studies)]
    return 100 * float(np.mean([verdict != "not decided" for verdict in verdicts]))


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("scores", [correlated, one_skewed])
def test_few_seeds_never_decide(scores: Callable[..., Any], n: int):
    assert share_decided(scores, n, 100, paired) == 0


@pytest.mark.parametrize("n", [6, 10, 20])
@pytest.mark.parametrize("scores", [correlated, one_skewed])
def test_wrong_verdicts_about_shared_seeds_are_rare(scores: Callable[..., Any], n: int):
    assert share_decided(scores, n, 2000, paired) <= 5


def test_wrong_verdicts_about_other_seeds_are_rare():
    assert share_decided(one_skewed, 10, 2000, unpaired) <= 5


@pytest.mark.parametrize(
    ("function", "is_paired", "effect"), [(paired, True, 0.6), (paired, True, 1.0), (unpaired, False, 1.0)]
)
def test_the_planned_number_of_seeds_would_probably_decide(
    function: Callable[..., Any], is_paired: bool, effect: float
):
    """The number is that of a t test with power 0.8. A verdict needs a little more than the t test."""
    n = seeds_needed(effect, 0.95, paired=is_paired)
    assert n is not None

    def scores(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
        return rng.normal(effect, 1, n), np.zeros(n) if is_paired else rng.normal(0, 1, n)

    assert 68 <= share_decided(scores, n, 400, function) <= 84


def test_the_detectable_difference_is_detected():
    rng = np.random.default_rng(0)
    a, b = by_seed(rng.normal(0, 3, 20)), by_seed(np.zeros(20))
    found = paired(a, b, rng)
    spread = float(np.std(list(a.values()), ddof=1))

    def scores(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
        return rng.normal(found.detectable, spread, n), np.zeros(n)

    assert 70 <= share_decided(scores, 20, 500, paired) <= 84


def test_planned_numbers_of_seeds_equal_published_ones():
    """Cohen 1988, table 2.4.1: d of 0.2, 0.5 and 0.8 with power 0.8 take 393, 64 and 26 of each."""
    assert [seeds_needed(d, 0.95, paired=False) for d in (0.2, 0.5, 0.8)] == [394, 64, 26]
    assert seeds_needed(0.01, 0.95, paired=False) is None
    assert seeds_needed(0.0, 0.95, paired=True) is None
    assert seeds_needed(50.0, 0.95, paired=True) == 6


def test_permutation_tests_equal_those_of_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.gamma(2, size=6), rng.gamma(2, size=6) + 1
    difference: Any = lambda x, y, axis: x.mean(axis) - y.mean(axis)  # noqa: E731
    exact = permutation_test((x, y), difference, n_resamples=np.inf)
    assert label_p(x, y, rng) == pytest.approx(exact.pvalue)
    flipped = permutation_test(
        (x - y,), lambda d, axis: d.mean(axis), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(x - y, rng) == pytest.approx(flipped.pvalue)
    assert improvement_p([x], [y], rng) == pytest.approx(mannwhitneyu(x, y, method="exact").pvalue, abs=0.01)


def test_drawn_permutations_agree_with_all_of_them(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, 6), rng.normal(0, 1, 6)
    exact = sign_flip_p(x - y, rng), label_p(x, y, rng)
    monkeypatch.setattr("policygrad.statistics.permutations.ALL", 0)
    assert (sign_flip_p(x - y, rng), label_p(x, y, rng)) == pytest.approx(exact, abs=0.02)


def test_a_clear_difference_is_decided_in_its_direction():
    rng = np.random.default_rng(0)
    high, low = by_seed(rng.normal(480, 10, 8)), by_seed(rng.normal(20, 10, 8))
    for function in (paired, unpaired):
        one, other = function(high, low, rng), function(low, high, rng)
        assert (one.verdict, other.verdict) == ("a is better", "b is better")
        assert one.low < one.difference < one.high
        assert other.difference == -one.difference
    text = paired(high, low, rng).in_words
    assert text.startswith("a is better: the difference is 47")
    assert "98 % [" in text


def test_only_shared_seeds_are_paired():
    rng = np.random.default_rng(0)
    a = {seed: float(seed**2) for seed in range(8)}
    b = {seed: a.get(seed, 1e6) - 1 - seed % 2 for seed in range(2, 12)}
    found = paired(a, b, rng)
    assert (found.n, found.paired, found.difference) == ((6, 6), True, 1.5)
    assert found.p == 2 / 2**6
    assert "differences between shared seeds" in found.method


def test_other_seeds_are_compared_as_two_samples():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 16), rng.normal(0, 2, 18)
    found = paired(by_seed(a), {100 + seed: score for seed, score in by_seed(b).items()}, rng)
    assert (found.n, found.paired) == ((16, 18), False)
    assert "of all seeds" in found.method
    welch = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    # the wider of Welch's interval and another one
    assert found.low <= welch.low + 1e-9
    assert found.high >= welch.high - 1e-9
    few = unpaired(by_seed(a[:4]), by_seed(b[:5]), rng)
    welch = ttest_ind(a[:4], b[:5], equal_var=False).confidence_interval(0.98)
    assert (few.low, few.high) == (pytest.approx(welch.low), pytest.approx(welch.high))


def test_what_is_missing_is_said():
    rng = np.random.default_rng(0)
    a, b = by_seed(rng.normal(1, 1, 5)), by_seed(rng.normal(0, 1, 5))
    few = paired(a, b, rng)
    assert few.verdict == "not decided"
    assert math.isnan(few.detectable)
    assert "5 seeds cannot decide, so run at least 6 of each" in few.in_words
    single = paired({0: 1.0}, {0: 2.0}, rng)
    assert (single.verdict, math.isnan(single.low)) == ("not decided", True)
    assert "one seed has no interval" in single.in_words
    x = rng.normal(0, 1, 12)
    small = paired(by_seed(x - x.mean() + 0.001), by_seed(np.zeros(12)), rng)
    assert small.needed is None
    assert "more than 1,000 seeds of each would probably decide" in small.in_words


def test_equal_scores_decide_nothing_and_equal_differences_decide():
    rng = np.random.default_rng(0)
    same = by_seed(rng.normal(size=8))
    found = paired(same, same, rng)
    assert (found.verdict, found.p, found.low, found.high) == ("not decided", 1.0, 0.0, 0.0)
    assert found.in_words == "not decided: the difference is 0  98 % [0, 0], p = 1"
    more = paired(by_seed(np.arange(8) + 1), by_seed(np.arange(8)), rng)
    assert (more.verdict, more.low, more.high) == ("a is better", 1.0, 1.0)


def test_several_environments_are_compared_one_by_one_and_together():
    rng = np.random.default_rng(0)
    a = {
        name: by_seed(rng.normal(scale, 0.8 * scale, 8)) for name, scale in (("x", 1), ("y", 100), ("z", 1e4))
    }
    b = {name: by_seed(rng.normal(0, scale, 8)) for name, scale in (("x", 1), ("y", 100), ("w", 1))}
    found = compare(a, b, rng)
    assert list(found.environments) == ["x", "y"]
    assert found.environments["y"].difference == pytest.approx(
        np.mean(list(a["y"].values())) - np.mean(list(b["y"].values()))
    )
    assert found.verdict == "a is better"
    assert found.improvement.low > 0.5
    assert found.in_words.startswith(
        "a is better over 2 environments: a run of a scores higher with probability 0."
    )
    assert compare(b, a, rng).verdict == "b is better"
    nothing = compare({"x": a["x"]}, {"x": a["x"]}, rng)
    assert (nothing.verdict, nothing.improvement.value, nothing.p) == ("not decided", 0.5, 1.0)


def test_bad_scores_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="the scores of b must be finite"):
        paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: math.nan}, rng)
    with pytest.raises(ValueError, match="the scores of a must be an array"):
        paired({}, {0: 1.0}, rng)
    with pytest.raises(ValueError, match=r"must have an environment in common; got \['x'\] and \['y'\]"):
        compare({"x": {0: 1.0}}, {"y": {0: 1.0}}, rng)
