"""Products with the Fisher matrix, and the KL between two policies, against matrices and torch's own formulas."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from policygrad._support.threads import Workers, single_thread
from policygrad.engines import make_engine
from policygrad.policies import GaussianPolicy, Policy, flat_parameters
from policygrad.policies.distributions import GSDE, Beta, Categorical
from policygrad.types import Inputs
from tests.unit.test_engines import BOX, HEADS, WIDTH, B, D, batch_for, both, networks, relative

ENGINES = ("autograd", "fused")
STATES = 20
# the perceptron is the same below every head: all its shapes below two of them
SHAPES = [*itertools.product(HEADS[:2], ("tanh", "relu"), (0, 1, 2, 3))]
SHAPES += [*itertools.product(HEADS[2:], ("tanh",), (2,)), ("gsde", "tanh", 0)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


def shaken_policy(head: str, activation: str = "tanh", depth: int = 2, width: int = 6) -> Policy:
    """With no σ 1 and no two of them the same; so small by default that its Fisher matrix can be written down."""
    policy, _ = networks(head, activation, depth, width=width)
    flat = flat_parameters(policy)
    flat += torch.from_numpy(np.random.default_rng(4).normal(0, 0.2, flat.numel()).astype(np.float32))
    return policy


def states(n: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32)


def distribution_parameters(policy: Policy, observation: np.ndarray) -> torch.Tensor:
    """[B, n] in float64, with a graph: log π; mean and log σ; α and β; of gSDE mean and variance."""
    outputs = policy(Inputs(torch.from_numpy(observation).double()))
    return outputs if isinstance(outputs, torch.Tensor) else torch.cat([outputs[0], outputs[-1]], -1)


def torch_s_own(policy: Policy, parameters: torch.Tensor) -> Any:
    """The distribution of what is stored, of the squashed Gaussian without its constant: ratios are the same."""
    td, distribution = torch.distributions, policy.distribution
    if isinstance(distribution, Categorical):
        parts = parameters.split(distribution.sizes, -1)
        # as many alternatives to each choice, the added ones so improbable that nothing comes of them
        widest = max(distribution.sizes)
        logits = [nn.functional.pad(part, (0, widest - part.shape[-1]), value=-80.0) for part in parts]
        if distribution.stored_shape == ():
            return td.Categorical(logits=logits[0])
        return td.Independent(td.Categorical(logits=torch.stack(logits, 1)), 1)
    first, second = parameters.chunk(2, -1)
    if isinstance(distribution, Beta):
        return td.Independent(td.Beta(first, second), 1)
    std = second.sqrt() if isinstance(distribution, GSDE) else second.exp()
    return td.Independent(td.Normal(first, std), 1)


def distribution_of(policy: Policy, observation: np.ndarray) -> Any:
    """In float64."""
    with torch.no_grad():
        exact = copy.deepcopy(policy).double()
        return torch_s_own(policy, distribution_parameters(exact, observation))


def dense_fisher(policy: Policy, observation: np.ndarray) -> np.ndarray:
    """Mean of JᵀM J in float64: J of the distribution's parameters, M the curvature of torch's KL in them."""
    exact = copy.deepcopy(policy).double()
    parameters = distribution_parameters(exact, observation)
    B, n = parameters.shape
    theta = parameters.detach().requires_grad_()
    kl = torch.distributions.kl_divergence(
        torch_s_own(policy, parameters.detach()), torch_s_own(policy, theta)
    )
    (slope,) = torch.autograd.grad(kl.sum(), theta, create_graph=True)
    rows = [torch.autograd.grad(slope[:, k].sum(), theta, retain_graph=True)[0] for k in range(n)]
    M = torch.stack(rows, 1)
    every = torch.eye(B * n, dtype=torch.float64).reshape(B * n, B, n)
    weights = list(exact.parameters())
    found = torch.autograd.grad(parameters, weights, every, is_grads_batched=True, materialize_grads=True)
    # the zeros of a parameter that nothing comes of have no batch
    parts = [f.expand(B * n, *p.shape).reshape(B, n, -1) for f, p in zip(found, weights, strict=True)]
    J = torch.cat(parts, -1)
    return torch.einsum("bip,bij,bjq->pq", J, M, J).numpy(force=True) / B


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("head", "activation", "depth"), SHAPES)
def test_products_are_those_of_the_matrix(head: str, activation: str, depth: int, engine: Any):
    policy = shaken_policy(head, activation, depth)
    observation = states(STATES)
    exact = dense_fisher(policy, observation)
    product = make_engine(policy, None, "sgd", engine).fisher_vector_product(Inputs(observation))
    found = np.stack([product(row) for row in np.eye(len(exact), dtype=np.float32)])
    np.testing.assert_allclose(found, exact, atol=2e-6 * np.abs(exact).max())
    np.testing.assert_allclose(found, found.T, atol=2e-6 * np.abs(exact).max())
    values = np.linalg.eigvalsh((found.astype(np.float64) + found.T) / 2)
    assert values.min() > -1e-6 * values.max()
    assert values.max() > 0.1


@pytest.mark.parametrize(("head", "activation", "depth"), SHAPES)
def test_engines_agree_on_batches_of_several_parts(head: str, activation: str, depth: int):
    policy = shaken_policy(head, activation, depth, WIDTH)
    a, b = both(policy, None)
    v = np.random.default_rng(3).standard_normal(len(a.policy_parameters())).astype(np.float32)
    found = [engine.fisher_vector_product(Inputs(states(B)))(v) for engine in (a, b)]
    assert np.linalg.norm(found[0]) > 0.1
    assert relative(*found) < 1e-5


@pytest.mark.parametrize("head", HEADS)
def test_products_of_several_cores(head: str):
    policy = shaken_policy(head, width=WIDTH)
    observation, batch = states(3000), batch_for(policy, 3000)
    engines = [make_engine(policy, None, "sgd", "fused", workers=Workers(cores)) for cores in (1, 2)]
    v = np.random.default_rng(3).standard_normal(len(engines[0].policy_parameters())).astype(np.float32)
    one, two = (engine.fisher_vector_product(Inputs(observation))(v) for engine in engines)
    assert relative(one, two) < 1e-5
    start = engines[0].policy_outputs(Inputs(observation), batch.action)
    engines[0].set_policy_parameters(engines[0].policy_parameters() + 0.01 * v)
    for a, b in zip(
        *(engine.policy_outputs(Inputs(observation), batch.action, start) for engine in engines), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_kl_is_torch_s_own(head: str):
    policy = shaken_policy(head, width=WIDTH)
    batch = batch_for(policy)
    for engine in both(policy, None):
        mine: Any = engine
        before = mine.policy_outputs(batch.inputs, batch.action)
        old = distribution_of(mine.policy, batch.inputs.observation)
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 0.05, len(engine.policy_parameters()))
        engine.set_policy_parameters((engine.policy_parameters() + noise).astype(np.float32))
        now = mine.policy_outputs(batch.inputs, batch.action, before)
        new = distribution_of(mine.policy, batch.inputs.observation)
        exact = torch.distributions.kl_divergence(old, new).numpy()
        assert exact.mean() > 0.001
        np.testing.assert_allclose(now.kl, exact, rtol=1e-4, atol=1e-6)
        assert (before.kl == 0).all()
        # nothing has changed: nothing is lost to rounding, but what float64 has of log Γ
        same = mine.policy_outputs(batch.inputs, batch.action, now)
        assert (np.abs(same.kl) <= (1e-12 if head == "beta" else 0)).all()
        for ours, evaluated in zip(
            (now.log_prob, now.entropy), mine.evaluate(batch.inputs, batch.action), strict=True
        ):
            np.testing.assert_allclose(ours, evaluated, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_the_fisher_matrix_is_the_curvature_of_the_kl(head: str, engine: Any):
    """½ dᵀF d against the true KL of a small step."""
    policy = shaken_policy(head, width=WIDTH)
    engine = make_engine(policy, None, "sgd", engine)
    batch = batch_for(policy)
    start = engine.policy_outputs(batch.inputs, batch.action)
    parameters = engine.policy_parameters()
    d = np.random.default_rng(5).normal(0, 0.003, len(parameters)).astype(np.float32)
    predicted = 0.5 * d @ engine.fisher_vector_product(batch.inputs)(d)
    engine.set_policy_parameters(parameters + d)
    kl = engine.policy_outputs(batch.inputs, batch.action, start).kl.mean()
    assert kl == pytest.approx(predicted, rel=0.02)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_certain_policy_stays_finite(engine: Any):
    """Probabilities of 1e-38 come back as zeros or small numbers, none of them a NaN."""
    policy, _ = networks("categorical")
    with torch.no_grad():
        flat_parameters(policy).mul_(40)
    engine = make_engine(policy, None, "sgd", engine)
    observation = states(B)
    start = engine.policy_outputs(Inputs(observation), np.zeros(B, np.int64))
    assert start.log_prob.min() < -60
    assert np.isfinite(start.entropy).all()
    found = engine.fisher_vector_product(Inputs(observation))(
        np.ones(len(engine.policy_parameters()), np.float32)
    )
    assert np.isfinite(found).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_a_nan_comes_out_as_one(head: str, engine: Any):
    policy, _ = networks(head)
    engine = make_engine(policy, None, "sgd", engine)
    spoilt = states(B)
    spoilt[3] = np.nan
    found = engine.fisher_vector_product(Inputs(spoilt))(np.ones(len(engine.policy_parameters()), np.float32))
    assert np.isnan(found).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_parameters_are_read_and_written(engine: Any):
    bounded = GaussianPolicy(D, 2, 8, log_std_bounds=(-0.2, 0.2), rng=np.random.default_rng(0))
    engine = make_engine(Policy(bounded, BOX, spaces.Box(-1, 1, (2,))), None, "sgd", engine)
    before = engine.policy_parameters()
    engine.set_policy_parameters(before + 1)
    np.testing.assert_array_equal(engine.policy_parameters()[2:], before[2:] + 1)
    # log σ comes first, and does not leave its bounds
    np.testing.assert_array_equal(bounded.log_std.detach(), np.float32([0.2, 0.2]))
    engine.set_policy_parameters(before)
    np.testing.assert_array_equal(engine.policy_parameters(), before)
    assert not np.shares_memory(engine.policy_parameters(), flat_parameters(bounded).numpy())


class Partly(nn.Module):
    """A network of one's own with a frozen layer, and one that nothing comes of."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(D, 6).requires_grad_(False)
        self.idle = nn.Linear(2, 2)
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.nn.functional.gelu(self.frozen(x)))


@pytest.mark.draws_globally
def test_frozen_and_idle_parameters_have_no_curvature():
    torch.manual_seed(0)
    policy = Policy(Partly(), BOX, spaces.Discrete(3))
    engine = make_engine(policy, None, "sgd", "autograd")
    observation = states(STATES)
    product = engine.fisher_vector_product(Inputs(observation))
    P = len(engine.policy_parameters())
    found = np.stack([product(row) for row in np.eye(P, dtype=np.float32)])
    learned = P - 21  # the last layer's own
    assert not found[:learned].any()
    assert not found[:, :learned].any()
    for parameter in policy.parameters():
        parameter.requires_grad_(True)
    exact = dense_fisher(policy, observation)[learned:, learned:]
    np.testing.assert_allclose(found[learned:, learned:], exact, atol=2e-6 * np.abs(exact).max())
