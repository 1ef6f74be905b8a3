"""A custom distribution runs in the autograd engine, and has to be passed when its policy file is loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.policies.distributions import BOXED, Gaussian, Units
from policygrad.types import Batch, Inputs


class Laplace(pg.Distribution):
    """Independent Laplace distributions, from (location, scale), clipped to the box."""

    name = "laplace"

    def __init__(self, size: int) -> None:
        self.stored_shape = (size,)

    def parameters_of(self, network: nn.Module, inputs: Inputs) -> Any:
        location, scale = network(inputs.observation)
        return location, scale.expand(location.shape)

    def draw_noise(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random((n, *self.stored_shape)) - 0.5

    def sample(self, parameters: Any, noise: Tensor) -> Tensor:
        noise = noise.to(parameters[0].dtype)
        return parameters[0] - parameters[1] * noise.sign() * torch.log1p(-2 * noise.abs())

    def mode(self, parameters: Any) -> Tensor:
        return parameters[0]

    def log_prob(self, parameters: Any, action: Tensor) -> Tensor:
        location, scale = parameters
        return (-(action - location).abs() / scale - (2 * scale).log()).sum(-1)

    def entropy(self, parameters: Any) -> Tensor:
        return (1 + (2 * parameters[1]).log()).sum(-1)

    def metrics(self, network: nn.Module, action: np.ndarray) -> dict[str, float]:
        return {"std": float(network.log_std.detach().exp().mean()) * math.sqrt(2)}  # type: ignore[union-attr]


def laplace_policy(environment: gym.Env | None = None) -> pg.Policy:
    environment = environment or gym.make("Pendulum-v1")
    network = pg.GaussianPolicy(3, 1, (32,), rng=np.random.default_rng(0))
    spaces = environment.observation_space, environment.action_space
    return pg.Policy(network, *spaces, distribution=Laplace(1))  # type: ignore[arg-type]


def test_the_fused_engine_says_why_it_cannot_run_it():
    with pytest.raises(ValueError, match="the distribution Laplace is your own"):
        make_engine(laplace_policy(), None, "adam", "fused")
    messages: list[str] = []
    assert make_engine(laplace_policy(), None, "adam", "auto", messages.append).name == "autograd"
    assert "the distribution Laplace is your own" in messages[0]


def test_a_subclass_of_a_built_in_distribution_runs_in_autograd():
    class Wider(Gaussian):
        def entropy(self, parameters: Any) -> Tensor:
            return 2 * super().entropy(parameters)

    environment = gym.make("Pendulum-v1")
    low, high = environment.action_space.low.astype(float), environment.action_space.high.astype(float)  # type: ignore
    network = pg.GaussianPolicy(3, 1, (8,), rng=np.random.default_rng(0))
    wider = Wider(Units(low, high, scaled=True))
    policy = pg.Policy(network, environment.observation_space, environment.action_space, distribution=wider)  # type: ignore
    assert make_engine(policy, None, "adam", "auto").name == "autograd"


def test_log_prob_and_entropy_are_differentiated():
    policy = laplace_policy()
    engine = make_engine(policy, None, "sgd", "autograd")
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    inputs = Inputs(x)
    action = engine.act(inputs, policy.draw_noise(np.random.default_rng(1), 50))
    log_prob, entropy = engine.evaluate(inputs, action)
    mean, std = policy.network(torch.from_numpy(x))
    expected = torch.distributions.Laplace(mean, std)
    assert log_prob == pytest.approx(
        expected.log_prob(torch.from_numpy(action)).sum(-1).detach().numpy(), abs=1e-5
    )
    assert entropy == pytest.approx(expected.entropy().sum(-1).detach().numpy(), abs=1e-5)
    loss = pg.Reinforce(entropy_coef=0.1).traced_loss
    batch = Batch(inputs, action, {"advantage": np.ones(50, np.float32)})
    found, _ = engine.gradient(batch, loss, {"policy_scale": 1.0, "entropy_coef": 0.1})
    total = -(expected.log_prob(torch.from_numpy(action)).sum(-1) + 0.1 * expected.entropy().sum(-1)).mean()
    slopes = torch.autograd.grad(total, list(policy.parameters()))
    assert found == pytest.approx(torch.cat([s.reshape(-1) for s in slopes]).numpy(), rel=1e-4, abs=1e-6)


def test_it_is_trained_saved_and_loaded(tmp_path: Path):
    options: dict[str, Any] = {"policy": laplace_policy(), "steps": 600, "out": tmp_path / "run"}
    run = pg.train("Pendulum-v1", pg.PPO(horizon=32, epochs=2), **options)
    assert run.engine == "autograd"
    assert run.updates.latest["std"] > 0
    with pytest.raises(pg.PolicyFileError, match=r"'laplace', which this library cannot create: pass it"):
        pg.load(tmp_path / "run")
    policy = pg.load(tmp_path / "run", distribution=Laplace(1))
    x = np.array([1.0, 0.0, 0.5], np.float32)
    np.testing.assert_array_equal(policy.act(x, greedy=True), run.policy.act(x, greedy=True))


def test_trust_regions_need_a_kl():
    with pytest.raises(TypeError, match=r"'laplace' has no kl\(old, new\)"):
        pg.train("Pendulum-v1", "trpo", policy=laplace_policy(), steps=200)


@pytest.mark.parametrize("name", BOXED)
def test_settings_of_other_distributions_are_refused(name: str):
    """Each setting that is for some distributions is refused with the others."""
    others = {"sde_period": 8, "state_dependent_std": True, "scale_actions": False}
    for setting, value in others.items():
        if setting in BOXED[name].network_settings:
            pg.Network(distribution=name, **{setting: value})  # type: ignore[arg-type]
        else:
            with pytest.raises(
                ValueError,
                match=f"{setting}={value!r} would be ignored: it only has an effect with distribution=",
            ):
                pg.Network(distribution=name, **{setting: value})  # type: ignore[arg-type]


class Still(Gaussian):
    """A subclass with the name of its base that acts differently."""

    def sample(self, parameters: Any, noise: Tensor) -> Tensor:
        return super().sample(parameters, 0 * noise)


def still_policy() -> pg.Policy:
    environment = gym.make("Pendulum-v1")
    box: Any = environment.action_space
    units = Units(box.low.astype(float), box.high.astype(float), scaled=True)
    network = pg.GaussianPolicy(3, 1, (8,), rng=np.random.default_rng(0))
    return pg.Policy(network, environment.observation_space, box, distribution=Still(units))  # type: ignore[arg-type]


def test_a_policy_file_never_confuses_distributions(tmp_path: Path):
    policy, file = still_policy(), tmp_path / "still.safetensors"
    pg.save(policy, file)
    with pytest.raises(pg.PolicyFileError, match="pass it, load"):
        pg.load(file)
    with pytest.raises(pg.PolicyFileError, match="custom distribution 'gaussian'; 'laplace' was given"):
        pg.load(file, distribution=Laplace(1))
    loaded = pg.load(file, distribution=still_policy().distribution)
    x = np.ones(3, np.float32)
    assert loaded.act(x, greedy=False) == policy.act(x, greedy=True)
    usual = pg.train("Pendulum-v1", "a2c", steps=50, select=False).policy
    pg.save(usual, file)
    with pytest.raises(
        pg.PolicyFileError,
        match="built-in distribution 'gaussian'; 'laplace' was given: leave distribution out",
    ):
        pg.load(file, distribution=Laplace(1))


def test_a_function_can_create_the_policy_of_each_seed():
    options: dict[str, Any] = {"policy": laplace_policy, "steps": 100, "num_envs": 2, "select": False}
    runs = pg.train("Pendulum-v1", pg.A2C(), seeds=2, **options)
    assert [type(run.policy.distribution) for run in runs] == [Laplace, Laplace]
