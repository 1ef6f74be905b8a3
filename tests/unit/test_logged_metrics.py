"""What is logged of each update: episode returns, diagnostics, and rows without a finished episode."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import policygrad as pg
from policygrad.algorithms.algorithm import ALGORITHMS
from policygrad.metrics import METRICS, check_registered
from policygrad.rollout import EpisodeReturns
from policygrad.types import Rollout
from tests.helpers import Countdown, history_rows

SMALL: dict[str, Any] = {"steps": 1500, "network": pg.Network(hidden=(16,))}
BOTH = pg.Normalization(normalize_observations=True, normalize_rewards=True)


def test_the_history_has_a_row_per_update_up_to_the_budget():
    run = pg.train("CartPole-v1", "reinforce", seed=0, **SMALL)
    steps, returns = run.history["steps"], run.history["return"]
    assert len(steps) == len(returns) == len(run.updates)
    assert (np.diff(steps) > 0).all()
    assert steps[-2] < 1500 <= steps[-1] == run.steps
    # CartPole pays 1 per step, so returns are lengths, and their sum is the number of steps learned from
    assert sum(run.episode_returns) == run.steps
    assert run.ended == "budget"
    assert run.solved_at is None
    assert set(run.history) <= set(METRICS)


@pytest.mark.parametrize("distribution", ["gaussian", "gsde"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_logs_its_diagnostics(algorithm: str, distribution: Any):
    network = pg.Network(hidden=(8,), distribution=distribution)
    history = pg.train(
        "Pendulum-v1", algorithm, steps=4_000, num_envs=4, network=network, progress=False
    ).history
    for name in (
        "entropy", "kl", "largest_ratio", "explained_variance", "value_bias", "value_loss",
        "policy_grad_norm", "value_grad_norm", "clipped_actions", "std",
    ):  # fmt: skip
        assert np.isfinite(history[name]).all(), name
    # the policy moved, the estimate of the KL is never negative, and only PPO clips ratios
    assert (history["kl"] >= 0).all()
    assert history["kl"].max() > 0
    assert ("clip_share" in history) == (algorithm == "ppo")
    assert history["std"][0] == pytest.approx(1, abs=0.1)


def test_returns_use_the_original_reward_and_shaped_returns_are_separate():
    shaping = lambda r, s, s2, te, tr: r * 0 + 7.0  # noqa: E731
    run = pg.train("CartPole-v1", shaping=shaping, seed=0, **SMALL)
    np.testing.assert_allclose(run.history["shaped_return"], 7 * run.history["return"])
    assert sum(run.episode_returns) == run.steps


def test_small_updates_share_a_row_of_the_history():
    run = pg.train("Pendulum-v1", pg.A2C(horizon=2), steps=1_000, num_envs=4, progress=False)
    steps = run.history["steps"]
    # an update has 8 samples; all episodes end at step 200 of their environment, which is logged in the fourth row
    assert steps.tolist() == [256, 512, 768, 800, 1000]
    assert np.isfinite(run.history["policy_grad_norm"]).all()
    assert len(run.episode_returns) == 4


def test_a_row_of_several_updates_holds_their_means():
    once = pg.train("Pendulum-v1", pg.A2C(horizon=64), steps=256, num_envs=4, progress=False)
    thrice = pg.train("Pendulum-v1", pg.A2C(horizon=16), steps=256, num_envs=4, progress=False)
    assert len(once.updates) == len(thrice.updates) == 1
    # the noise of the gradient is measured from two steps
    noise = {"gradient_snr", "noise_scale"}
    assert history_rows(once)[0].keys() - noise == history_rows(thrice)[0].keys() - noise
    assert history_rows(thrice)[0]["entropy"] == pytest.approx(history_rows(once)[0]["entropy"], abs=0.05)


def test_an_update_without_a_finished_episode_logs_no_return_and_no_warning(tmp_path: Path):
    command = [sys.executable, "-m", "policygrad", "train", "Pendulum-v1", "--algo", "ppo", "--steps", "1200"]
    options = ["--horizon", "50", "--num-envs", "4", "--episodes", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert "NaN" not in done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["return"] is None
    assert rows[0]["episodes"] == 0
    assert [row["return"] < 0 for row in rows if row["return"] is not None] == [True]


def test_returns_of_episodes_that_span_rollouts():
    """Returns are in the order of the environments, and sums continue from one rollout to the next."""
    done = np.array([[False, True, True], [False, False, True], [True, False, False]])
    reward = np.arange(9.0).reshape(3, 3)
    empty = np.zeros((3, 3, 1), np.float32)
    parts = {"original_reward": reward, "truncated": np.zeros_like(done), "valid": np.ones_like(done)}
    rollout = Rollout.from_pairs(
        observation=empty, action=done.astype(int), reward=reward, next_observation=empty, terminated=done, **parts
    )  # fmt: skip
    sums = EpisodeReturns(3)
    returns, lengths = sums.of(rollout, reward)
    np.testing.assert_array_equal(returns, [1, 2, 5, 0 + 3 + 6])
    np.testing.assert_array_equal(lengths, [1, 1, 1, 3])
    returns, lengths = sums.of(rollout, reward)
    np.testing.assert_array_equal(returns, [4 + 7 + 1, 8 + 2, 5, 9])
    np.testing.assert_array_equal(lengths, [3, 2, 1, 3])
    with pytest.raises(ValueError, match="expected"):
        EpisodeReturns(2).of(rollout, reward)


@pytest.mark.parametrize("normalization", [None, BOTH], ids=["raw", "normalized"])
@pytest.mark.parametrize("algorithm", ["a2c", "ppo", "actor-critic", "npg"])
def test_steps_in_which_every_environment_only_resets_are_skipped(algorithm: str, normalization: Any):
    ppo = pg.PPO(horizon=1, normalize_advantages="none")
    kinds = {"a2c": pg.A2C(horizon=1), "ppo": ppo, "actor-critic": pg.ActorCritic()}
    chosen = kinds.get(algorithm, pg.NaturalGradient(horizon=1, normalize_advantages=False))
    run = pg.train(
        "Pendulum-v1",
        chosen,
        steps=450,
        num_envs=1,
        backend="gymnasium",
        normalization=normalization,
        progress=False,
    )
    assert run.steps == 450
    assert np.isfinite(run.history["clipped_actions"]).all()


@pytest.mark.parametrize("autoreset", AutoresetMode)
@pytest.mark.parametrize(
    "algorithm", [pg.PPO(horizon=8), pg.A2C(horizon=9), pg.TRPO(horizon=17)], ids=["ppo", "a2c", "trpo"]
)
def test_returns_are_of_whole_episodes_wherever_a_rollout_ends(algorithm: Any, autoreset: Any):
    """Each episode lasts 6 steps and returns 1 + 2 + ... + 6, also if a rollout ends in the middle of it."""
    vector = SyncVectorEnv([lambda: Countdown([6])] * 2, autoreset_mode=autoreset)
    run = pg.train(vector, algorithm, steps=300, progress=False)
    assert set(run.episode_returns) == {21.0}
    lengths = run.history["episode_length"]
    assert set(lengths[np.isfinite(lengths)]) == {6.0}
    assert len(run.episode_returns) >= 300 // 6 - 2 * 2


def test_shaped_returns_are_summed_over_episodes():
    twice = partial(np.multiply, 2.0)

    def shaping(reward: Any, *_: Any) -> Any:
        return twice(reward)

    run = pg.train("CartPole-v1", pg.A2C(horizon=16), steps=2_000, shaping=shaping, progress=False)
    told = np.isfinite(run.history["return"])
    np.testing.assert_allclose(run.history["shaped_return"][told], 2 * run.history["return"][told])


def test_unregistered_metrics_are_refused():
    check_registered(METRICS)
    with pytest.raises(KeyError, match="surprise"):
        check_registered({"return": 1.0, "surprise": 2.0})
