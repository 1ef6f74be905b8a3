"""Acting and evaluating use evaluation mode, and only gradients use the mode of the module."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds
from policygrad.engines import make_engine
from policygrad.envs import make
from policygrad.interfaces import Engine, Step, Update
from policygrad.policies import MLP, Policy
from policygrad.rollout import HostCollector
from policygrad.types import Batch, Inputs
from tests.helpers import FULL_LOSS, act_with, full_coefficients, history_rows, learner_state

SEEN = spaces.Box(-1, 1, (4,))
ACTIONS: dict[str, Any] = {"choices": spaces.Discrete(3), "box": spaces.Box(-1, 1, (2,))}
B = 40


def linear(fan_in: int, fan_out: int, seed: int) -> nn.Linear:
    """Return a linear layer that is initialized without torch's global generator."""
    return MLP((fan_in, fan_out), rng=np.random.default_rng(seed))[0]  # type: ignore[return-value]


class Moody(nn.Module):
    """A custom network that depends on its mode, and records the mode of each forward pass."""

    def __init__(self, outputs: int, layer: nn.Module, *, two: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(linear(4, 16, 0), layer, nn.Tanh(), linear(16, outputs, 1))
        self.two = two
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Any:
        self.seen.append(self.layers[1].training)
        outputs = self.layers(x)
        if self.two:
            mean, raw = outputs.chunk(2, -1)
            return mean, raw.exp()
        return outputs


def layer_of(kind: str) -> nn.Module:
    if kind == "dropout":
        return nn.Dropout(0.5)
    norm = nn.BatchNorm1d(16)
    norm.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr]
    return norm


def moody_policy(kind: str, actions: str = "choices") -> Policy:
    network = Moody(3, layer_of(kind)) if actions == "choices" else Moody(4, layer_of(kind), two=True)
    return Policy(network, SEEN, ACTIONS[actions])


def modes(*modules: nn.Module) -> list[bool]:
    return [m.training for module in modules for m in module.modules()]


KINDS = ("dropout", "batch norm")


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_action_does_not_depend_on_the_other_environments(kind: str, actions: str):
    policy = moody_policy(kind, actions)
    before = modes(policy)
    engine = make_engine(policy, None, "sgd", "autograd")
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (B, 4)).astype(np.float32)
    noise = policy.draw_noise(rng, B)
    together = engine.act(Inputs(x), noise)
    np.testing.assert_array_equal(together, engine.act(Inputs(x), noise))
    for n in range(5):
        alone = engine.act(Inputs(x[n : n + 1]), noise[n : n + 1])
        np.testing.assert_allclose(alone[0], together[n], rtol=1e-5)
    assert modes(policy) == before
    assert policy.training


class Steps(gym.Env[Any, Any]):
    """Episodes of twelve random observations."""

    observation_space = SEEN

    def __init__(self, actions: str = "choices") -> None:
        self.action_space = ACTIONS[actions]

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.uniform(-1, 1, 4).astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        reward = float(np.sum(action))
        return self.np_random.uniform(-1, 1, 4).astype(np.float32), reward, self.t == 12, False, {}


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_rollout_does_not_depend_on_other_environments(kind: str, actions: str):
    """An environment alone and the first of three collect the same episode from the same noise and seed."""
    rows = []
    for count in (1, 3):
        policy = moody_policy(kind, actions)
        environments = make(lambda: Steps(actions), count)
        environments.reset = lambda seeds, of=environments: type(of).reset(of, Same())  # type: ignore[method-assign]
        collector = HostCollector(
            environments,
            policy,
            act_with(policy),
            seeds=EpisodeSeeds(np.random.default_rng(0)),
            action_rng=np.random.default_rng(0),
        )
        shape = policy.distribution.stored_shape
        noise = np.repeat(np.random.default_rng(1).random((12, 1, *shape)), count, 1)
        collector.noise = Fixed(noise)  # type: ignore[assignment]
        rollout = collector.episodes()
        rows.append((rollout.observation[:, 0], rollout.action[:, 0]))
        network: Any = policy.network
        assert not any(network.seen)
        assert all(modes(policy))
    np.testing.assert_array_equal(rows[0][0], rows[1][0])
    np.testing.assert_allclose(rows[0][1], rows[1][1], rtol=1e-5)


class Same(EpisodeSeeds):
    """The same seed for each environment."""

    def __init__(self) -> None:
        super().__init__(np.random.default_rng(0))

    def take(self, n: int) -> list[int]:
        return [5] * n


class Fixed:
    """A fixed sequence of noise."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def peek(self, steps: int) -> np.ndarray:
        return self.rows[:steps]

    def advance(self, steps: int) -> None:
        self.rows = self.rows[steps:]


def batch_for(policy: Policy, seed: int = 1) -> Batch:
    rng = np.random.default_rng(seed)
    observation = rng.uniform(-1, 1, (B, 4)).astype(np.float32)
    action = policy.choose(Inputs(observation), policy.draw_noise(rng, B))
    advantage, target = rng.standard_normal((2, B)).astype(np.float32)
    return Batch(Inputs(observation), action, {"advantage": advantage, "target": target})


@pytest.mark.draws_globally
@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_only_gradients_and_updates_use_training_mode(kind: str, actions: str):
    policy, value = moody_policy(kind, actions), Moody(1, layer_of(kind))
    frozen = nn.Dropout().eval()
    value.layers.append(frozen)
    before = modes(policy, value)
    engine = make_engine(policy, value, "sgd", "autograd")
    assert engine.has_modes
    batch = batch_for(policy)
    network: Any = policy.network
    x, a = batch.inputs, batch.action
    looks: dict[str, Any] = {
        "act": lambda: engine.act(x, policy.draw_noise(np.random.default_rng(0), B)),
        "values": lambda: engine.values(x),
        "evaluate": lambda: engine.evaluate(x, a),
        "policy_outputs": lambda: engine.policy_outputs(x, a),
        "squared_scores": lambda: engine.squared_scores(x, a),
        "fisher_vector_product": lambda: engine.fisher_vector_product(x)(engine.policy_parameters()),
        "Policy.act": lambda: policy.act(x.observation),
    }
    steps: dict[str, Any] = {
        "gradient": lambda: engine.gradient(batch, FULL_LOSS, full_coefficients()),
        "update": lambda: engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.0, 0.0))),
    }
    for calls, mode in ((looks, False), (steps, True)):
        for name, call in calls.items():
            network.seen, value.seen = [], []
            call()
            assert set(network.seen + value.seen) == {mode}, name
            assert modes(policy, value) == before
            assert not frozen.training


ALGORITHMS: dict[str, Any] = {
    "reinforce": pg.Reinforce(learning_rate=1e-12),
    "a2c": pg.A2C(learning_rate=1e-12, horizon=16),
    "v-trace": pg.A2C(learning_rate=1e-12, horizon=16, estimator="v-trace", updates=2),
    "actor-critic": pg.ActorCritic(learning_rate=1e-12, value_learning_rate=1e-3),
    "traces": pg.ActorCritic(learning_rate=1e-12, policy_trace=0.5, value_trace=0.5),
    "ppo": pg.PPO(learning_rate=1e-12, value_learning_rate=1e-3, horizon=16, minibatch_size=16, epochs=2),
}


@pytest.mark.draws_globally
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_change_of_the_policy_is_measured_in_one_mode(name: str):
    """With a rate of 1e-12 the policy hardly moves, although log π changes with dropout in each training pass."""
    torch.manual_seed(0)
    value = Moody(1, nn.Dropout(0.5))
    network = Moody(3, nn.Dropout(0.5))
    run = pg.train(
        Steps, ALGORITHMS[name], num_envs=4, steps=200, policy=network, value=value, progress=False
    )
    assert {True, False} == set(network.seen)
    for row in history_rows(run):
        assert abs(row["kl"]) < 1e-6
        assert row["largest_ratio"] == pytest.approx(1, abs=1e-4)


@pytest.mark.long
@pytest.mark.draws_globally
@pytest.mark.parametrize("name", ["reinforce", "optimal", "ppo", "npg", "trpo"])
@pytest.mark.parametrize("kind", KINDS)
def test_networks_with_modes_train(kind: str, name: str):
    """This includes gradients of single samples, for the optimal baseline, and natural gradients."""
    torch.manual_seed(0)
    algorithms: dict[str, Any] = {
        "reinforce": pg.Reinforce(),
        "optimal": pg.Reinforce(baseline="optimal"),
        "ppo": pg.PPO(horizon=16, minibatch_size=16),
        "npg": pg.NaturalGradient(horizon=16),
        "trpo": pg.TRPO(horizon=16),
    }
    network = Moody(3, layer_of(kind))
    value = Moody(1, layer_of(kind)) if name != "optimal" else None
    run = pg.train(
        Steps,
        algorithms[name],
        num_envs=8,
        steps=800,
        policy=network,
        value=value,
        progress=False,
        eval_every=400,
    )
    assert run.ended == "budget"
    assert all(modes(network))
    for row in history_rows(run):
        assert np.isfinite([row["kl"], row["policy_grad_norm"]]).all()
        assert name != "trpo" or row["kl"] <= 0.01


@pytest.mark.draws_globally
@pytest.mark.parametrize("layer", ["none", "dropout of 0", "frozen batch norm"])
def test_the_first_ratio_of_ppo_is_1(layer: str):
    """log π_old is computed in evaluation mode and the loss in training mode; if these agree, the first ratio is 1."""
    frozen = layer_of("batch norm")
    layers = {"none": nn.Identity(), "dropout of 0": nn.Dropout(0.0), "frozen batch norm": frozen}
    policy = Policy(Moody(3, layers[layer]), SEEN, ACTIONS["choices"])
    frozen.eval()
    value = Moody(1, nn.Identity())
    engine: Engine = make_engine(policy, value, "sgd", "autograd")
    environments = make(Steps, 4)
    collector = HostCollector(
        environments, policy, engine.act,
        seeds=EpisodeSeeds(np.random.default_rng(0)), action_rng=np.random.default_rng(0),
    )  # fmt: skip
    algorithm = pg.PPO(horizon=8)
    batch = algorithm.batch(collector.steps(8), engine)
    coefficients = algorithm.coefficient_values(0.0)
    found = engine.update(Update(batch, algorithm.traced_loss, coefficients, Step(0.0, 0.0)))
    np.testing.assert_array_equal(found.log_prob, batch.columns["old_log_prob"])
    np.testing.assert_array_equal(found.value, batch.columns["old_value"])
    metrics = pg.PPO(
        horizon=8, epochs=1, minibatch_size=32, learning_rate=1e-12, value_learning_rate=1e-3
    ).learn(engine, collector.steps(8), learner_state())
    assert metrics["largest_ratio"] == pytest.approx(1, abs=1e-5)


@pytest.mark.draws_globally
def test_an_agent_acts_in_evaluation_mode():
    network = Moody(3, nn.Dropout(0.5))
    agent = pg.Agent(SEEN, ACTIONS["choices"], pg.Reinforce(baseline="none"), policy=network)
    for t in range(4):
        agent.act(np.zeros(4))
        agent.observe(float(t), np.zeros(4), terminated=t == 3)
    assert not any(network.seen)
    agent.update()
    assert any(network.seen)
    assert all(modes(network))


def test_built_in_networks_have_no_modes():
    policy = Policy(pg.DiscretePolicy(4, 3, 8, rng=np.random.default_rng(0)), SEEN, ACTIONS["choices"])
    for engine in ("fused", "autograd"):
        value = pg.ValueNetwork(4, 8, rng=np.random.default_rng(0))
        assert not make_engine(policy, value, "sgd", engine).has_modes  # type: ignore[arg-type]
    assert make_engine(policy, Moody(1, nn.Dropout()), "sgd", "autograd").has_modes
