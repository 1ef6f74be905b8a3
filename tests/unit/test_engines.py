"""Both engines compute the same, and their gradients are those of automatic differentiation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from policygrad.algorithms import Reinforce
from policygrad.engines import make_engine
from policygrad.interfaces import Step, Update
from policygrad.policies import BetaPolicy, DiscretePolicy, GSDEPolicy, Policy, ValueNetwork, flat_parameters
from policygrad.types import Batch, Inputs
from tests.helpers import (
    BOX,
    FULL_LOSS,
    HEADS,
    WIDE,
    CustomNetwork,
    D,
    batch_for,
    both_engines,
    episodes_for,
    full_coefficients,
    learned_by_both,
    networks,
    parameters,
    relative_error,
    steps_for,
)

BASELINES = ("none", "mean", "leave-one-out", "time", "optimal", "value")
# all heads have the same perceptron below them, so the other heads are tested with fewer shapes
UPDATES = [*itertools.product(HEADS[:2], BASELINES, ("tanh", "relu"), (1, 2, 3))]
UPDATES += [*itertools.product(HEADS[2:], ("none", "optimal", "value"), ("tanh",), (0, 2))]


@pytest.mark.parametrize(("head", "baseline", "activation", "depth"), UPDATES)
def test_parameters_agree_after_20_updates(head: str, baseline: str, activation: str, depth: int):
    # a sample exactly on the kink of a ReLU has two valid gradients, and the engines may choose differently;
    # a rate of 0.001 keeps one such sample among some hundred within the tolerance
    policy, value = networks(head, activation, depth)
    algorithm = Reinforce(
        baseline=baseline, entropy_coef=0.01, learning_rate=0.001, value_learning_rate=0.001
    )
    engines, _ = learned_by_both(policy, value if algorithm.uses_value else None, algorithm, episodes_for)
    assert relative_error(parameters(engines[0]), parameters(engines[1])) < 1e-4
    untrained = [flat_parameters(m).numpy() for m in (policy, value)][: 1 + algorithm.uses_value]
    assert relative_error(parameters(engines[0]), np.concatenate(untrained)) > 3e-3


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("head", HEADS)
def test_optimizers_agree(head: str, optimizer: str):
    policy, value = networks(head)
    engines = both_engines(policy, value, optimizer)
    batch = batch_for(policy)
    rate = 0.05 if optimizer == "sgd" else 0.003
    for _ in range(20):
        for engine in engines:
            engine.update(Update(batch, FULL_LOSS, full_coefficients(0.01), Step(rate, rate, 0.1)))
    assert relative_error(parameters(engines[0]), parameters(engines[1])) < 1e-4


@pytest.mark.parametrize("engine", ["autograd", "fused"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_equals_that_of_the_textbook_loss(head: str, activation: str, engine: str):
    policy, value = networks(head, activation)
    batch = batch_for(policy)
    loss = textbook_loss(policy, value, batch, entropy_coef=0.05)
    expected = [torch.autograd.grad(loss, list(m.parameters()), retain_graph=True) for m in (policy, value)]
    found = make_engine(policy, value, "sgd", engine).gradient(batch, FULL_LOSS, full_coefficients(0.05))
    for ours, theirs in zip(found, expected, strict=True):
        flat = torch.cat([g.reshape(-1) for g in theirs]).numpy()
        assert relative_error(flat, ours) < 1e-5


def textbook_loss(policy: Policy, value: ValueNetwork, batch: Batch, entropy_coef: float) -> torch.Tensor:
    """Return the loss, computed with torch's own distributions."""
    log_prob, entropy = textbook_log_prob_and_entropy(policy, batch)
    observation = torch.from_numpy(batch.inputs.observation)
    A, G = (torch.from_numpy(batch.columns[name]) for name in ("advantage", "target"))
    return (
        -(A * log_prob).mean()
        - entropy_coef * entropy.mean()
        + 0.5 * (value(observation) - G).square().mean()
    )


def textbook_log_prob_and_entropy(policy: Policy, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log π of the environment's action and the entropy, by torch's distributions and a dense integral."""
    observation, action = torch.from_numpy(batch.inputs.observation), torch.from_numpy(batch.action)
    network, td = policy.network, torch.distributions
    low, high = torch.from_numpy(WIDE.low), torch.from_numpy(WIDE.high)
    if isinstance(network, DiscretePolicy):
        sizes = [3] if isinstance(policy.action_space, spaces.Discrete) else [2, 4, 3]
        each = [td.Categorical(logits=z) for z in network.logits(observation).split(sizes, -1)]
        chosen = action.reshape(len(action), -1).T
        log_prob = sum(d.log_prob(a) for d, a in zip(each, chosen, strict=True))
        return log_prob, sum(d.entropy() for d in each)  # type: ignore[return-value]
    if isinstance(network, BetaPolicy):
        scale = td.AffineTransform(low, high - low)
        base = td.Beta(*network(observation))
        distribution: Any = td.Independent(td.TransformedDistribution(base, [scale]), 1)
        return distribution.log_prob(scale(action)), (base.entropy() + (high - low).log()).sum(-1)
    if isinstance(network, GSDEPolicy):
        mean, features, std = network(observation)
        covariance = torch.diag_embed((features[:, :, None] * std).square().sum(1) + 1e-6)
        distribution = td.MultivariateNormal(mean, covariance)
        return distribution.log_prob(action), distribution.entropy()
    normal = td.Normal(*network(observation))
    if policy.distribution.name == "gaussian":
        distribution = td.Independent(normal, 1)
        return distribution.log_prob(action), distribution.entropy()
    squash = td.ComposeTransform(
        [td.TanhTransform(cache_size=1), td.AffineTransform((low + high) / 2, (high - low) / 2)], cache_size=1
    )
    distribution = td.Independent(td.TransformedDistribution(normal, [squash]), 1)
    z = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square()) / np.sqrt(2 * np.pi)
    u = normal.mean.double()[..., None] + normal.stddev.double()[..., None] * z
    slope = 2 * (np.log(2) - u - torch.nn.functional.softplus(-2 * u))
    mean_slope = torch.trapezoid(density * slope, z, dim=-1)
    entropy = normal.entropy() + mean_slope.float() + ((high - low) / 2).log()
    return distribution.log_prob(squash(action)), entropy.sum(-1)


@pytest.mark.parametrize("head", HEADS)
def test_log_prob_and_entropy_equal_those_of_torch(head: str):
    policy, value = networks(head)
    batch = batch_for(policy)
    expected = [t.detach().numpy() for t in textbook_log_prob_and_entropy(policy, batch)]
    for engine in both_engines(policy, value):
        found = engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.0, None)))
        # torch's tanh transform loses digits where an action is close to a bound
        np.testing.assert_allclose(
            found.log_prob, expected[0], rtol=1e-4, atol=2e-3 if "sq" in head else 2e-5
        )
        np.testing.assert_allclose(found.entropy, expected[1], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("head", HEADS)
def test_engines_choose_the_same_actions_from_the_same_noise(head: str):
    policy, _ = networks(head)
    observation = np.random.default_rng(3).standard_normal((1000, D)).astype(np.float32)
    noise = policy.draw_noise(np.random.default_rng(4), 1000)
    a, b = (engine.act(Inputs(observation), noise) for engine in both_engines(policy, None))
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(policy.choose(Inputs(observation), noise), a, atol=1e-6)


def test_sampled_actions_follow_the_probabilities():
    policy, _ = networks("categorical")
    state = np.zeros((1, D), np.float32)
    probabilities = policy.network(torch.from_numpy(state)).detach().numpy()[0]
    n = 100_000
    noise = np.random.default_rng(0).random(n)
    for engine in both_engines(policy, None):
        counts = np.bincount(engine.act(Inputs(np.repeat(state, n, 0)), noise), minlength=3)
        # five standard deviations of a binomial
        assert (np.abs(counts / n - probabilities) < 5 * np.sqrt(probabilities / n)).all()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_squared_scores_equal_those_of_single_samples(head: str, activation: str):
    policy, _ = networks(head, activation)
    batch = batch_for(policy, 300)
    outputs = policy(Inputs(torch.from_numpy(batch.inputs.observation)))
    log_prob = policy.distribution.log_prob(outputs, torch.from_numpy(batch.action))
    expected = [
        sum(
            float(g.square().sum())
            for g in torch.autograd.grad(lp, list(policy.parameters()), retain_graph=True)
        )
        for lp in log_prob[:20]
    ]
    for engine in both_engines(policy, None):
        found = engine.squared_scores(batch.inputs, batch.action)
        assert found.shape == (300,)
        np.testing.assert_allclose(found[:20], expected, rtol=1e-4)


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_values_equal_those_of_the_network(engine: str):
    policy, value = networks("categorical")
    inputs = batch_for(policy).inputs
    expected = value(torch.from_numpy(inputs.observation)).detach().numpy()
    np.testing.assert_allclose(make_engine(policy, value, "adam", engine).values(inputs), expected, atol=1e-5)


def test_the_fused_engine_sees_parameters_that_torch_writes():
    policy, _ = networks("categorical")
    fused = make_engine(policy, None, "adam", "fused")
    batch = batch_for(policy)
    other, _ = networks("categorical", seed=9)
    policy.load_state_dict(other.state_dict())
    expected = make_engine(other, None, "adam", "autograd").gradient(batch, FULL_LOSS, full_coefficients())
    found = fused.gradient(batch, FULL_LOSS, full_coefficients())
    assert relative_error(expected[0], found[0]) < 1e-5


@pytest.mark.draws_globally
def test_a_custom_network_trains_in_autograd_and_is_refused_by_fused():
    messages: list[str] = []
    policy = Policy(CustomNetwork(), BOX, spaces.Discrete(3))
    engine = make_engine(policy, None, "adam", "auto", messages.append)
    assert engine.name == "autograd"
    assert "Custom" in messages[0]
    with pytest.raises(ValueError, match="Use engine='autograd'"):
        make_engine(policy, None, "adam", "fused")
    batch = batch_for(policy)

    def surrogate() -> float:
        log_prob = policy.distribution.log_prob(
            policy(Inputs(torch.from_numpy(batch.inputs.observation))), torch.from_numpy(batch.action)
        )
        return float((log_prob.detach() * torch.from_numpy(batch.columns["advantage"])).mean())

    before = surrogate()
    for _ in range(20):
        engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.01, None)))
    assert surrogate() > before + 0.01


class Doubled(DiscretePolicy):
    def logits(self, state: torch.Tensor) -> torch.Tensor:
        return 2 * super().logits(state)


def test_modified_networks_are_not_given_to_the_fused_engine():
    shape: dict[str, Any] = {"rng": np.random.default_rng(0)}
    longer = DiscretePolicy(D, 3, 8, **shape)
    longer.network.append(nn.Tanh())
    for network in (Doubled(D, 3, 8, **shape), longer):
        assert make_engine(Policy(network, BOX, spaces.Discrete(3)), None, "adam").name == "autograd"
    policy, _ = networks("categorical")
    other = nn.Sequential(ValueNetwork(D, 8, **shape))
    assert make_engine(policy, other, "adam").name == "autograd"


def test_an_unknown_engine_is_refused():
    policy, _ = networks("categorical")
    with pytest.raises(ValueError, match="engine must be"):
        make_engine(policy, None, "adam", "warp")  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_an_unknown_optimizer_is_refused(engine: Any):
    policy, _ = networks("categorical")
    with pytest.raises(ValueError, match=r"optimizer must be one of .*did you mean 'adam'"):
        make_engine(policy, None, "adamw", engine)


def test_values_along_a_rollout_are_those_of_the_true_successors():
    """At the end of an episode the next value is that of the final observation, not that of the reset state."""
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", "fused")
    rollout = steps_for(policy, seed=3)
    now, following = engine.values_along(rollout)
    T, N = rollout.valid.shape
    for found, seen in ((now, rollout.observation), (following, rollout.next_observation)):
        expected = engine.values(Inputs(np.ascontiguousarray(seen.reshape(T * N, D)))).reshape(T, N)
        np.testing.assert_allclose(found[rollout.valid], expected[rollout.valid], rtol=1e-6)
