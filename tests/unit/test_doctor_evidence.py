"""The numbers that findings rest on: returns before and after, their spread, and what can be predicted."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import policygrad as pg
from policygrad.doctor import Evidence, probe
from policygrad.doctor.predictability import predicted_shares
from policygrad.doctor.probing import history_helps
from tests.helpers.ailing import Recall, constant, corridor, cut_short, matching, trained


def history(returns: Any, episodes_per_update: int = 10, **more: Any) -> dict[str, Any]:
    returns = np.asarray(returns, float)
    episodes = episodes_per_update * (1.0 + np.arange(len(returns)))
    # the running mean lags by a window
    recent = np.convolve(returns, np.ones(10) / 10)[: len(returns)]
    return {"steps": 100 * episodes, "episodes": episodes, "return": returns, "return_100": recent, **more}


def test_the_spread_of_returns_is_estimated_from_the_means_of_updates():
    variances = list[float]()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        # means of 10 returns each, whose standard deviation is 3, on top of a trend
        means = 3 / np.sqrt(10) * rng.standard_normal(4000) + np.linspace(0, 50, 4000)
        evidence = Evidence(history(means))
        variances.append(evidence.spread**2)
        assert evidence.first_return == pytest.approx(0, abs=1.5)
        assert evidence.last_return == pytest.approx(50, abs=1.5)
        rise = evidence.last_return - evidence.first_return
        assert evidence.improvement == pytest.approx(rise / evidence.spread)
    # each estimate is from about 20 differences, so its variance has a standard error of about 40 %
    assert np.mean(variances) == pytest.approx(9, rel=3 * 0.4 / np.sqrt(30))


def test_the_deviation_of_targets_follows_from_the_metrics_of_v():
    rng = np.random.default_rng(0)
    target = rng.normal(7, 2, 1000)
    value = 0.5 * target + 10
    error = value - target
    metrics = {
        "value_loss": 0.5 * np.mean(error**2),
        "value_bias": error.mean(),
        "explained_variance": 1 - np.var(error) / np.var(target),
    }
    rows = {name: np.full(4, number) for name, number in metrics.items()}
    assert Evidence(history(np.zeros(4), **rows)).deviation_of_targets == pytest.approx(target.std())


RISE = np.concatenate([np.zeros(50), np.linspace(0, 100, 50), np.full(50, 100.0)])
NOISE = np.random.default_rng(1).standard_normal(150)


@pytest.mark.parametrize(
    ("returns", "threshold", "expected"),
    [
        (NOISE, None, {"learned": False, "lost": False, "fruitless": True}),
        (RISE + NOISE, None, {"learned": True, "lost": False, "fruitless": False}),
        (RISE + NOISE, 90.0, {"learned": True, "reached": True}),
        # nine tenths of the way count as learned
        (RISE + NOISE, 108.0, {"learned": True, "reached": False}),
        (RISE + NOISE, 150.0, {"learned": False, "reached": False, "fruitless": False}),
        (np.append(RISE, RISE[::-1]) + np.append(NOISE, NOISE), None, {"learned": False, "lost": True}),
        (np.append(RISE, RISE[::-1]) + np.append(NOISE, NOISE), 90.0, {"learned": False, "lost": True}),
    ],
)
def test_a_run_has_learned_if_its_returns_rose_and_stayed(
    returns: Any, threshold: float | None, expected: dict[str, bool]
):
    evidence = Evidence(history(returns), threshold=threshold)
    assert {name: getattr(evidence, name) for name in expected} == expected


def test_a_rise_between_a_few_means_of_many_episodes_may_be_progress():
    means = np.linspace(-300, 1100, 4)
    assert not Evidence(history(means, episodes_per_update=64)).fruitless
    assert Evidence(history(means[::-1], episodes_per_update=64)).fruitless


def test_a_setting_is_found_in_each_part_of_the_configuration():
    config = {"num_envs": 8, "algorithm": {"gamma": 0.9, "clip": None}, "network": {"log_std": -1.0}}
    evidence = Evidence({}, config)
    names = ("num_envs", "gamma", "log_std", "clip")
    assert [evidence.setting(name, "unset") for name in names] == [8, 0.9, -1.0, "unset"]


def test_predictions_are_as_good_as_the_function_is_smooth():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (1000, 2))
    targets = np.column_stack([np.sin(2 * x[:, 0]) * x[:, 1], rng.standard_normal(1000)])
    smooth, noise = predicted_shares(x, targets, np.arange(1000) < 500, rng)
    assert smooth > 0.95
    assert noise < 0.05


def probed(env: Any, **options: Any) -> Any:
    run = trained(env, steps=300, **options)
    environments = pg.make(env, 10, **options)
    try:
        return probe(run.last_policy, environments, seed=3)
    finally:
        environments.close()


@pytest.mark.parametrize(
    "env", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "SlipperyGrid-v0"]
)
def test_history_does_not_help_in_a_markov_decision_process(env: str):
    seen = probed(env)
    assert seen.memory is None
    for seed in range(2):
        assert history_helps(seen.by_chance, np.random.default_rng(seed)) is None


def test_history_helps_where_the_reward_depends_on_it():
    found = probed(Recall, vectorize="sync").memory
    assert found is not None
    assert found.what == "the reward"
    assert found.without < 0.5 < 0.8 < found.with_history


def test_the_same_seed_plays_the_same_episodes():
    once, again = probed("CartPole-v1"), probed("CartPole-v1")
    for name in ("by_chance", "sampled", "greedy"):
        for one, other in zip(getattr(once, name), getattr(again, name), strict=True):
            np.testing.assert_array_equal(one.observations, other.observations)
            np.testing.assert_array_equal(one.actions, other.actions)
    assert (once.memory, once.predictable_returns, once.time) == (
        again.memory, again.predictable_returns, again.time,
    )  # fmt: skip


def test_a_played_episode_has_its_last_observation_and_its_ending():
    seen = probed(corridor(3, 50))
    for episode in seen.all_played:
        assert len(episode.observations) == len(episode) + 1
        # the goal is state 3, and its reward comes with the last step
        assert episode.ending == "terminated"
        assert episode.observations[-1].argmax() == 3
        assert episode.rewards.sum() == episode.rewards[-1] == 1
    assert {episode.ending for episode in probed(matching()).all_played} == {"truncated"}


def test_playing_leaves_the_policy_as_it_was():
    run = trained("CartPole-v1", steps=300)
    before, greedy = run.last_policy.snapshot(), run.last_policy.greedy
    assert pg.diagnose(run, "CartPole-v1") == pg.diagnose(run, "CartPole-v1")
    after = run.last_policy.snapshot()
    np.testing.assert_array_equal(before.parameters, after.parameters)
    assert run.last_policy.greedy == greedy


def test_rewards_and_time_of_simple_environments():
    assert probed(constant()).rare_rewards == 0
    assert probed(corridor(3, 50)).rare_rewards > 0
    # the observation of the second says nothing about the time
    assert probed(cut_short()).time < 0.5


class Clock(gym.Env[Any, Any]):
    """It is terminated after 20 steps, which the observation counts."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        self._steps += 1
        noise = float(self.np_random.normal())
        return np.full(1, self._steps / 20, np.float32), noise, self._steps >= 20, False, {}


def test_an_observed_time_limit_may_terminate():
    run = trained(Clock, steps=5_000, vectorize="sync", stop_at=100)
    assert "time limit reported as termination" not in [f.name for f in pg.diagnose(run, Clock)]
