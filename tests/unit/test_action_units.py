"""Actions in units of their box, and observations that are normalized in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad.envs import Kernel
from policygrad.policies.distributions import Units
from policygrad.spaces import interval_units


class Target(gym.Env):
    """Episodes of ten steps that cost the distance of the action from a target, in widths of the box."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, low: float, high: float, target: float) -> None:
        self.action_space = spaces.Box(low, high, (1,), np.float32)
        self.target, self.width, self.t = target, high - low, 0

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return np.ones(1, np.float32), {}

    def step(self, action: np.ndarray):
        self.t += 1
        cost = abs(float(action[0]) - self.target) / self.width
        return np.ones(1, np.float32), -cost, False, self.t == 10, {}


RNG = np.random.default_rng(0)
BOXES = [(50.0, 51.0, 50.8), (0.0, 1000.0, 800.0), (0.0, 1e-3, 8e-4)]
OPTIONS: dict[str, Any] = {"steps": 20_000, "vectorize": "sync", "progress": False}


@pytest.mark.parametrize(("low", "high", "target"), BOXES)
@pytest.mark.parametrize("distribution", ["gaussian", "gsde"])
def test_any_box_of_actions_is_explored(low: float, high: float, target: float, distribution: Any):
    network = pg.Network((8,), distribution=distribution)
    run = pg.train(lambda: Target(low, high, target), pg.Reinforce(), network=network, **OPTIONS)
    action = run.policy.act(np.ones(1, np.float32), greedy=True)
    assert abs(action[0] - target) < 0.1 * (high - low)


def test_without_scaling_a_distant_box_is_not_explored_and_the_run_reports_it(
    capsys: pytest.CaptureFixture[str],
):
    network = pg.Network((8,), scale_actions=False)
    options = OPTIONS | {"progress": True, "steps": 2_000}
    run = pg.train(lambda: Target(50, 51, 50.8), pg.Reinforce(), network=network, **options)
    assert run.history["clipped_actions"][-1] == 1.0
    assert run.policy.act(np.ones(1, np.float32), greedy=True) == 50
    printed = capsys.readouterr().err
    assert "100% of the actions were outside the box" in printed
    assert "scale_actions" in printed


@pytest.mark.parametrize("distribution", ["gaussian", "gsde"])
def test_scaling_does_not_change_a_box_from_minus_1_to_1(distribution: Any):
    """The unit of this box is 1, so that runs with and without scaling are bit-identical."""
    runs = [
        pg.train(
            "MountainCarContinuous-v0",
            pg.Reinforce(),
            steps=2_000,
            network=pg.Network((8,), distribution=distribution, scale_actions=scale),
        )
        for scale in (True, False)
    ]
    for name, history in runs[0].history.items():
        if name != "seconds":
            np.testing.assert_array_equal(history, runs[1].history[name])


def test_intervals_without_finite_bounds_are_not_scaled():
    low, high = np.array([-np.inf, 2.0, -3e38, 5.0]), np.array([np.inf, 6.0, 3e38, np.inf])
    middle, half = interval_units(low, high)
    assert middle.tolist() == [0, 4, 0, 0]
    assert half.tolist() == [1, 2, 1, 1]
    units = Units(low, high, scaled=True)
    np.testing.assert_array_equal(units(np.array([[1.0, 1.0, 1.0, 1.0]])), [[1.0, 6.0, 1.0, 1.0]])
    inside = np.array([[1e9, -1.0, 1e9, 5.0]])
    assert units.share_outside(inside.astype(np.float32)) == 0
    assert units.share_outside(np.array([[0.0, 1.01, 0.0, 4.9]], np.float32)) == 0.5


def _reset(state: Any, rng: Any) -> None:
    state[0] = 0.0


def _step(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    state[0] = action[0]
    return -abs(action[0] - 800.0), False


def _observe(state: Any, observation: Any) -> None:
    observation[0] = state[0] / 1000.0


@pytest.mark.parametrize("scale", [True, False])
def test_compiled_environments_get_the_same_actions(scale: bool):
    """The compiled loop and the policy convert a stored action to exactly the same environment action."""
    kernel = Kernel(
        name="Wide",
        observation_space=spaces.Box(-np.inf, np.inf, (1,), np.float32),
        action_space=spaces.Box(np.float32(0), np.float32(1000), (1,), np.float32),
        state=np.zeros(1),
        max_steps=20,
        reset=_reset,
        step=_step,
        observe=_observe,
    )
    network = pg.Network((8,), scale_actions=scale)
    runs = [
        pg.train(kernel, pg.Reinforce(), steps=400, num_envs=2, network=network, engine=engine, select=False)
        for engine in ("fused", "autograd")
    ]
    np.testing.assert_allclose(runs[0].history["return"], runs[1].history["return"], rtol=1e-5)
    np.testing.assert_array_equal(runs[0].history["clipped_actions"], runs[1].history["clipped_actions"])


def test_policy_files_keep_the_units(tmp_path: Any):
    for scale in (True, False):
        policy = pg.Policy(
            pg.GaussianPolicy(1, 1, 8, rng=RNG),
            spaces.Box(-1, 1, (1,)),
            spaces.Box(0, 1000, (1,)),
            scale_actions=scale,
        )
        pg.save(policy, tmp_path / "policy.safetensors")
        loaded = pg.load(tmp_path / "policy.safetensors")
        assert loaded.scale_actions is scale
        np.testing.assert_array_equal(loaded.act([0.3], greedy=True), policy.act([0.3], greedy=True))
        assert (loaded.act([0.3], greedy=True) > 400).all() == scale


def test_old_policy_files_keep_the_units_of_the_environment():
    """In format 1 all Gaussian policies used the units of the environment."""
    loaded = pg.load(Path(__file__).parent / "data" / "format_1_gaussian.safetensors")
    assert loaded.scale_actions is False
    assert loaded.greedy is False


def test_scale_actions_is_refused_if_it_would_be_ignored():
    with pytest.raises(ValueError, match="scale_actions=False would be ignored"):
        pg.Network(distribution="beta", scale_actions=False)
    with pytest.raises(ValueError, match="scale_actions=False would be ignored"):
        pg.train("CartPole-v1", steps=10, network=pg.Network(scale_actions=False))


def test_normalized_states_far_from_zero_stay_distinct():
    """At 1e8 the spacing of float32 is 8, so the difference has to be computed in float64."""
    space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    policy = pg.Policy(
        pg.DiscretePolicy(1, 2, 8, rng=RNG),
        space,
        spaces.Discrete(2),
        normalization=pg.Normalization(normalize_observations=True),
    )
    states = 1e8 + np.arange(4.0)[:, None]
    assert policy.observation_moments is not None
    policy.observation_moments.add(states)
    policy.refresh_normalizer()
    np.testing.assert_allclose(policy.encode(states)[:, 0], (np.arange(4) - 1.5) / np.sqrt(1.25), rtol=1e-6)


def test_scaled_states_far_from_zero_stay_distinct():
    space = spaces.Box(1e8, 1e8 + 4, (1,), np.float64)
    policy = pg.Policy(
        pg.DiscretePolicy(1, 2, 8, rng=RNG), space, spaces.Discrete(2), scale_observations=True
    )
    np.testing.assert_array_equal(policy.encode(1e8 + np.arange(5.0)[:, None])[:, 0], [-1, -0.5, 0, 0.5, 1])


def test_the_normalizer_stays_in_float64(tmp_path: Any):
    space = spaces.Box(1e8, 1e8 + 4, (1,), np.float64)
    policy = pg.Policy(
        pg.DiscretePolicy(1, 2, 8, rng=RNG), space, spaces.Discrete(2), scale_observations=True
    )
    policy.half().float()
    assert policy.observation_shift.dtype == torch.float64
    assert policy.observation_shift.item() == 1e8 + 2
    pg.save(policy, tmp_path / "policy.safetensors")
    assert pg.load(tmp_path / "policy.safetensors").observation_shift.item() == 1e8 + 2
