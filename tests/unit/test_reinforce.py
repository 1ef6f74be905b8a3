"""REINFORCE: its returns, its baselines, normalization of its advantages, and its settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds
from policygrad.algorithms import Reinforce
from policygrad.engines import make_engine
from policygrad.interfaces import Step, Update
from policygrad.types import Inputs, Rollout
from tests.helpers import (
    Countdown,
    D,
    act_with,
    episodes_for,
    learner_state,
    networks,
    parameters,
    rollout_of,
)


def values(network: nn.Module, observations: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(observations)).numpy().astype(np.float64)


def scores(policy: pg.Policy, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return ∇ log π(a|s) of each sample, [B, P]."""
    rows, parameters = [], list(policy.parameters())
    for x, a in zip(torch.from_numpy(observations), actions, strict=True):
        log_prob = policy(Inputs(x[None]))[0, int(a)]
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(log_prob, parameters)]))
    return torch.stack(rows).numpy().astype(np.float64)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_truncated_episode_bootstraps_from_its_final_observation(engine: Any):
    """A truncation bootstraps from the value of the final observation, not from that of the last state acted on."""
    policy, value = networks("categorical")
    rollout = rollout_of([[1.0, 2.0], [3.0], [5.0]], truncated=True, observation_size=D)
    # the last episode terminates instead
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
def test_the_optimal_baseline_minimizes_the_variance_of_the_chosen_estimator(engine: Any, weighted: bool):
    """It minimizes Σ ‖x (G − b)‖² (Greensmith et al. 2004), where x is ∇ log π, or γ^t ∇ log π with that weighting."""
    gamma = 0.8
    policy, _ = networks("categorical")
    rollout = episodes_for(policy, 3)
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
    # the factors of late samples are too small to divide by
    early = np.nonzero(rollout.valid)[0] < 10
    used = returns[early] - batch.columns["advantage"][early] / factor[early]
    np.testing.assert_allclose(used, exact, rtol=1e-4, atol=1e-4)
    # the baseline of the other estimator is far from this one, so the test can tell them apart
    other = x / factor[:, None] if weighted else x * (gamma ** np.nonzero(rollout.valid)[0])[:, None]
    weight = np.square(other).sum(1)
    assert abs(weight @ returns / weight.sum() - exact) > 0.01


BASELINES: tuple[Any, ...] = ("none", "mean", "leave-one-out", "time", "optimal")


def equal_episodes(reward: float, lengths: tuple[int, ...]) -> Rollout:
    return rollout_of([[reward] * length for length in lengths], observation_size=D)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("reward", [0.1, 1e9 + 0.1, -1e-12 / 3])
def test_equal_episodes_have_advantages_of_0(baseline: Any, reward: float):
    """Advantages that are only rounding errors must not be scaled up to 1.

    With γ = 0 all returns are equal, and subtracting the mean of three leaves a rounding error.
    """
    policy, _ = networks("categorical")
    engine = make_engine(policy, None, "sgd", "fused")
    algorithm = pg.Reinforce(gamma=0.0, baseline=baseline)
    batch = algorithm.batch(equal_episodes(reward, (7, 5, 3)), engine)
    np.testing.assert_array_equal(batch.columns["advantage"], 0)


@pytest.mark.parametrize("length", [3, 50, 500])
def test_a_time_baseline_that_all_episodes_equal_leaves_advantages_of_0(length: int):
    """On CartPole, once every episode lasts to the limit, G_t equals its mean over episodes except for rounding."""
    policy, _ = networks("categorical")
    algorithm = pg.Reinforce(gamma=0.99, baseline="time")
    for episodes in (3, 7, 8):
        rollout = equal_episodes(1.0, (length,) * episodes)
        batch = algorithm.batch(rollout, make_engine(policy, None, "sgd", "fused"))
        np.testing.assert_array_equal(batch.columns["advantage"], 0)


def test_returns_that_float32_cannot_hold_are_refused():
    policy, _ = networks("categorical")
    engine = make_engine(policy, None, "sgd", "fused")
    algorithm = pg.Reinforce(baseline="none", normalize_advantages=False)
    with pytest.raises(pg.NonFiniteError, match=r"return is not finite, from rewards up to 1e\+200.*float32"):
        algorithm.batch(rollout_of([[1e200, 1.0]], observation_size=D), engine)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_advantages_come_from_the_value_network_before_its_steps(engine: Any):
    """V(s) comes from the first value step, bit-identical to evaluating it before. Some episodes are truncated."""
    algorithm = Reinforce(gamma=0.9, value_steps=3, learning_rate=0.01, value_learning_rate=0.02)
    engines = []
    for _ in range(2):
        policy, value = networks("categorical")
        engines.append(make_engine(policy, value, "adam", engine))
    whole = episodes_for(engines[0].policy, seed=0)
    truncated = whole.terminated.copy()
    truncated[:, 3:] = False
    rollout = replace(whole, terminated=whole.terminated & ~truncated, truncated=truncated)
    algorithm.learn(engines[0], rollout, learner_state())
    batch = algorithm.batch(rollout, engines[1])
    coefficients = algorithm.loss_coefficients(len(batch), rollout.valid.shape[1], 0.0)
    policy_step = algorithm.traced_loss, Step(0.01, None, algorithm.max_grad_norm)
    value_step = algorithm.value_loss, Step(None, 0.02, algorithm.max_grad_norm)
    for loss, step in policy_step, value_step, value_step, value_step:
        engines[1].update(Update(batch, loss, coefficients, step))
    np.testing.assert_array_equal(parameters(engines[0]), parameters(engines[1]))


def test_schedules_are_linear_in_progress():
    algorithm = Reinforce(entropy_coef=1.0, entropy_coef_end=0.0)
    scheduled = [
        algorithm.loss_coefficients(10, 2, progress)["entropy_coef"] for progress in (0.0, 0.25, 1.0, 2.0)
    ]
    np.testing.assert_allclose(scheduled, [1.0, 0.75, 0.0, 0.0], atol=1e-7)


def test_discount_weighting_of_discounted_episode_returns_is_refused():
    with pytest.raises(ValueError, match="is discounted already"):
        Reinforce(returns="episode", discount_weighting=True)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("gamma", 1.5, r"gamma must be in \[0, 1\]"),
        ("baseline", "media", "baseline must be one of"),
        ("returns", "all", "returns must be one of"),
        ("learning_rate", -1.0, "learning_rate must be positive"),
        ("learning_rate", float("nan"), "learning_rate must be positive"),
        ("learning_rate", None, "learning_rate must be positive"),
        ("learning_rate_end", -1.0, "learning_rate_end must be 0 or more"),
        ("entropy_coef", float("nan"), "entropy_coef must be 0 or more"),
        ("max_grad_norm", 0.0, "max_grad_norm must be positive"),
        ("value_steps", 0, "value_steps must be 1 or more"),
        ("value_steps", True, "value_steps must be 1 or more, a whole number; got True"),
        ("learning_rate", "fast", "learning_rate must be positive and finite; got 'fast'"),
        ("learning_rate", 10**400, "learning_rate must be positive and finite"),
        ("normalize_advantages", "no", "normalize_advantages must be True or False; got 'no'"),
    ],
)
def test_invalid_settings_are_named(field: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        Reinforce(**{field: value})


def test_bootstrapping_uses_the_value_of_the_last_state_only_after_a_truncation():
    """A termination must not see a value, and a truncation must not see that of the reset state."""

    class Constant(nn.Module):
        """V = 100 everywhere except at the first step of an episode, where a reset leads."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x[:, 1] == 0, -1000.0, 100.0)

    from policygrad.engines.autograd import AutogradEngine
    from policygrad.envs import make
    from policygrad.rollout import HostCollector

    class Fixed(AutogradEngine):
        def values(self, inputs: Inputs) -> Any:
            return Constant()(torch.from_numpy(inputs.observation)).numpy()

    for truncate, expected in ((True, [1 + 0.5 * (2 + 0.5 * 100), 2 + 0.5 * 100]), (False, [2.0, 2.0])):
        environments = make(lambda t=truncate: Countdown([2], truncate=t), 3)
        rng = np.random.default_rng(0)
        network = pg.DiscretePolicy(2, 2, 4, rng=rng)
        policy = pg.Policy(network, environments.observation_space, environments.action_space)
        engine = Fixed(policy, pg.ValueNetwork(2, 4, rng=rng), "adam")
        seeds = EpisodeSeeds(rng)
        rollout = HostCollector(
            environments, policy, act_with(policy), seeds=seeds, action_rng=rng
        ).episodes()
        batch = pg.Reinforce(gamma=0.5).batch(rollout, engine)
        np.testing.assert_allclose(batch.columns["target"].reshape(2, 3)[:, 0], expected)
        without = pg.Reinforce(gamma=0.5, bootstrap_truncated=False).batch(rollout, engine)
        np.testing.assert_allclose(without.columns["target"].reshape(2, 3)[:, 0], [2.0, 2.0])
