"""The fused engine avoids subnormal float32 numbers, with which processors are slow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from policygrad.engines import make_engine
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Step, Update
from policygrad.losses import traced
from policygrad.types import Batch
from tests.helpers import FULL_LOSS, batch_for, full_coefficients, networks, relative_error


def subnormal(x: np.ndarray) -> int:
    return int(((x != 0) & (np.abs(x) < np.finfo(np.float32).tiny)).sum())


def certain(head: str, by: float, activation: str = "tanh") -> tuple[Any, Batch]:
    """Return an engine whose policy always takes the first alternative of each choice, and samples of it."""
    policy, _ = networks(head, activation)
    network: Any = policy.network
    with torch.no_grad():
        network.network[-1].bias[[0] if head == "categorical" else [0, 2, 6]] += by
    return make_engine(policy, None, "adam", "fused"), batch_for(policy)


@pytest.mark.parametrize("by", [70.0, 80.0, 90.0, 300.0])
@pytest.mark.parametrize(
    ("head", "activation"),
    [("categorical", "tanh"), ("choices", "tanh"), ("categorical", "silu"), ("categorical", "gelu")],
)
def test_gradients_and_fisher_products_of_a_certain_policy_have_no_subnormals(
    head: str, activation: str, by: float
):
    engine, batch = certain(head, by, activation)
    engine._actor.net.work[:] = 0
    gradient, _ = engine.gradient(batch, FULL_LOSS, full_coefficients(0.01))
    along = np.random.default_rng(0).standard_normal(len(gradient)).astype(np.float32)
    product = engine.fisher_vector_product(batch.inputs)(along)
    assert subnormal(gradient) == subnormal(product) == 0
    # the gradients of hidden layers are computed from those of the last one
    assert subnormal(engine._actor.net.work) == 0


def test_small_gradients_equal_those_of_torch():
    """The gradient keeps its precision with probabilities near 1e-22, far below the resolution of float32 near 1."""
    engine, batch = certain("categorical", 50.0)
    reference = make_engine(engine.policy, None, "adam", "autograd")
    found, expected = (m.gradient(batch, FULL_LOSS, full_coefficients(0.01))[0] for m in (engine, reference))
    assert 0 < np.linalg.norm(expected) < 1e-15
    assert relative_error(expected, found) < 1e-4


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_optimizer_moments_decay_to_zero_without_subnormals(optimizer: str):
    policy, value = networks("gaussian")
    engine: Any = make_engine(policy, value, optimizer, "fused")
    batch, before = batch_for(policy), engine.policy_parameters()
    net = engine._actor.net
    every = (net.first, net.second) if optimizer == "adam" else (net.second,)
    for moments in every:
        moments[:] = 1e-29
        # 0.9 times the smallest subnormal number is rounded to the same number
        moments[::2] = 1e-44
    nothing = traced(lambda s, k: k.nothing * (s.log_prob + s.entropy))
    for _ in range(50):
        engine.update(Update(batch, nothing, {"nothing": 0.0}, Step(0.01, None)))
        assert sum(subnormal(moments) for moments in every) == 0
    np.testing.assert_allclose(engine.policy_parameters(), before, rtol=0, atol=1e-20)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_moments_of_tiny_gradients_have_no_subnormals(optimizer: str):
    policy, value = networks("gaussian")
    engine: Any = make_engine(policy, value, optimizer, "fused")
    sizes = 10.0 ** -np.arange(45, dtype=np.float64)
    gradient = np.resize(sizes, len(engine.policy_parameters())).astype(np.float32)
    gradient[gradient < 1e-37] = 0
    of_value = np.zeros(engine._critic.net.parameters.size, np.float32)
    for _ in range(3):
        engine.apply(gradient, of_value, Step(0.01, 0.01))
    net = engine._actor.net
    assert subnormal(net.first) == subnormal(net.second) == 0
    expected = (1 - (0.999 if optimizer == "adam" else 0.99) ** 3) * gradient.astype(np.float64) ** 2
    np.testing.assert_allclose(net.second, expected, rtol=1e-4, atol=1e-27)


def test_a_nan_is_not_flushed_to_zero():
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", "fused")
    before = engine.policy_parameters()
    gradient = np.zeros_like(before)
    gradient[5] = np.nan
    of_value = np.zeros(sum(p.numel() for p in value.parameters()), np.float32)
    with pytest.raises(NonFiniteError):
        engine.apply(gradient, of_value, Step(0.01, 0.01))
    np.testing.assert_array_equal(engine.policy_parameters(), before)
