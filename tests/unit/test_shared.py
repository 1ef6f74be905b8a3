"""V(s) on the policy's own hidden layers: both engines learn the joint loss, whatever the algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad.algorithms import Reinforce
from policygrad.algorithms.reinforce import cotangents
from policygrad.engines import make_engine
from policygrad.policies import Policy, SharedValueNetwork, flat_parameters, make_policy, make_value
from policygrad.threads import Workers
from policygrad.types import Batch, Minibatches
from tests.unit import test_actor_critic, test_online
from tests.unit.test_actor_critic import steps_for
from tests.unit.test_engines import (
    HEADS,
    D,
    batch_for,
    learned_by_both,
    networks,
    parameters,
    relative,
    rollout_for,
)
from tests.unit.test_online import step_for

ENGINES = ("fused", "autograd")


def sharing(head: str, activation: str = "tanh", depth: int = 2) -> tuple[Policy, SharedValueNetwork]:
    policy, _ = networks(head, activation, depth)
    network: Any = policy.network
    return policy, SharedValueNetwork(network.network, "orthogonal", np.random.default_rng(1))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("activation", "depth"), [("tanh", 1), ("tanh", 2), ("relu", 3)])
def test_a_step_is_along_the_joint_loss_s_gradient(activation: str, depth: int, engine: Any):
    policy, value = sharing("categorical", activation, depth)
    assert [tuple(p.shape) for p in value.parameters()] == [(1, 24), (1,)]
    motor, batch = make_engine(policy, value, "sgd", engine), batch_for(policy, 300)
    x, action, advantage, target = (
        torch.from_numpy(a) for a in (batch.observation, batch.action, batch.advantage, batch.target)
    )
    logits = torch.distributions.Categorical(logits=policy(x))
    loss = -(advantage * logits.log_prob(action)).mean() - 0.1 * logits.entropy().mean()
    loss = loss + 0.5 * (value(x) - target).square().mean()
    modules = (policy, value)
    gradients = [torch.autograd.grad(loss, list(m.parameters()), retain_graph=True) for m in modules]
    expected = [
        [p - 0.1 * g for p, g in zip(m.parameters(), gs, strict=True)]
        for m, gs in zip(modules, gradients, strict=True)
    ]
    coefficients = np.array([1 / 300, 0.1 / 300, 1 / 300], np.float32)
    rates: dict[str, Any] = {"policy_rate": 0.1, "value_rate": 0.1, "max_grad_norm": None}
    assert not motor.networks_are_apart
    np.testing.assert_allclose(motor.values(batch.observation), value(x).detach(), rtol=1e-5, atol=1e-6)
    motor.update(batch, cotangents, coefficients, **rates)
    for module, wanted in zip(modules, expected, strict=True):
        for found, after in zip(module.parameters(), wanted, strict=True):
            torch.testing.assert_close(found, after, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_update_that_leaves_the_policy_out_leaves_the_trunk(engine: Any):
    policy, value = sharing("gaussian")
    motor, batch = make_engine(policy, value, "adam", engine), batch_for(policy, 300)
    before, before_value = flat_parameters(policy).clone(), flat_parameters(value).clone()
    seen = motor.values(batch.observation)
    outputs = motor.update(
        batch, cotangents, np.ones(3, np.float32), policy_rate=None, value_rate=0.1, max_grad_norm=0.5
    )
    np.testing.assert_allclose(outputs.value, seen, rtol=1e-6, atol=1e-7)
    assert torch.equal(flat_parameters(policy), before)
    assert not torch.equal(flat_parameters(value), before_value)


ALGORITHMS: dict[str, tuple[Any, Any]] = {
    **{name: (algorithm, steps_for) for name, algorithm in test_actor_critic.ALGORITHMS.items()},
    **{name: (algorithm, step_for) for name, algorithm in test_online.ALGORITHMS.items()},
    "reinforce": (Reinforce(entropy_coef=0.01, learning_rate=0.001, value_steps=3), rollout_for),
    "trpo": (pg.TRPO(damping=1.0, value_learning_rate=0.001), steps_for),
    "npg": (pg.NaturalGradient(damping=1.0, value_learning_rate=0.001), steps_for),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("algorithm", "collect"), ALGORITHMS.values(), ids=ALGORITHMS)
def test_engines_agree_after_20_updates(algorithm: Any, collect: Any, head: str):
    policy, value = sharing(head)
    before = [flat_parameters(m).numpy().copy() for m in (policy, value)]
    engines, _ = learned_by_both(policy, value, algorithm, collect, algorithm.optimizer)
    assert relative(parameters(engines[0]), parameters(engines[1])) < 1e-4
    moved = [flat_parameters(m).numpy() for m in (engines[1].policy, engines[1].value)]  # type: ignore[attr-defined]
    assert min(relative(a, b) for a, b in zip(before, moved, strict=True)) > 1e-3


def test_cores_and_minibatches_change_nothing_but_rounding():
    """Two cores split one step's samples; asked to take the networks apart, as PPO asks, they keep together."""
    orders = (None, Minibatches(np.random.default_rng(0).permutation(3000), np.arange(0, 3001, 300)))
    for minibatches in orders:
        ends = []
        for cores in (1, 2):
            policy, value = sharing("gaussian")
            motor = make_engine(policy, value, "adam", "fused", workers=Workers(cores))
            batch = batch_for(policy, 3000)
            for _ in range(3):
                motor.update(
                    batch, cotangents, np.array([1 / 3000, 0.01 / 3000, 1 / 3000], np.float32),
                    policy_rate=0.01, value_rate=0.01, max_grad_norm=0.5, minibatches=minibatches, apart=True,
                )  # fmt: skip
            ends.append([flat_parameters(policy).clone(), flat_parameters(value).clone()])
            np.testing.assert_allclose(
                motor.values(batch.observation),
                value(torch.from_numpy(batch.observation)).detach(),
                rtol=1e-4,
                atol=1e-5,
            )
        for one, two in zip(*ends, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
            assert minibatches is None or torch.equal(one, two)


def test_after_the_policy_s_last_step_the_trunk_stays():
    """The KL ends the policy's steps within an update; V(s) goes on, on hidden layers that stay."""
    ends = []
    for engine in ENGINES:
        policy, value = sharing("categorical")
        motor, batch = make_engine(policy, value, "adam", engine), batch_for(policy, 200)
        log_prob, _ = motor.evaluate(batch.observation, batch.action)
        batch = Batch(batch.observation, batch.action, batch.advantage, batch.target, log_prob)
        outputs = motor.update(
            batch, cotangents, np.array([1 / 50, 0.01, 1 / 50], np.float32),
            policy_rate=0.01, value_rate=0.01, max_grad_norm=0.5, max_kl=0.01,
            minibatches=Minibatches(np.arange(200).repeat(2), np.arange(0, 401, 50)),
        )  # fmt: skip
        assert 0 < outputs.policy_steps < 8
        ends.append(np.concatenate([flat_parameters(m).numpy() for m in (policy, value)]))
    assert relative(*ends) < 1e-4


def test_only_this_policy_s_layers_can_be_shared_by_the_fused_engine():
    policy, _ = networks("categorical")
    _, stranger = sharing("categorical")
    with pytest.raises(ValueError, match="hidden layers of another policy"):
        make_engine(policy, stranger, "adam", "fused")


@pytest.mark.parametrize("engine", ENGINES)
def test_it_trains(engine: Any):
    network = pg.Network((32,), shared=True)
    algorithm = pg.PPO(horizon=64, epochs=4)
    run = pg.train("CartPole-v1", algorithm, steps=2_000, network=network, engine=engine, progress=False)
    assert run.engine == engine
    assert run.history["value_loss"][-1] > 0


def test_it_is_refused_where_there_is_nothing_to_share():
    network = pg.Network((32,), shared=True)
    settings: dict[str, Any] = {"steps": 100, "progress": False}
    with pytest.raises(ValueError, match="shared=True is for V"):
        pg.train("CartPole-v1", pg.ActorCritic(critic="q"), network=network, **settings)
    with pytest.raises(ValueError, match="and there are none"):
        pg.train("CartPole-v1", pg.PPO(), network=pg.Network((), shared=True), **settings)


def test_v_lies_on_the_policy_s_perceptron():
    network, rng = pg.Network((8, 8), shared=True), np.random.default_rng(0)
    policy = make_policy(spaces.Box(-np.inf, np.inf, (D,)), spaces.Discrete(3), network, rng)
    value = make_value(policy, network, rng, given=None, wanted=True)
    assert isinstance(value, SharedValueNetwork)
    assert isinstance(policy.network, pg.DiscretePolicy)
    assert value.trunk is policy.network.network
    assert make_engine(policy, value, "adam").name == "fused"
