"""What REINFORCE learns from: its returns, its baselines, and how it normalizes what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.types import Inputs, Rollout
from tests.conftest import rollout_of
from tests.unit.test_engines import D, networks, rollout_for


def values(network: nn.Module, observations: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(observations)).numpy().astype(np.float64)


def scores(policy: pg.Policy, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """∇ log π(a|s) of each sample, [B, P], one after another."""
    rows, parameters = [], list(policy.parameters())
    for x, a in zip(torch.from_numpy(observations), actions, strict=True):
        log_prob = policy(Inputs(x[None]))[0, int(a)]
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(log_prob, parameters)]))
    return torch.stack(rows).numpy().astype(np.float64)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_cut_episode_continues_with_the_value_of_what_followed_its_last_step(engine: Any):  # bug 4
    """Which is V(s_{T+1}), and not V(s_T): the rollout's observations there are unlike."""
    policy, value = networks("categorical")
    rollout = rollout_of([[1.0, 2.0], [3.0], [5.0]], truncated=True, D=D)
    # the last episode was not cut but terminated
    over = np.array([False, False, True])
    rollout = replace(rollout, terminated=rollout.truncated & over, truncated=rollout.truncated & ~over)
    at_end = [1, 0, 0], [0, 1, 2]
    before, after = (values(value, x[at_end]) for x in (rollout.observation, rollout.next_observation))
    assert np.abs(before - after).min() > 0.01
    algorithm = pg.Reinforce(gamma=0.9, normalize_advantages=False)
    batch = algorithm.batch(rollout, make_engine(policy, value, "adam", engine))
    expected = np.array([1 + 0.9 * (2 + 0.9 * after[0]), 3 + 0.9 * after[1], 5.0, 2 + 0.9 * after[0]])
    np.testing.assert_allclose(batch.columns["target"], expected, rtol=1e-5)
    now = values(value, rollout.observation[rollout.valid])
    np.testing.assert_allclose(batch.columns["advantage"], expected - now, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_the_optimal_baseline_minimizes_the_variance_of_the_estimator_in_use(engine: Any, weighted: bool):
    """Σ ‖x (G − b)‖² with x = ∇ log π, or γ^t ∇ log π where the estimator has that factor: Greensmith et al. 2004."""
    gamma = 0.8
    policy, _ = networks("categorical")
    rollout = rollout_for(policy, 3)
    algorithm = pg.Reinforce(
        gamma=gamma, baseline="optimal", discount_weighting=weighted, normalize_advantages=False
    )
    batch = algorithm.batch(rollout, make_engine(policy, None, "sgd", engine))
    factor = gamma ** np.nonzero(rollout.valid)[0] if weighted else np.ones(rollout.num_samples)
    x = factor[:, None] * scores(policy, batch.inputs.observation, batch.action)
    returns = batch.columns["target"].astype(np.float64)

    def spread(b: float) -> float:
        return float(np.square(x * (returns - b)[:, None]).sum())

    grid = np.linspace(returns.min(), returns.max(), 20_001)
    best = grid[np.argmin([spread(b) for b in grid])]
    exact = np.linalg.lstsq(x.reshape(-1, 1), (x * returns[:, None]).ravel(), rcond=None)[0][0]
    assert abs(best - exact) <= grid[1] - grid[0]
    # late samples' factors are too small to divide by
    early = np.nonzero(rollout.valid)[0] < 10
    used = returns[early] - batch.columns["advantage"][early] / factor[early]
    np.testing.assert_allclose(used, exact, rtol=1e-4, atol=1e-4)
    # the two are far apart: the other's constant would be found out
    other = x / factor[:, None] if weighted else x * (gamma ** np.nonzero(rollout.valid)[0])[:, None]
    weight = np.square(other).sum(1)
    assert abs(weight @ returns / weight.sum() - exact) > 0.01


BASELINES: tuple[Any, ...] = ("none", "mean", "leave-one-out", "time", "optimal")


def equal_episodes(reward: float, lengths: tuple[int, ...]) -> Rollout:
    return rollout_of([[reward] * length for length in lengths], D=D)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("reward", [0.1, 1e9 + 0.1, -1e-12 / 3])
def test_equal_episodes_teach_nothing(baseline: Any, reward: float):
    """Advantages that are rounding alone must not be scaled up to 1.

    With γ = 0 all returns are the same. Of the mean over three of them rounding is left.
    """
    policy, _ = networks("categorical")
    engine = make_engine(policy, None, "sgd", "fused")
    algorithm = pg.Reinforce(gamma=0.0, baseline=baseline)
    batch = algorithm.batch(equal_episodes(reward, (7, 5, 3)), engine)
    np.testing.assert_array_equal(batch.columns["advantage"], 0)


@pytest.mark.parametrize("length", [3, 50, 500])
def test_a_baseline_of_each_step_that_all_episodes_meet_exactly_leaves_nothing(length: int):
    """As on CartPole once every episode lasts as long as it can: but for rounding G_t is its mean over them."""
    policy, _ = networks("categorical")
    algorithm = pg.Reinforce(gamma=0.99, baseline="time")
    for episodes in (3, 7, 8):
        rollout = equal_episodes(1.0, (length,) * episodes)
        batch = algorithm.batch(rollout, make_engine(policy, None, "sgd", "fused"))
        np.testing.assert_array_equal(batch.columns["advantage"], 0)


def test_the_advantages_of_returns_that_float32_cannot_hold_are_refused():
    policy, _ = networks("categorical")
    engine = make_engine(policy, None, "sgd", "fused")
    algorithm = pg.Reinforce(baseline="none", normalize_advantages=False)
    with pytest.raises(pg.NonFiniteError, match=r"return is not finite, from rewards up to 1e\+200.*float32"):
        algorithm.batch(rollout_of([[1e200, 1.0]], D=D), engine)
