"""Running statistics of observations and rewards: what enters them, when they take effect, and where they are saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad.algorithms.diagnostics import value_metrics
from policygrad.envs import make
from policygrad.policies.normalization import Moments, RewardScale
from policygrad.rollout import HostCollector, RewardScaling
from policygrad.types import Array
from tests.helpers import Countdown, rollout_of

BOTH = pg.Normalization(normalize_observations=True, normalize_rewards=True)
BOX = spaces.Box(-np.inf, np.inf, (3,))


def policy_for(space: Any = BOX, normalization: pg.Normalization = BOTH) -> pg.Policy:
    D = int(np.prod(space.shape))
    network = pg.DiscretePolicy(D, 2, 8, rng=np.random.default_rng(0))
    return pg.Policy(network, space, spaces.Discrete(2), normalization=normalization)


def test_moments_of_parts_combine_to_those_of_the_whole():
    x = np.random.default_rng(0).standard_normal((1000, 3)) * [1, 10, 0.1] + [0, 1e4, 5]
    moments = Moments(3)
    for part in np.split(x, [1, 2, 400, 400]):
        moments.add(part)
    assert float(moments.count) == 1000
    np.testing.assert_allclose(moments.mean.numpy(), x.mean(0))
    np.testing.assert_allclose(moments.variance(), x.var(0), rtol=1e-9)


@pytest.mark.parametrize("numbers", [[-1e200, 1e200], [1e308, 1e308], [0.0, np.nan]], ids=str)
def test_numbers_whose_variance_is_not_finite_are_refused(numbers: list[float]):
    moments = Moments(1)
    moments.add(np.array([[1.0], [3.0]]))
    with pytest.raises(pg.NonFiniteError, match=r"running variance is not finite.*Scale observations"):
        moments.add(np.array(numbers)[:, None])
    # the statistics are unchanged, and large numbers with a finite variance are still accepted
    assert (float(moments.count), moments.mean.item(), moments.variance().item()) == (2, 2, 1)
    moments.add(np.array([[-1e150], [1e150]]))
    np.testing.assert_allclose(moments.variance(), 5e299)


def test_rewards_too_large_to_be_scaled_are_refused():
    policy = policy_for(normalization=pg.Normalization(normalize_rewards=True))
    with pytest.raises(pg.NonFiniteError, match=r"has magnitude 1e\+200.*normalize_rewards"):
        RewardScaling(policy, 0.9)(rollout_of([[1e200, -1e200]], observation_size=3))


def test_observations_are_normalized_by_the_statistics_before_the_update():
    policy = policy_for()
    x = (np.random.default_rng(1).standard_normal((500, 3)) * 4 + 7).astype(np.float32)
    assert policy.observation_moments is not None
    policy.observation_moments.add(x)
    np.testing.assert_array_equal(
        policy.encode(x[:5]), np.clip(x[:5], -10, 10)
    )  # new statistics take effect after the update
    policy.refresh_normalizer()
    seen = policy.encode(x)
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std(0), 1, atol=1e-5)
    np.testing.assert_array_equal(policy.encode(np.full((1, 3), 1e6)), np.full((1, 3), 10))
    assert np.isnan(policy.encode(np.full((1, 3), np.nan))).all()


def test_constant_observations_stay_finite():
    policy = policy_for()
    assert policy.observation_moments is not None
    policy.observation_moments.add(np.ones((50, 3)))
    policy.refresh_normalizer()
    np.testing.assert_array_equal(policy.encode(np.ones((1, 3))), 0)
    assert np.abs(policy.encode(np.full((1, 3), 2.0))).max() == 10


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
def test_the_running_return_restarts_after_every_end(ending: str):
    """Otherwise the returns by whose deviation rewards are divided would grow across episodes."""
    reward = np.array([[1.0], [1.0], [1.0], [1.0]])
    done = np.array([[False], [True], [False], [False]])
    scale, so_far = RewardScale(), np.zeros(1)
    scale.add(reward, done, np.ones((4, 1), bool), 0.5, so_far)
    expected = [1.0, 1.5, 1.0, 1.5]
    np.testing.assert_allclose(scale.moments.variance(), np.var(expected))
    assert so_far == 1.5
    # the next rollout continues from here, and the return is reset at either kind of end
    rollout = rollout_of([[1.0, 1.0]], truncated=ending == "truncated")
    assert rollout.done[-1, 0]
    scale.add(rollout.reward, rollout.done, rollout.valid, 0.5, so_far)
    assert so_far == 0.0


def test_rewards_are_divided_by_the_deviation_of_returns_and_clipped():
    policy = policy_for(normalization=pg.Normalization(normalize_rewards=True, clip_rewards=0.5))
    rollout = rollout_of([[10.0, -10.0, 3.0], [1.0]], observation_size=3)
    scaled = RewardScaling(policy, 0.9)(rollout)
    assert policy.reward_scale is not None
    deviation = np.std([10.0, -1.0, 2.1, 1.0])  # R_t of both episodes
    np.testing.assert_allclose(policy.reward_scale.deviation(), deviation)
    np.testing.assert_allclose(scaled.reward[0], np.clip(np.array([10.0, 1.0]) / deviation, -0.5, 0.5))
    np.testing.assert_array_equal(scaled.original_reward, rollout.original_reward)


class CountdownOfThree(Countdown):
    def __init__(self) -> None:
        super().__init__([3, 2])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_rows_that_only_reset_are_not_in_the_statistics(mode: AutoresetMode):
    """Reset rows of NEXT_STEP autoreset are not steps, so their observations must not be counted."""
    vector = SyncVectorEnv([CountdownOfThree], autoreset_mode=mode)
    environments = make(vector)
    policy = policy_for(environments.observation_space)
    seen: list[Array] = []
    collector = HostCollector(
        environments, policy, lambda inputs, noise: np.zeros(len(inputs), np.int64),
        seeds=EpisodeSeeds(stream(0, "env")), action_rng=stream(0, "action"), watch=seen.append,
    )  # fmt: skip
    rollout = collector.steps(9)
    acted_on = rollout.observation[rollout.valid]
    np.testing.assert_array_equal(np.concatenate(seen), acted_on)
    assert acted_on[:, 1].max() == 2  # no action is taken in the last state of an episode


def trained(env: str, engine: Any, **settings: Any) -> pg.Run:
    algorithm = pg.PPO(horizon=50, epochs=2)
    return pg.train(env, algorithm, steps=800, num_envs=4, engine=engine, progress=False, **settings)


@pytest.mark.parametrize("env", ["CartPole-v1", "MountainCarContinuous-v0"])
def test_both_collectors_keep_the_same_statistics(env: str):
    compiled = trained(env, "fused", normalization=BOTH)
    host = trained(env, "fused", normalization=BOTH, backend="gymnasium")
    if env == "MountainCarContinuous-v0":  # the streams of resets differ, but the count is the same
        assert float(compiled.last_policy.observation_moments.count) == 800  # pyright: ignore
    for run in (compiled, host):
        policy = run.last_policy
        assert policy.observation_moments is not None
        deviation = 1 / policy.observation_scale.numpy()
        np.testing.assert_allclose(deviation**2, policy.observation_moments.variance(), rtol=1e-3, atol=1e-7)
        assert float(policy.observation_moments.count) == run.steps


def test_statistics_are_saved_in_the_policy_file(tmp_path: Path):
    run = trained("CartPole-v1", "fused", normalization=BOTH)
    pg.save(run.policy, tmp_path / "policy.safetensors")
    loaded = pg.load(tmp_path / "policy.safetensors")
    assert loaded.normalization == BOTH
    ours, theirs = run.policy.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert "observation_moments.count" in ours
    assert "reward_scale.moments.mean" in ours
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    x = np.random.default_rng(0).standard_normal((20, 4)) * 100
    np.testing.assert_array_equal(loaded.encode(x), run.policy.encode(x))
    assert np.abs(loaded.encode(x)).max() <= 10


def test_a_snapshot_includes_the_normalizer():
    policy = policy_for()
    assert policy.observation_moments is not None
    before = policy.snapshot()
    policy.observation_moments.add(np.random.default_rng(0).standard_normal((50, 3)))
    policy.refresh_normalizer()
    x = np.full((1, 3), 2.0, np.float32)
    assert (policy.encode(x) != x).all()
    policy.restore(before)
    np.testing.assert_array_equal(policy.encode(x), x)
    assert (
        float(policy.observation_moments.count) == 0
    )  # otherwise the normalizer would jump at the next update


def test_an_infinite_observation_is_refused_and_not_clipped():
    policy = policy_for()
    with pytest.raises(pg.NonFiniteError, match="NaN or an infinity"):
        policy.act(np.array([1.0, np.inf, 0.0]))


def test_evaluation_does_not_change_the_statistics():
    run = trained("CartPole-v1", "fused", normalization=BOTH)
    before = {name: tensor.clone() for name, tensor in run.policy.state_dict().items()}
    pg.evaluate(run.policy, "CartPole-v1", 4)
    pg.evaluate(run.policy, lambda: gym.make("CartPole-v1"), 4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.policy.state_dict().items())


def test_invalid_settings_say_what_to_do():
    with pytest.raises(ValueError, match="clip_observations must be positive and finite"):
        pg.Normalization(clip_observations=0.0)
    with pytest.raises(ValueError, match="normalize_observations needs unscaled observations"):
        pg.Policy(
            pg.DiscretePolicy(3, 2, rng=np.random.default_rng(0)),
            spaces.Discrete(3),
            spaces.Discrete(2),
            normalization=BOTH,
        )
    network = replace(pg.Network(), scale_observations=True)
    with pytest.raises(ValueError, match="Leave out scale_observations"):
        pg.train("CartPole-v1", pg.PPO(), steps=100, network=network, normalization=BOTH, progress=False)
    policy = policy_for(gym.spec("CartPole-v1").make().observation_space, pg.Normalization())
    with pytest.raises(ValueError, match="Leave the latter out"):
        pg.train("CartPole-v1", pg.PPO(), steps=100, policy=policy, normalization=BOTH, progress=False)


def test_both_ways_to_combine_moments_agree():
    """`Moments.add` (of vectors) and `value_metrics` (compiled) both use Chan et al. 1983, eq. 2.1."""
    rng = np.random.default_rng(0)
    value, target = rng.normal(3, 2, (2, 50)).astype(np.float32)
    moments, kept = Moments(2), np.zeros((2, 3))
    for rows in (slice(0, 7), slice(7, 8), slice(8, 50)):
        both = np.stack([target[rows].astype(np.float64) - value[rows], target[rows]], axis=1)
        moments.add(both)
        value_metrics(value[rows], target[rows], kept, remembered=np.inf)
        assert kept[:, 0].tolist() == [float(moments.count)] * 2
        np.testing.assert_allclose(kept[:, 1], moments.mean.numpy(), rtol=1e-12)
        np.testing.assert_allclose(kept[:, 2], moments.squares.numpy(), rtol=1e-12, atol=1e-12)
