"""Products with the Fisher matrix, and the KL between two policies, against dense matrices and torch's formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from policygrad._support.threads import Workers
from policygrad.engines import make_engine
from policygrad.policies import GaussianPolicy, Policy, flat_parameters
from policygrad.types import Inputs
from tests.helpers import (
    BOX,
    HEADS,
    SHAPES,
    WIDTH,
    B,
    D,
    batch_for,
    both_engines,
    dense_fisher,
    distribution_of,
    networks,
    random_states,
    relative_error,
    shaken_policy,
)

pytestmark = pytest.mark.usefixtures("one_thread")
ENGINES = ("autograd", "fused")
STATES = 20


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("head", "activation", "depth"), SHAPES)
def test_products_equal_those_of_the_dense_matrix(head: str, activation: str, depth: int, engine: Any):
    policy = shaken_policy(head, activation, depth)
    observation = random_states(STATES)
    exact = dense_fisher(policy, observation)
    product = make_engine(policy, None, "sgd", engine).fisher_vector_product(Inputs(observation))
    found = np.stack([product(row) for row in np.eye(len(exact), dtype=np.float32)])
    np.testing.assert_allclose(found, exact, atol=2e-6 * np.abs(exact).max())
    np.testing.assert_allclose(found, found.T, atol=2e-6 * np.abs(exact).max())
    values = np.linalg.eigvalsh((found.astype(np.float64) + found.T) / 2)
    assert values.min() > -1e-6 * values.max()
    assert values.max() > 0.1


@pytest.mark.parametrize(("head", "activation", "depth"), SHAPES)
def test_engines_agree_on_a_batch_that_is_processed_in_parts(head: str, activation: str, depth: int):
    policy = shaken_policy(head, activation, depth, WIDTH)
    a, b = both_engines(policy, None)
    v = np.random.default_rng(3).standard_normal(len(a.policy_parameters())).astype(np.float32)
    found = [engine.fisher_vector_product(Inputs(random_states(B)))(v) for engine in (a, b)]
    assert np.linalg.norm(found[0]) > 0.1
    assert relative_error(*found) < 1e-5


@pytest.mark.parametrize("head", HEADS)
def test_products_and_kl_do_not_depend_on_the_number_of_cores(head: str):
    policy = shaken_policy(head, width=WIDTH)
    observation, batch = random_states(3000), batch_for(policy, 3000)
    engines = [make_engine(policy, None, "sgd", "fused", workers=Workers(cores)) for cores in (1, 2)]
    v = np.random.default_rng(3).standard_normal(len(engines[0].policy_parameters())).astype(np.float32)
    one, two = (engine.fisher_vector_product(Inputs(observation))(v) for engine in engines)
    assert relative_error(one, two) < 1e-5
    start = engines[0].policy_outputs(Inputs(observation), batch.action)
    engines[0].set_policy_parameters(engines[0].policy_parameters() + 0.01 * v)
    for a, b in zip(
        *(engine.policy_outputs(Inputs(observation), batch.action, start) for engine in engines), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_the_kl_equals_that_of_torch(head: str):
    policy = shaken_policy(head, width=WIDTH)
    batch = batch_for(policy)
    for engine in both_engines(policy, None):
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
        # between equal policies the KL is exactly 0, except for the rounding of log Γ in float64
        same = mine.policy_outputs(batch.inputs, batch.action, now)
        assert (np.abs(same.kl) <= (1e-12 if head == "beta" else 0)).all()
        for ours, evaluated in zip(
            (now.log_prob, now.entropy), mine.evaluate(batch.inputs, batch.action), strict=True
        ):
            np.testing.assert_allclose(ours, evaluated, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_the_fisher_matrix_is_the_curvature_of_the_kl(head: str, engine_name: Any):
    """½ dᵀF d is close to the true KL of a small step."""
    policy = shaken_policy(head, width=WIDTH)
    engine = make_engine(policy, None, "sgd", engine_name)
    batch = batch_for(policy)
    start = engine.policy_outputs(batch.inputs, batch.action)
    parameters = engine.policy_parameters()
    d = np.random.default_rng(5).normal(0, 0.003, len(parameters)).astype(np.float32)
    predicted = 0.5 * d @ engine.fisher_vector_product(batch.inputs)(d)
    engine.set_policy_parameters(parameters + d)
    kl = engine.policy_outputs(batch.inputs, batch.action, start).kl.mean()
    assert kl == pytest.approx(predicted, rel=0.02)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_certain_policy_stays_finite(engine_name: Any):
    """Probabilities near 1e-38 must give zeros or small numbers, and never NaN."""
    policy, _ = networks("categorical")
    with torch.no_grad():
        flat_parameters(policy).mul_(40)
    engine = make_engine(policy, None, "sgd", engine_name)
    observation = random_states(B)
    start = engine.policy_outputs(Inputs(observation), np.zeros(B, np.int64))
    assert start.log_prob.min() < -60
    assert np.isfinite(start.entropy).all()
    found = engine.fisher_vector_product(Inputs(observation))(
        np.ones(len(engine.policy_parameters()), np.float32)
    )
    assert np.isfinite(found).all()


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_a_nan_in_an_observation_is_propagated(head: str, engine_name: Any):
    policy, _ = networks(head)
    engine = make_engine(policy, None, "sgd", engine_name)
    spoiled = random_states(B)
    spoiled[3] = np.nan
    found = engine.fisher_vector_product(Inputs(spoiled))(
        np.ones(len(engine.policy_parameters()), np.float32)
    )
    assert np.isnan(found).any()


@pytest.mark.parametrize("engine_name", ENGINES)
def test_policy_parameters_can_be_read_and_written(engine_name: Any):
    bounded = GaussianPolicy(D, 2, 8, log_std_bounds=(-0.2, 0.2), rng=np.random.default_rng(0))
    engine = make_engine(Policy(bounded, BOX, spaces.Box(-1, 1, (2,))), None, "sgd", engine_name)
    before = engine.policy_parameters()
    engine.set_policy_parameters(before + 1)
    np.testing.assert_array_equal(engine.policy_parameters()[2:], before[2:] + 1)
    # log σ comes first, and stays within its bounds
    np.testing.assert_array_equal(bounded.log_std.detach(), np.float32([0.2, 0.2]))
    engine.set_policy_parameters(before)
    np.testing.assert_array_equal(engine.policy_parameters(), before)
    assert not np.shares_memory(engine.policy_parameters(), flat_parameters(bounded).numpy())


class Partly(nn.Module):
    """A custom network with a frozen layer, and with a layer that the outputs do not depend on."""

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
    observation = random_states(STATES)
    product = engine.fisher_vector_product(Inputs(observation))
    P = len(engine.policy_parameters())
    found = np.stack([product(row) for row in np.eye(P, dtype=np.float32)])
    learned = P - 21  # the last layer has 21 parameters
    assert not found[:learned].any()
    assert not found[:, :learned].any()
    for parameter in policy.parameters():
        parameter.requires_grad_(True)
    exact = dense_fisher(policy, observation)[learned:, learned:]
    np.testing.assert_allclose(found[learned:, learned:], exact, atol=2e-6 * np.abs(exact).max())
