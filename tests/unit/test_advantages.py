"""Returns, baselines, advantage estimators and normalization, each against its definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from policygrad.advantages import (
    check_whole_episodes,
    discount_weights,
    generalized_advantages,
    leave_one_out_baseline,
    mean_baseline,
    n_step_returns,
    normalize,
    normalize_parts,
    optimal_baseline,
    returns_to_go,
    rounding_error,
    td_errors,
    time_baseline,
    vtrace,
)
from policygrad.advantages.estimators import monte_carlo
from policygrad.types import Rollout
from tests.helpers import rollout_of

RNG = np.random.default_rng(0)


def done_at_end(T: int, N: int) -> np.ndarray:
    done = np.zeros((T, N), bool)
    done[-1] = True
    return done


def test_returns_to_go_is_the_discounted_sum():
    reward = RNG.standard_normal((7, 3))
    expected = [[sum(0.9 ** (k - t) * reward[k, n] for k in range(t, 7)) for n in range(3)] for t in range(7)]
    np.testing.assert_allclose(returns_to_go(reward, done_at_end(7, 3), 0.9), expected, rtol=1e-12)


def test_a_reward_belongs_to_the_action_that_earned_it():
    """An array of rewards that is shifted by one step would credit the wrong action."""
    reward = np.array([[0.0], [5.0], [0.0]])
    np.testing.assert_array_equal(returns_to_go(reward, done_at_end(3, 1), 0.0).ravel(), [0, 5, 0])


def test_returns_of_concatenated_episodes_equal_those_of_each_alone():
    """No reward of one episode may enter the returns of the other."""
    a, b = RNG.standard_normal((4, 1)), RNG.standard_normal((6, 1))
    done = np.concatenate([done_at_end(4, 1), done_at_end(6, 1)])
    together = returns_to_go(np.concatenate([a, b]), done, 0.97)
    alone = [returns_to_go(x, done_at_end(len(x), 1), 0.97) for x in (a, b)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


BOOTSTRAPPED: dict[str, Callable[..., Any]] = {
    "td": lambda r, v, v2, terminated, done: td_errors(r, v, v2, terminated, 0.97),
    "n-step": lambda r, v, v2, terminated, done: n_step_returns(r, v2, terminated, done, 0.97, 3),
    "gae": lambda r, v, v2, terminated, done: generalized_advantages(r, v, v2, terminated, done, 0.97, 0.9),
    "v-trace": lambda r, v, v2, terminated, done: np.hstack(
        vtrace(0.3 * v2, r, v, v2, terminated, done, 0.97, 0.9)
    ),
}


@pytest.mark.parametrize("estimator", BOOTSTRAPPED.values(), ids=BOOTSTRAPPED)
@pytest.mark.parametrize("ends", [(True, True), (False, True), (True, False), (False, False)])
def test_estimates_of_concatenated_episodes_equal_those_of_each_alone(
    estimator: Callable[..., Any], ends: tuple[bool, bool]
):
    """No value of one episode may enter the other, whether the first terminated or was truncated.

    The second one terminates, or is still running at the end of the rollout.
    """
    lengths, parts = (4, 6), []
    for length, terminated in zip(lengths, ends, strict=True):
        numbers = RNG.standard_normal((3, length, 1))
        flags = np.zeros((2, length, 1), bool)
        flags[0, -1] = terminated
        # the last row of the second episode is that of the rollout, whether the episode is over or not
        flags[1, -1] = terminated or length == lengths[0]
        parts.append([*numbers, *flags])
    together = estimator(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    np.testing.assert_array_equal(together, np.concatenate([estimator(*part) for part in parts]))


def test_the_tail_is_added_only_where_an_episode_ended():
    """A truncated episode continues with its own final value, and steps in the middle do not see any."""
    reward, done = np.ones((4, 1)), np.array([[False], [True], [False], [True]])
    tail = np.array([[100.0], [10.0], [100.0], [0.0]])
    np.testing.assert_allclose(returns_to_go(reward, done, 0.5, tail).ravel(), [1 + 0.5 * 6, 6, 1.5, 1])


def test_constant_reward_gives_the_geometric_series():
    returns = returns_to_go(np.ones((50, 1)), done_at_end(50, 1), 0.9)
    np.testing.assert_allclose(returns[0, 0], (1 - 0.9**50) / (1 - 0.9))


def test_shapes_are_checked_and_not_broadcast():
    """Arrays [T, 1] and [T, N] must raise instead of broadcasting."""
    with pytest.raises(ValueError, match=r"done has shape \(5, 1\); expected \(5, 2\)"):
        returns_to_go(np.ones((5, 2)), done_at_end(5, 1), 0.9)
    with pytest.raises(ValueError, match="squared_scores has shape"):
        optimal_baseline(np.ones((5, 2)), np.ones((5, 2), bool), np.ones((5, 1)))


def test_leave_one_out_advantages_are_centered_returns_times_k_over_k_minus_1():
    """Kool et al. 2019."""
    returns, valid = RNG.standard_normal((1, 6)), np.ones((1, 6), bool)
    centered = returns - mean_baseline(returns, valid)
    left_out = returns - leave_one_out_baseline(returns, valid)
    np.testing.assert_allclose(left_out, centered * 6 / 5)


def test_leave_one_out_ignores_its_own_episode_and_padding():
    returns = np.array([[1.0, 2.0, 3.0], [9.0, 4.0, 99.0]])
    valid = np.array([[True, True, True], [True, True, False]])
    baseline = leave_one_out_baseline(returns, valid)
    np.testing.assert_allclose(baseline[0], [(2 + 4 + 3) / 3, (1 + 9 + 3) / 3, (1 + 9 + 2 + 4) / 4])


def test_leave_one_out_with_one_episode_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="raise num_envs or episodes_per_env"):
        leave_one_out_baseline(np.ones((3, 1)), np.ones((3, 1), bool))


def test_the_time_baseline_averages_over_running_episodes():
    returns = np.array([[1.0, 3.0], [5.0, 77.0]])
    valid = np.array([[True, True], [True, False]])
    np.testing.assert_array_equal(time_baseline(returns, valid)[:, 0], [2, 5])


def test_the_optimal_baseline_minimizes_the_variance():
    """Greensmith et al. 2004."""
    scores = RNG.standard_normal((4000, 3)) * np.array([0.2, 1.0, 3.0])
    returns = RNG.standard_normal((4000, 1)) + 2 * (scores**2).sum(1, keepdims=True)
    squared = (scores**2).sum(1, keepdims=True)
    best = optimal_baseline(returns, np.ones((4000, 1), bool), squared)[0, 0]

    def second_moment(b: float) -> float:
        return float((((returns - b) * scores) ** 2).sum(1).mean())

    # another constant costs the weighted squared distance from the best one
    for b in (0.0, best - 1, best + 3):
        expected = second_moment(best) + squared.mean() * (b - best) ** 2
        np.testing.assert_allclose(second_moment(b), expected, rtol=1e-9)


def test_the_optimal_baseline_of_equal_returns_is_exactly_that_return():
    rng, valid = np.random.default_rng(0), np.ones((50, 1), bool)
    for returns in (1e9 + 0.1, 1e10 / 3, -1e-200, 1e200):
        found = optimal_baseline(np.full((50, 1), returns), valid, rng.uniform(0, 1e-3, (50, 1)))
        np.testing.assert_array_equal(found, returns)
    nothing, unknown = np.zeros((50, 1)), np.full((50, 1), np.nan)
    np.testing.assert_array_equal(optimal_baseline(np.ones((50, 1)), valid, nothing), 0)
    assert np.isnan(optimal_baseline(np.ones((50, 1)), valid, unknown)).all()


def test_normalizing_one_sample_or_equal_samples_stays_finite():
    """A standard deviation of 0, or of a single sample, must not become a division by zero."""
    np.testing.assert_array_equal(normalize(np.array([3.0])), [3.0])
    np.testing.assert_array_equal(normalize(np.array([2.0, 2.0])), [0.0, 0.0])


def constants(count: int, dtype: Any) -> Iterator[tuple[int, Any]]:
    """Yield (length, number) with numbers of both signs and of every magnitude of the dtype."""
    rng, largest = np.random.default_rng(1), np.log10(np.finfo(dtype).max)
    for length in rng.integers(2, 300, count):
        yield int(length), dtype(rng.choice([-1, 1]) * 10 ** rng.uniform(-largest, largest))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_advantages_of_any_size_are_normalized_to_zero(dtype: Any):
    numbers = [(7, dtype(1e9 + 0.1)), (10, dtype(1e10 / 3)), (3, dtype(0)), *constants(20_000, dtype)]
    for length, number in numbers:
        assert not normalize(np.full(length, number, dtype)).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_of_equal_advantages_of_any_size_are_normalized_to_zero(dtype: Any):
    """Each part has another constant, and the rows are shuffled."""
    lengths, numbers = zip(*constants(20_000, dtype), strict=True)
    order = np.random.default_rng(2).permutation(sum(lengths))
    advantage = np.empty(len(order), dtype)
    advantage[order] = np.repeat(np.array(numbers, dtype), lengths)
    assert not normalize_parts(advantage, order, np.append(0, np.cumsum(lengths))).any()


@pytest.mark.parametrize(
    "advantage",
    [
        [1e-9, 3e-9], [0.0, 1e-200], [3e-200, 9e-200], [0.0, 5e-324], [-1e200, 1e200], [1e200, 1e200 + 1e190],
        [-1e307, 1e307], [1e9, 1e9 + 1e-5], [1e-20, 1.0],
    ],
    ids=str,
)  # fmt: skip
def test_advantages_with_any_spread_are_normalized(advantage: list[float]):
    expected = [-1, 1]
    np.testing.assert_allclose(normalize(np.array(advantage)), expected, rtol=1e-12)
    parts = normalize_parts(np.array([0.0, *advantage, 1.0]), np.array([2, 1, 3, 0]), np.array([0, 2, 4]))
    np.testing.assert_allclose(parts, [-1, *expected, 1], rtol=1e-12)


def test_a_single_different_sample_counts_among_many():
    """The standard deviation alone would be below the rounding error of the other samples."""
    advantage = np.full(1_000_000, 1.0, np.float32)
    advantage[77] = 1.0001
    found = normalize(advantage)
    np.testing.assert_allclose(found[77], 999.9995, rtol=1e-5)
    np.testing.assert_allclose(found[:77], -0.001, rtol=1e-5)


def test_advantages_that_differ_by_rounding_count_as_equal():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        number = rng.choice([-1, 1]) * 10 ** rng.uniform(-30, 30)
        exact = number * (1 + 1e-7 * rng.uniform(-1, 1, 50))
        rounded = exact.astype(np.float32)
        assert not normalize(rounded).any()
        assert not normalize_parts(rounded, rng.permutation(50), np.array([0, 20, 50])).any()
        # float64 resolves these differences, and treats some units in its own last place as rounding
        np.testing.assert_allclose(normalize(exact).std(), 1, rtol=1e-6)
        assert not normalize(number * (1 + 2.0**-52 * rng.integers(-1, 2, 50))).any()


def test_differences_within_the_rounding_of_the_returns_count_as_zero():
    returns = np.array([0.1 + 0.2, 0.3, 0.3])
    advantage = returns - returns.mean()
    assert np.abs(normalize(advantage)).max() > 1
    assert not normalize(advantage, negligible=rounding_error(returns)).any()
    returns[2] = 0.31
    advantage = returns - returns.mean()
    np.testing.assert_array_equal(normalize(advantage, rounding_error(returns)), normalize(advantage))
    assert rounding_error(np.array([-3.0, 2.0], np.float32)) == 3 * 4 * 2.0**-23


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_values_that_are_not_finite_are_propagated(wrong: float, place: int):
    """NaN and infinity must be propagated, or they would go unnoticed."""
    advantage = np.ones(5)
    advantage[place] = wrong
    assert np.isnan(normalize(advantage)).all()
    parts = normalize_parts(advantage, np.arange(5), np.array([0, 2, 5]))
    assert np.isnan(parts[:2]).all()
    assert not parts[2:].any()


def test_normalized_samples_have_mean_0_and_deviation_1():
    result = normalize(RNG.standard_normal(100) * 7 + 3)
    np.testing.assert_allclose([result.mean(), result.std()], [0, 1], atol=1e-12)


def test_discount_weights_are_powers_of_gamma():
    np.testing.assert_allclose(discount_weights((3, 2), 0.5)[:, 1], [1, 0.5, 0.25])


def test_rollouts_without_whole_episodes_are_refused():
    whole = rollout_of([[1, 1], [1, 1, 1]])
    check_whole_episodes(whole)
    parts = {f: getattr(whole, f) for f in Rollout.__dataclass_fields__}
    with pytest.raises(ValueError, match="one whole episode"):
        check_whole_episodes(Rollout(**parts | {"terminated": np.zeros((3, 2), bool)}))
    with pytest.raises(ValueError, match="one whole episode"):
        check_whole_episodes(Rollout(**parts | {"terminated": np.ones((3, 2), bool)}))
    with pytest.raises(ValueError, match="found gaps or an empty column"):
        check_whole_episodes(Rollout(**parts | {"valid": np.array([[True, False]] * 3)}))


def test_generalized_advantages_equal_the_sum_by_hand():
    """No reward or value crosses an end: not a termination, and not a truncation followed by an automatic reset.

    Targets before a termination are right for every λ, also two steps before it.
    """
    rng = np.random.default_rng(0)
    T, N, gamma, lam = 7, 2, 0.9, 0.7
    reward, value, next_value = rng.standard_normal((3, T, N))
    terminated, truncated = np.zeros((T, N), bool), np.zeros((T, N), bool)
    terminated[2, 0], truncated[4, 1] = True, True
    next_value[2, 0], reward[3:, 0] = 100.0, 100.0
    done = terminated | truncated
    found = generalized_advantages(reward, value, next_value, terminated, done, gamma, lam)
    for n in range(N):
        for t in range(T):
            total, weight = 0.0, 1.0
            for k in range(t, T):
                total += weight * (
                    reward[k, n] + gamma * next_value[k, n] * (not terminated[k, n]) - value[k, n]
                )
                weight *= gamma * lam
                if done[k, n]:
                    break
            assert found[t, n] == pytest.approx(total)
    assert np.abs(found[:3, 0]).max() < 10


def test_generalized_advantages_with_lambda_0_and_1():
    rng = np.random.default_rng(1)
    reward, value, next_value = rng.standard_normal((3, 6, 3))
    next_value[:-1] = value[1:]
    no = np.zeros((6, 3), bool)
    np.testing.assert_allclose(
        generalized_advantages(reward, value, next_value, no, no, 0.9, 0.0), reward + 0.9 * next_value - value
    )
    cut = no.copy()
    cut[-1] = True
    returns = returns_to_go(reward, cut, 0.9, np.where(cut, next_value, 0.0))
    np.testing.assert_allclose(
        generalized_advantages(reward, value, next_value, no, no, 0.9, 1.0), returns - value
    )


def steps_with_ends(T: int = 9, N: int = 2) -> dict[str, np.ndarray]:
    """Return random rewards and values; one environment terminates in the middle, the other is truncated."""
    rng = np.random.default_rng(3)
    reward, value, next_value = rng.standard_normal((3, T, N))
    terminated, done = np.zeros((2, T, N), bool)
    terminated[3, 0] = done[3, 0] = done[5, 1] = True
    next_value[:-1][~done[:-1]] = value[1:][~done[:-1]]
    return {
        "reward": reward,
        "value": value,
        "next_value": next_value,
        "terminated": terminated,
        "done": done,
    }


def without(steps: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {k: v for k, v in steps.items() if k != name}


@pytest.mark.parametrize("n", [1, 2, 4, 100])
def test_n_step_returns_equal_the_sum_by_hand(n: int):
    steps = steps_with_ends()
    found = n_step_returns(**without(steps, "value"), gamma=0.9, n=n)
    T, N = found.shape
    for e in range(N):
        for t in range(T):
            total, k = 0.0, t
            while True:
                total += 0.9 ** (k - t) * steps["reward"][k, e]
                if steps["done"][k, e] or k == T - 1 or k - t == n - 1:
                    break
                k += 1
            tail = 0.0 if steps["terminated"][k, e] else steps["next_value"][k, e]
            assert found[t, e] == pytest.approx(total + 0.9 ** (k - t + 1) * tail)


def test_estimators_agree_where_they_should_in_theory():
    steps = steps_with_ends()
    value = steps["value"]
    error = td_errors(**without(steps, "done"), gamma=0.9)
    np.testing.assert_allclose(generalized_advantages(**steps, gamma=0.9, lam=0.0), error)
    one = n_step_returns(**without(steps, "value"), gamma=0.9, n=1)
    np.testing.assert_allclose(one - value, error)
    to_the_edge = n_step_returns(**without(steps, "value"), gamma=0.9, n=100)
    np.testing.assert_allclose(generalized_advantages(**steps, gamma=0.9, lam=1.0), to_the_edge - value)


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_vtrace_with_ratios_of_1_equals_gae(lam: float):
    steps = steps_with_ends()
    target, advantage = vtrace(np.zeros((9, 2)), **steps, gamma=0.9, lam=lam)
    gae = generalized_advantages(**steps, gamma=0.9, lam=lam)
    np.testing.assert_allclose(target, gae + steps["value"])
    np.testing.assert_allclose(advantage, gae)


def test_vtrace_equals_the_sum_of_its_definition():
    """Espeholt et al. 2018, eq. 1."""
    steps = steps_with_ends()
    log_ratio = np.random.default_rng(4).standard_normal((9, 2))
    target, advantage = vtrace(log_ratio, **steps, gamma=0.9, lam=0.8, rho_max=1.2, c_max=0.9)
    error, ratio = td_errors(**without(steps, "done"), gamma=0.9), np.exp(log_ratio)
    rho, c = np.minimum(1.2, ratio), 0.8 * np.minimum(0.9, ratio)
    for e in range(2):
        for s in range(9):
            total, weight = steps["value"][s, e], 1.0
            for t in range(s, 9):
                total += weight * rho[t, e] * error[t, e]
                weight *= 0.9 * c[t, e]
                if steps["done"][t, e]:
                    break
            assert target[s, e] == pytest.approx(total)
            edge = steps["done"][s, e] or s == 8
            after = steps["next_value"][s, e] * (not steps["terminated"][s, e]) if edge else target[s + 1, e]
            next_value = steps["next_value"][s, e] * (not steps["terminated"][s, e])
            ahead = 0.8 * after + 0.2 * next_value
            expected = rho[s, e] * (steps["reward"][s, e] + 0.9 * ahead - steps["value"][s, e])
            assert advantage[s, e] == pytest.approx(expected)


def test_invalid_arguments_are_named():
    steps = steps_with_ends()
    with pytest.raises(ValueError, match="n must be 1 or more"):
        n_step_returns(**without(steps, "value"), gamma=0.9, n=0)
    with pytest.raises(ValueError, match="next_value has shape"):
        td_errors(**without(steps, "done") | {"next_value": np.zeros((9, 1))}, gamma=0.9)
    with pytest.raises(ValueError, match="log_ratio has shape"):
        vtrace(np.zeros(9), **steps, gamma=0.9)


def test_each_part_is_normalized_separately():
    rng = np.random.default_rng(0)
    advantage, order = rng.standard_normal(11), rng.permutation(11)
    bounds = np.array([0, 4, 10, 11])
    found = normalize_parts(advantage, order, bounds)
    for start, stop in pairwise(bounds[:-1]):
        rows = order[start:stop]
        np.testing.assert_allclose(found[rows], normalize(advantage[rows]), atol=1e-12)
    assert found[order[10]] == 0  # a part of one sample stays finite


BASELINES = {
    "none": lambda returns, valid: np.zeros_like(returns),
    "mean": mean_baseline,
    "time": time_baseline,
    "leave-one-out": leave_one_out_baseline,
}


@pytest.mark.parametrize("whole_returns", [False, True])
@pytest.mark.parametrize("baseline", BASELINES)
def test_the_monte_carlo_estimator_subtracts_the_baseline_of_this_name(baseline: Any, whole_returns: bool):
    rng, lengths = np.random.default_rng(0), np.array([7, 3, 5])
    valid = np.arange(7)[:, None] < lengths
    done = np.arange(7)[:, None] == lengths - 1
    reward, value = np.where(valid, rng.normal(size=(7, 3)), 0), rng.normal(size=(7, 3))
    estimator = monte_carlo(0.9, baseline, whole_returns=whole_returns)
    advantage, target = estimator(reward, value, None, done, done, valid)
    returns = returns_to_go(reward, done, 0.9)
    np.testing.assert_allclose(target[valid], returns[valid])
    rows = 1 if whole_returns else 7
    used = np.broadcast_to(returns[:1], returns.shape) if whole_returns else returns
    expected = used - np.broadcast_to(BASELINES[baseline](used[:rows], valid[:rows]), used.shape)
    np.testing.assert_allclose(advantage[valid], expected[valid], rtol=1e-12, atol=1e-12)
    # V(s) replaces what follows a truncation, and nothing that follows a termination
    bootstrapping = monte_carlo(0.9, "value", bootstrap=True)
    ends = np.array([True, False, False])
    advantage, target = bootstrapping(reward, value, value + 1, done & ends, done, valid)
    tail = np.where(done & ~ends, value + 1, 0.0)
    np.testing.assert_allclose(target[valid], returns_to_go(reward, done, 0.9, tail)[valid])
    np.testing.assert_allclose(advantage[valid], (target - value)[valid])


def test_squared_scores_weigh_the_optimal_baseline():
    rng = np.random.default_rng(1)
    valid = np.arange(4)[:, None] < np.array([4, 2])
    done = np.arange(4)[:, None] == np.array([3, 1])
    reward, squared = np.where(valid, rng.normal(size=(4, 2)), 0), rng.random((4, 2))
    for weighted in (False, True):
        advantage, target = monte_carlo(0.9, "optimal", weighted=weighted)(
            reward, None, None, done, done, valid, squared
        )
        weights = squared * (discount_weights((4, 2), 0.9) ** 2 if weighted else 1.0)
        np.testing.assert_allclose(
            advantage[valid], (target - optimal_baseline(target, valid, weights))[valid]
        )
