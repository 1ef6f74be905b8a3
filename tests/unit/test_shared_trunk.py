"""V(s) on the hidden layers of the policy: both engines learn the joint loss, with every algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad._support.threads import Workers
from policygrad.algorithms import Reinforce
from policygrad.engines import make_engine
from policygrad.interfaces import Step, Update
from policygrad.policies import Policy, SharedValueNetwork, flat_parameters, make_policy, make_value
from policygrad.types import Inputs, Minibatches
from tests.helpers import (
    A2C_VARIANTS,
    ACTOR_CRITIC_VARIANTS,
    FULL_LOSS,
    HEADS,
    PPO_VARIANTS,
    D,
    batch_for,
    episodes_for,
    full_coefficients,
    learned_by_both,
    networks,
    one_step_for,
    parameters,
    relative_error,
    steps_for,
)

ENGINES = ("fused", "autograd")


def sharing(head: str, activation: str = "tanh", depth: int = 2) -> tuple[Policy, SharedValueNetwork]:
    policy, _ = networks(head, activation, depth)
    network: Any = policy.network
    return policy, SharedValueNetwork(network.network, "orthogonal", np.random.default_rng(1))


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize(("activation", "depth"), [("tanh", 1), ("tanh", 2), ("relu", 3)])
def test_a_step_follows_the_gradient_of_the_joint_loss(activation: str, depth: int, engine_name: Any):
    policy, value = sharing("categorical", activation, depth)
    assert [tuple(p.shape) for p in value.parameters()] == [(1, 24), (1,)]
    engine, batch = make_engine(policy, value, "sgd", engine_name), batch_for(policy, 300)
    x, action = torch.from_numpy(batch.inputs.observation), torch.from_numpy(batch.action)
    advantage, target = (torch.from_numpy(batch.columns[name]) for name in ("advantage", "target"))
    logits = torch.distributions.Categorical(logits=policy(Inputs(x)))
    loss = -(advantage * logits.log_prob(action)).mean() - 0.1 * logits.entropy().mean()
    loss = loss + 0.5 * (value(x) - target).square().mean()
    modules = (policy, value)
    gradients = [torch.autograd.grad(loss, list(m.parameters()), retain_graph=True) for m in modules]
    expected = [
        [p - 0.1 * g for p, g in zip(m.parameters(), gs, strict=True)]
        for m, gs in zip(modules, gradients, strict=True)
    ]
    assert not engine.networks_are_separate
    np.testing.assert_allclose(engine.values(batch.inputs), value(x).detach(), rtol=1e-5, atol=1e-6)
    engine.update(Update(batch, FULL_LOSS, full_coefficients(0.1), Step(0.1, 0.1)))
    for module, wanted in zip(modules, expected, strict=True):
        for found, after in zip(module.parameters(), wanted, strict=True):
            torch.testing.assert_close(found, after, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_an_update_of_the_value_network_only_does_not_change_the_trunk(engine_name: Any):
    policy, value = sharing("gaussian")
    engine, batch = make_engine(policy, value, "adam", engine_name), batch_for(policy, 300)
    before, before_value = flat_parameters(policy).clone(), flat_parameters(value).clone()
    seen = engine.values(batch.inputs)
    outputs = engine.update(Update(batch, FULL_LOSS, full_coefficients(1.0), Step(None, 0.1, 0.5)))
    np.testing.assert_allclose(outputs.value, seen, rtol=1e-6, atol=1e-7)
    assert torch.equal(flat_parameters(policy), before)
    assert not torch.equal(flat_parameters(value), before_value)


ALGORITHMS: dict[str, tuple[Any, Any]] = {
    **{name: (algorithm, steps_for) for name, algorithm in (PPO_VARIANTS | A2C_VARIANTS).items()},
    **{name: (algorithm, one_step_for) for name, algorithm in ACTOR_CRITIC_VARIANTS.items()},
    "reinforce": (Reinforce(entropy_coef=0.01, learning_rate=0.001, value_steps=3), episodes_for),
    "trpo": (pg.TRPO(damping=1.0, value_learning_rate=0.001), steps_for),
    "npg": (pg.NaturalGradient(damping=1.0, value_learning_rate=0.001), steps_for),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("algorithm", "collect"), ALGORITHMS.values(), ids=ALGORITHMS)
def test_engines_agree_after_20_updates(algorithm: Any, collect: Any, head: str):
    policy, value = sharing(head)
    before = [flat_parameters(m).numpy().copy() for m in (policy, value)]
    engines, _ = learned_by_both(policy, value, algorithm, collect, algorithm.optimizer)
    assert relative_error(parameters(engines[0]), parameters(engines[1])) < 1e-4
    moved = [flat_parameters(m).numpy() for m in (engines[1].policy, engines[1].value)]  # type: ignore[attr-defined]
    assert min(relative_error(a, b) for a, b in zip(before, moved, strict=True)) > 1e-3


def test_cores_change_the_step_only_by_rounding():
    """Two cores split the samples of a step; the networks stay together, although the loss is separable."""
    assert FULL_LOSS.separates
    orders = (None, Minibatches(np.random.default_rng(0).permutation(3000), np.arange(0, 3001, 300)))
    for minibatches in orders:
        ends = []
        for cores in (1, 2):
            policy, value = sharing("gaussian")
            engine = make_engine(policy, value, "adam", "fused", workers=Workers(cores))
            batch = batch_for(policy, 3000)
            for _ in range(3):
                engine.update(
                    Update(batch, FULL_LOSS, full_coefficients(0.01), Step(0.01, 0.01, 0.5), minibatches)
                )
            ends.append([flat_parameters(policy).clone(), flat_parameters(value).clone()])
            np.testing.assert_allclose(
                engine.values(batch.inputs),
                value(torch.from_numpy(batch.inputs.observation)).detach(),
                rtol=1e-4,
                atol=1e-5,
            )
        for one, two in zip(*ends, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
            assert minibatches is None or torch.equal(one, two)


def test_the_trunk_does_not_change_after_the_last_policy_step():
    """The KL limit ends the policy steps within an update; V(s) keeps learning on hidden layers that do not change."""
    ends = []
    for engine_name in ENGINES:
        policy, value = sharing("categorical")
        engine, batch = make_engine(policy, value, "adam", engine_name), batch_for(policy, 200)
        batch = batch.with_columns(old_log_prob=engine.evaluate(batch.inputs, batch.action)[0])
        minibatches = Minibatches(np.arange(200).repeat(2), np.arange(0, 401, 50))
        step = Step(0.01, 0.01, 0.5)
        outputs = engine.update(
            Update(batch, FULL_LOSS, full_coefficients(0.5), step, minibatches, max_kl=0.01)
        )
        assert 0 < outputs.policy_steps < 8
        ends.append(np.concatenate([flat_parameters(m).numpy() for m in (policy, value)]))
    assert relative_error(*ends) < 1e-4


def test_the_fused_engine_refuses_layers_of_another_policy():
    policy, _ = networks("categorical")
    _, stranger = sharing("categorical")
    with pytest.raises(ValueError, match="hidden layers of another policy"):
        make_engine(policy, stranger, "adam", "fused")


@pytest.mark.parametrize("engine", ENGINES)
def test_shared_networks_are_trained(engine: Any):
    network = pg.Network((32,), shared=True)
    algorithm = pg.PPO(horizon=64, epochs=4)
    run = pg.train("CartPole-v1", algorithm, steps=2_000, network=network, engine=engine, progress=False)
    assert run.engine == engine
    assert run.history["value_loss"][-1] > 0


def test_sharing_is_refused_if_there_is_nothing_to_share():
    network = pg.Network((32,), shared=True)
    settings: dict[str, Any] = {"steps": 100, "progress": False}
    with pytest.raises(ValueError, match="shared=True works only for V"):
        pg.train("CartPole-v1", pg.ActorCritic(critic="q"), network=network, **settings)
    with pytest.raises(ValueError, match="but it has none"):
        pg.train("CartPole-v1", pg.PPO(), network=pg.Network((), shared=True), **settings)
    with pytest.raises(ValueError, match="no value network can be given"):
        pg.train(
            "CartPole-v1",
            pg.PPO(),
            network=network,
            value=lambda n: pg.ValueNetwork(n, (8,), rng=np.random.default_rng(0)),
            **settings,
        )


def test_the_value_network_uses_the_layers_of_the_policy():
    network, rng = pg.Network((8, 8), shared=True), np.random.default_rng(0)
    policy = make_policy(spaces.Box(-np.inf, np.inf, (D,)), spaces.Discrete(3), network, rng)
    value = make_value(policy, network, rng, given=None, wanted=True)
    assert isinstance(value, SharedValueNetwork)
    assert isinstance(policy.network, pg.DiscretePolicy)
    assert value.trunk is policy.network.network
    assert make_engine(policy, value, "adam").name == "fused"
