"""Losses: the rules of their vocabulary, and each algorithm's derivatives three ways."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad import losses
from policygrad.algorithms import ALGORITHMS, WithLoss, loss_of
from policygrad.cli import main
from policygrad.engines import make_engine
from policygrad.interfaces import Step, Update
from policygrad.losses import (
    OUTPUTS,
    Loss,
    absolute,
    clip,
    exp,
    log,
    log1p,
    maximum,
    minimum,
    sigmoid,
    stop_gradient,
    traced,
    where,
)
from policygrad.types import Batch, Inputs, Minibatches
from tests.conftest import rollout_of

ENGINES = ("fused", "autograd")
SAMPLES = 100_000
SMOOTH = 1e-6
"""Largest relative error of a derivative where the loss is smooth."""
BELOW, ABOVE = 1 - 1e-3, 1 + 1e-3


def columns_for(loss: Loss, B: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random (outputs, columns) of B samples, of which those of before are near those of now."""
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(3, B)).astype(np.float32)
    columns = rng.normal(size=(len(loss.columns), B)).astype(np.float32)
    for row, name in enumerate(loss.columns):
        if name.startswith("old_"):
            columns[row] = outputs[OUTPUTS.index(name.removeprefix("old_"))] + 0.3 * columns[row]
    return outputs, columns


def by_autograd(
    loss: Loss, outputs: np.ndarray, columns: np.ndarray, coefficients: dict[str, float]
) -> np.ndarray:
    """The derivatives [3, B] float64 of the function itself, by torch."""
    tensors = [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in outputs]
    sample = dict(zip(OUTPUTS, tensors, strict=True))
    sample |= {
        name: torch.tensor(row, dtype=torch.float64) for name, row in zip(loss.columns, columns, strict=True)
    }
    loss.of_tensors(sample, coefficients).sum().backward()
    return np.stack([np.zeros(outputs.shape[1]) if t.grad is None else t.grad.numpy() for t in tensors])


def value_at(loss: Loss, outputs: np.ndarray, columns: np.ndarray, coefficients: dict[str, float]) -> Any:
    """The losses [B] float64 of the function itself, by NumPy."""
    sample = dict(zip((*OUTPUTS, *loss.columns), (*outputs, *columns), strict=True))
    return loss.function(SimpleNamespace(**sample), SimpleNamespace(**coefficients))


def by_central_differences(
    loss: Loss, outputs: np.ndarray, columns: np.ndarray, coefficients: dict[str, float], h: float = 1e-6
) -> np.ndarray:
    outputs, columns = outputs.astype(np.float64), columns.astype(np.float64)
    rows = []
    for k in range(3):
        up, down = outputs.copy(), outputs.copy()
        up[k] += h
        down[k] -= h
        difference = value_at(loss, up, columns, coefficients) - value_at(loss, down, columns, coefficients)
        rows.append(np.broadcast_to(difference / (2 * h), outputs.shape[1:]))
    return np.stack(rows)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found == pytest.approx(expected, rel=tolerance, abs=tolerance * 1e-3)


VARIANTS: dict[str, WithLoss] = {
    **{name: kind() for name, kind in ALGORITHMS.items()},  # type: ignore[misc]
    "ppo, all terms": pg.PPO(value_clip=0.2, entropy_coef=0.01, kl_penalty=0.3),
    "ppo, unclipped": pg.PPO(clip=None, kl_penalty=0.3),
    "a2c, entropy": pg.A2C(entropy_coef=0.1),
    "reinforce, entropy": pg.Reinforce(entropy_coef=0.1, average="episodes"),
    "actor-critic, entropy": pg.ActorCritic(entropy_coef=0.1),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_derivatives_of_each_algorithm_three_ways(name: str):
    """Derived code, autograd of the same function, and central differences, on 100,000 samples."""
    algorithm = VARIANTS[name]
    loss = algorithm.traced_loss
    coefficients = algorithm.coefficient_values(0.0, policy_scale=3.0)
    outputs, columns = columns_for(loss, SAMPLES)
    found = loss.differentiated(outputs, columns, coefficients)
    exact = by_autograd(loss, outputs, columns, coefficients)
    close(found, exact, SMOOTH)
    assert np.abs(found[0]).max() > 0.1
    # kinks apart, of which a sample of random numbers may have a few within h
    h = 1e-6
    differences = by_central_differences(loss, outputs, columns, coefficients, h)
    off = np.abs(differences - exact) > 1e-6 * (1 + np.abs(exact)) * 10
    assert off.mean() < 1e-4
    mean = value_at(loss, outputs.astype(np.float64), columns.astype(np.float64), coefficients).mean()
    assert loss.mean(outputs, columns, coefficients) == pytest.approx(mean, rel=1e-12)


def ppo_derivatives(ratio: float, advantage: float, value: float = 0.0, **options: Any) -> np.ndarray:
    """The derivatives [3] of PPO's loss for one sample with old_log_prob 0, old_value 0 and target 1, both ways."""
    algorithm = pg.PPO(**{"value_coef": 1.0, "clip": 0.5, **options})
    loss, coefficients = algorithm.traced_loss, algorithm.coefficient_values(0.0)
    known = {"old_log_prob": 0.0, "advantage": advantage, "target": 1.0, "old_value": 0.0}
    outputs = np.array([[math.log(ratio)], [0.7], [value]], np.float32)
    columns = np.array([[known[column]] for column in loss.columns], np.float32)
    found = loss.differentiated(outputs, columns, coefficients)
    close(found, by_autograd(loss, outputs, columns, coefficients), SMOOTH)
    return found[:, 0]


@pytest.mark.parametrize(
    ("ratio", "advantage", "slope"),
    [
        (1.5 * BELOW, 2.0, -3.0), (1.5 * ABOVE, 2.0, 0.0), (0.1, 2.0, -0.2),
        (0.5 * ABOVE, -2.0, 1.0), (0.5 * BELOW, -2.0, 0.0), (9.0, -2.0, 18.0), (1.0, 2.0, -2.0), (1.0, 0.0, 0.0),
    ],
)  # fmt: skip
def test_ppo_on_either_side_of_its_clip(ratio: float, advantage: float, slope: float):
    assert ppo_derivatives(ratio, advantage)[0] == pytest.approx(slope, rel=2e-3, abs=1e-7)


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        # V_old is 0, G is 1, the range 0.25: V′ stays at 0.25 above it, with the larger loss, and nothing is gained
        (0.25 * BELOW, -0.75), (0.25 * ABOVE, 0.0), (0.9, 0.0), (-0.25 * BELOW, -1.25), (-0.25 * ABOVE, -1.25),
        (3.0, 2.0), (0.0, -1.0),
    ],
)  # fmt: skip
def test_ppo_on_either_side_of_its_value_clip(value: float, slope: float):
    assert ppo_derivatives(1.0, 0.0, value, value_clip=0.25)[2] == pytest.approx(slope, rel=2e-3, abs=1e-7)


@pytest.mark.parametrize("penalty", [0.0, 0.5])
@pytest.mark.parametrize(
    ("log_ratio", "advantage", "slope"), [(-2e3, 1.0, 0.0), (-2e3, -1.0, 0.0), (2e3, 1.0, 0.0)]
)
def test_ppo_far_beyond_its_clip(log_ratio: float, advantage: float, slope: float, penalty: float):
    """Ratios that a float64 holds as 0 or as infinity have derivatives all the same: of the penalty alone, if any."""
    algorithm = pg.PPO(kl_penalty=penalty)
    loss, coefficients = algorithm.traced_loss, algorithm.coefficient_values(0.0)
    known = {"old_log_prob": 0.0, "advantage": advantage, "target": 1.0, "old_value": 0.0}
    outputs = np.array([[log_ratio], [0.7], [0.5]], np.float32)
    columns = np.array([[known[column]] for column in loss.columns], np.float32)
    found = loss.differentiated(outputs, columns, coefficients)
    expected = math.inf if penalty and log_ratio > 0 else slope - penalty
    assert found[0, 0] == pytest.approx(expected, abs=1e-7)
    assert np.isfinite(found[1:]).all()
    if log_ratio < 0:
        close(found, by_autograd(loss, outputs, columns, coefficients), SMOOTH)


def test_a_ratio_beyond_all_bounds_is_clipped_to_nothing():
    """Its derivative is a choice of 0, not 0 times infinity."""
    outputs = np.array([[3e4, -3e4], [0, 0], [0, 0]], np.float32)
    surrogate = traced(
        lambda s, k: (
            -minimum(
                exp(s.log_prob - s.old_log_prob) * s.advantage,
                clip(exp(s.log_prob - s.old_log_prob), 0.8, 1.2) * s.advantage,
            )
        )
    )
    known = {"old_log_prob": [-3e4, 3e4], "advantage": [1.0, -1.0]}
    columns = np.array([known[name] for name in surrogate.columns], np.float32)
    assert surrogate.differentiated(outputs, columns, {})[0].tolist() == [0.0, 0.0]


# ---- the vocabulary

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": exp,
    "log": lambda x: log(absolute(x) + 0.1),
    "log1p": lambda x: log1p(x * x),
    "expm1": losses.expm1,
    "sqrt": lambda x: losses.sqrt(x * x + 1),
    "tanh": losses.tanh,
    "sigmoid": sigmoid,
    "abs": abs,
    "minimum": lambda x: minimum(x, 2 * x),
    "maximum": lambda x: maximum(0.3, x),
    "clip": lambda x: clip(x, -0.5, 0.5) ** 3,
    "where": lambda x: where((x > 0.1) & ~(x > 1) | (x < -1), x**2, 3 * x),
    "power": lambda x: x**3 + (x * x + 1) ** 0.5 + (x * x + 1) ** -2 + x**1,
    "division": lambda x: 1 / (1 + x * x) - x / 3,
    "constants": lambda x: np.float32(2) * x + np.float64(3) - x * np.int64(2) + 1 * x,
    "right": lambda x: 2 - x + 3 * x + 1 / (2 + x * x),
    "comparisons": lambda x: where((x >= 0) | (x <= -1), x, -(+x)),
    "NumPy's scalars on the left": lambda x: np.float64(1.5) / (x * x + np.float32(1)) - np.float64(2) * x,
    "once and again": lambda x: exp(x) * exp(x) + exp(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_has_its_derivative(name: str):
    loss = traced(lambda s, k: FUNCTIONS[name](s.log_prob))
    outputs, columns = columns_for(loss, 2000)
    found = loss.differentiated(outputs, columns, {})
    close(found, by_autograd(loss, outputs, columns, {}), SMOOTH)
    expected = value_at(loss, outputs.astype(np.float64), columns, {}).mean()
    assert loss.mean(outputs, columns, {}) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("function", "at", "slope"),
    [
        (lambda x: minimum(x, 3 * x), 0.0, 1.0), (lambda x: minimum(3 * x, x), 0.0, 3.0),
        (lambda x: maximum(x, 3 * x), 0.0, 1.0), (lambda x: maximum(3 * x, x), 0.0, 3.0),
        (lambda x: minimum(x, 2.0), 2.0, 1.0), (lambda x: minimum(2.0, x), 2.0, 0.0),
        (lambda x: clip(x, -1, 1), 1.0, 1.0), (lambda x: clip(x, -1, 1), -1.0, 1.0),
        (lambda x: clip(x, -1, 1), 1.0001, 0.0), (lambda x: clip(x, -1, 1), -1.0001, 0.0),
        (abs, 0.0, 0.0), (absolute, 0.0, 0.0), (abs, -2.0, -1.0), (abs, 2.0, 1.0),
    ],
)  # fmt: skip
def test_the_derivative_at_a_kink_is_the_stated_one_in_both_engines(
    function: Callable[[Any], Any], at: float, slope: float
):
    loss = traced(lambda s, k: function(s.log_prob))
    outputs = np.array([[at], [0], [0]], np.float32)
    columns = np.zeros((0, 1), np.float32)
    assert loss.differentiated(outputs, columns, {})[0, 0] == slope
    assert by_autograd(loss, outputs, columns, {})[0, 0] == slope


def test_what_is_stopped_is_constant_in_both_engines():
    loss = traced(lambda s, k: stop_gradient(exp(s.log_prob)) * s.log_prob)
    outputs, columns = columns_for(loss, 100)
    found = loss.differentiated(outputs, columns, {})
    close(found[0], np.exp(outputs[0].astype(np.float64)), SMOOTH)
    close(found, by_autograd(loss, outputs, columns, {}), SMOOTH)
    assert "log_prob" not in traced(lambda s, k: stop_gradient(s.log_prob) + s.value).outputs


def test_only_the_three_outputs_have_derivatives():
    loss = traced(lambda s, k: s.advantage * s.old_log_prob * k.a + s.entropy * s.target)
    assert loss.outputs == ("entropy",)
    assert loss.columns == ("advantage", "old_log_prob", "target")
    assert loss.coefficients == ("a",)


def test_which_networks_may_be_updated_apart_follows_from_the_graph():
    assert all(algorithm.traced_loss.separates for algorithm in VARIANTS.values())
    mixed = traced(lambda s, k: -(s.target - s.value) * s.log_prob)
    assert not mixed.separates
    assert traced(lambda s, k: -(s.target - stop_gradient(s.value)) * s.log_prob).separates is False
    assert traced(lambda s, k: -s.advantage * s.log_prob + (s.value - s.target) ** 2).separates


def test_losses_of_one_graph_have_one_digest():
    a = traced(lambda s, k: -s.advantage * s.log_prob)

    def same(s: Any, k: Any) -> Any:
        weight = -s.advantage
        return weight * s.log_prob

    assert a.digest == traced(same).digest
    assert a.digest != traced(lambda s, k: -2 * s.advantage * s.log_prob).digest


# ---- what is refused, with the line and what to write instead


def refused(function: Any, message: str, **options: Any) -> str:
    with pytest.raises(pg.LossError, match=message) as caught:
        traced(function, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, k: s.log_prob if s.advantage > 0 else s.value, r"where\(condition, a, b\)"),
        (lambda s, k: s.log_prob if k.beta else s.value, r"where\(condition, a, b\)"),
        (lambda s, k: (s.log_prob > 0 and s.value > 0) * s.value, "instead of `and`"),
        (lambda s, k: min(s.log_prob, s.value), r"minimum\(a, b\)"),
        (lambda s, k: max(s.log_prob, 0.0), r"maximum\(a, b\)"),
        (lambda s, k: where(0 < s.log_prob < 1, 1.0, 0.0), "a < b < c"),
        (lambda s, k: s.log_prob == 1, "instead of == and !="),
        (lambda s, k: s.log_prob != 1, "instead of == and !="),
        (lambda s, k: math.exp(s.log_prob), r"instead of float\(\)"),
        (lambda s, k: float(s.log_prob), r"instead of float\(\)"),
        (lambda s, k: int(s.log_prob), r"instead of float\(\)"),
        (lambda s, k: round(s.log_prob), r"instead of float\(\)"),
        (lambda s, k: np.exp(s.log_prob), "numpy.exp .* use exp of policygrad.losses"),
        (lambda s, k: np.minimum(s.log_prob, 1), "numpy.minimum .* use minimum of policygrad.losses"),
        (lambda s, k: np.clip(s.log_prob, 0, 1), "numpy.clip .* use clip of policygrad.losses"),
        (lambda s, k: np.where(s.log_prob > 0, 1, 2), "numpy.where .* use where of policygrad.losses"),
        (lambda s, k: torch.exp(s.log_prob), "torch's exp .* use exp of policygrad.losses"),
        (lambda s, k: torch.clamp(s.log_prob, 0, 1), "torch's clamp .* use clip of policygrad.losses"),
        (lambda s, k: torch.ones(3) * s.log_prob, "torch's mul"),
        (lambda s, k: s.log_prob.clamp(0, 1), "no attribute 'clamp': use clip of policygrad.losses"),
        (lambda s, k: s.log_prob.detach(), "no attribute 'detach': use stop_gradient"),
        (lambda s, k: s.log_prob.mean(), "no attribute 'mean'"),
        (lambda s, k: s.log_prob[0], "no items to index or iterate over"),
        (lambda s, k: sum(s.log_prob), "no items to index or iterate over"),
        (lambda s, k: len(s.log_prob), "no items to index or iterate over"),
        (lambda s, k: s.log_prob**s.value, r"write x\*\*y as exp\(y \* log\(x\)\)"),
        (lambda s, k: 2**s.value, r"write 2\*\*x as exp"),
        (lambda s, k: s.log_prob % 2, "% and @|%, // and @"),
        (lambda s, k: s.log_prob // 2, "%, // and @"),
        (lambda s, k: (s.log_prob > 0) * s.value, "a condition is not a number"),
        (lambda s, k: where(s.log_prob, 1.0, 2.0), "need a condition"),
        (lambda s, k: s.log_prob > 0, "a number; got a condition"),
        (lambda s, k: 1.0, "returns the loss of one sample, a number; got 1.0"),
        (lambda s, k: None, "got None"),
        (lambda s, k: s.log_prob + np.ones(3), "cannot contain ndarray"),
        (lambda s, k: s.log_prob + "a", "cannot contain str"),
        (lambda s, k: s.log_prob + True, "True and False are not numbers"),
        (lambda s, k: s.kl, r"estimate KL\(π_old ‖ π\) by exp\(x\) − 1 − x"),
        (lambda s, k: s.log_prob + undefined, "NameError"),  # type: ignore[name-defined]  # noqa: F821
        (lambda s: s.log_prob, r"takes a sample and coefficients, as in `def loss\(s, k\)`"),
        (3, "a loss is a function"),
    ],
)
def test_what_cannot_be_traced_says_what_to_write(function: Any, message: str):
    words = refused(function, message)
    if callable(function):
        assert "test_losses.py" in words


def test_the_line_of_a_fault_is_named():
    def helper(x: Any) -> Any:
        return x if x > 0 else -x  # the line

    def loss(s: Any, k: Any) -> Any:
        return helper(s.log_prob)

    assert "return x if x > 0 else -x  # the line`" in refused(loss, "where")


def test_a_loss_typed_in_is_traced_and_compiled():
    names: dict[str, Any] = {}
    exec("from policygrad.losses import exp\ndef loss(s, k): return -exp(s.log_prob) * s.advantage", names)
    run = pg.train("CartPole-v1", pg.Reinforce(loss=names["loss"]), steps=500, select=False)
    assert math.isfinite(run.updates.latest["loss"])
    exec("def bad(s, k):\n  return s.advantage if s.value else 0", names)
    assert "<string>:2" in refused(names["bad"], "where")


# ---- a loss of one's own


def spo(s: Any, k: Any) -> Any:
    """Simple policy optimization: Xie et al. 2024."""
    ratio = exp(s.log_prob - s.old_log_prob)
    surrogate = ratio * s.advantage - abs(s.advantage) / (2 * k.epsilon) * (ratio - 1) ** 2
    return -surrogate + k.value_coef * (s.value - s.target) ** 2 / 2


POLICY_ONLY = {
    "reinforce": pg.Reinforce, "npg": pg.NaturalGradient, "trpo": pg.TRPO,
}  # fmt: skip


def own(s: Any, k: Any) -> Any:
    return -k.beta * s.advantage * exp(s.log_prob - s.old_log_prob) - 0.01 * s.entropy


def mixed(s: Any, k: Any) -> Any:
    return (s.value - s.target) * s.log_prob * where(s.entropy > 0.5, 1.0, 0.5) + s.value**2


def own_with_value(s: Any, k: Any) -> Any:
    return own(s, k) + absolute(s.value - s.target)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_every_algorithm_takes_a_loss(name: str, engine: Any):
    loss = own if name in POLICY_ONLY else own_with_value
    algorithm = ALGORITHMS[name](loss=loss, coefficients={"beta": pg.linear(1.0, 0.5)})  # type: ignore[call-arg]
    options: dict[str, Any] = {"steps": 300, "num_envs": 4, "engine": engine, "select": False}
    mine, usual = (pg.train("CartPole-v1", a, **options).last_policy for a in (algorithm, ALGORITHMS[name]()))
    assert any(not torch.equal(w, usual.state_dict()[key]) for key, w in mine.state_dict().items())


@pytest.mark.parametrize("name", ["spo", "own_with_value", "mixed"])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_engines_find_the_gradient_of_the_mean_loss(name: str, weighted: bool):
    """And torch finds it too, of the function itself and the networks as they are."""
    function = {"spo": spo, "own_with_value": own_with_value, "mixed": mixed}[name]
    loss = traced(function)
    coefficients = {"epsilon": 0.2, "value_coef": 0.7, "beta": 0.3}
    rng, B = np.random.default_rng(0), 700
    space = gym.spaces.Box(-np.inf, np.inf, (3,))
    policy = pg.Policy(pg.DiscretePolicy(3, 2, (8,), rng=rng), space, gym.spaces.Discrete(2))
    value = pg.ValueNetwork(3, (8,), rng=rng)
    x, action = rng.normal(size=(B, 3)).astype(np.float32), rng.integers(0, 2, B)
    columns = {column: rng.normal(size=B).astype(np.float32) for column in loss.columns}
    weight = rng.uniform(0, 2, B).astype(np.float32) if weighted else None
    batch = Batch(Inputs(x), action, columns, weight=weight)
    found = [
        make_engine(policy, value, "sgd", engine).gradient(batch, loss, coefficients) for engine in ENGINES
    ]
    outputs = policy(Inputs(torch.from_numpy(x)))
    tensors = {
        "log_prob": policy.distribution.log_prob(outputs, torch.from_numpy(action)),
        "entropy": policy.distribution.entropy(outputs),
        "value": value(torch.from_numpy(x)).reshape(B),
        **{column: torch.from_numpy(numbers) for column, numbers in columns.items()},
    }
    weights = torch.ones(B) if weight is None else torch.from_numpy(weight)
    mean = (weights * loss.of_tensors(tensors, coefficients)).sum() / weights.sum()
    parameters = [list(policy.parameters()), list(value.parameters())]
    for i in range(2):
        slopes = torch.autograd.grad(mean, parameters[i], retain_graph=True)
        expected = torch.cat([slope.reshape(-1) for slope in slopes]).numpy()
        for gradient in found:
            assert gradient[i] == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("engine_name", ["fused", "autograd"])
@pytest.mark.parametrize("minibatched", [False, True])
def test_segments_do_not_change_the_gradient_of_networks_without_memory(engine_name: Any, minibatched: bool):
    """L = 1 and L = 8: the same samples, the same steps."""
    rng, B = np.random.default_rng(1), 8 * 150
    space = gym.spaces.Box(-np.inf, np.inf, (3,))
    x, action = rng.normal(size=(B, 3)).astype(np.float32), rng.integers(0, 2, B)
    weight = rng.integers(0, 2, B).astype(np.float32)
    algorithm = pg.A2C(entropy_coef=0.1)
    columns = {name: rng.normal(size=B).astype(np.float32) for name in ("advantage", "target")}
    found = []
    for length in (1, 8):
        make = np.random.default_rng(2)
        policy = pg.Policy(pg.DiscretePolicy(3, 2, (8,), rng=make), space, gym.spaces.Discrete(2))
        value = pg.ValueNetwork(3, (8,), rng=make)
        engine = make_engine(policy, value, "adam", engine_name)
        batch = Batch(Inputs(x), action, columns, length, weight)
        minibatches = None
        if minibatched:
            segments = np.random.default_rng(3).permutation(B // 8)
            rows = segments if length == 8 else (segments[:, None] * 8 + np.arange(8)).ravel()
            minibatches = Minibatches(rows, np.array([0, 40, 90, 150]) * (1 if length == 8 else 8))
        step, k = Step(0.01, 0.01, 0.5), algorithm.coefficient_values(0.0)
        outputs = engine.update(Update(batch, algorithm.traced_loss, k, step, minibatches))
        found.append((outputs, policy.state_dict(), value.state_dict()))
    assert found[0][0].matrix == pytest.approx(found[1][0].matrix, abs=1e-6)
    for i in (1, 2):
        for key, weights in found[0][i].items():
            torch.testing.assert_close(weights, found[1][i][key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_ppos_own_loss_written_again_gives_the_same_bits(engine: Any):
    def again(s: Any, k: Any) -> Any:
        ratio = exp(s.log_prob - s.old_log_prob)
        surrogate = minimum(ratio * s.advantage, clip(ratio, 1 - k.clip, 1 + k.clip) * s.advantage)
        near = s.old_value + clip(s.value - s.old_value, -k.value_clip, k.value_clip)
        value_loss = maximum((s.value - s.target) ** 2, (near - s.target) ** 2) / 2
        penalty = k.kl_penalty * (ratio - 1 - (s.log_prob - s.old_log_prob))
        return -surrogate + penalty - k.entropy_coef * s.entropy + k.value_coef * value_loss

    options: dict[str, Any] = {"horizon": 32, "epochs": 2, "entropy_coef": 0.01}
    runs = [
        pg.train("CartPole-v1", pg.PPO(**options, **more), steps=800, engine=engine, select=False)
        for more in ({}, {"loss": again})
    ]
    first, second = (run.last_policy.state_dict() for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert loss_of(pg.PPO(loss=again)).digest == loss_of("ppo").digest


def test_coefficients_are_scheduled_by_their_names():
    algorithm = pg.PPO(loss=spo, coefficients={"epsilon": pg.linear(0.4, 0.2)}, value_coef=0.7)
    assert algorithm.coefficient_values(0.5) == pytest.approx({"epsilon": 0.3, "value_coef": 0.7})
    assert pg.PPO(clip=0.2, clip_end=0.0).coefficient_values(0.25)["clip"] == pytest.approx(0.15)
    assert pg.PPO(clip=None, kl_penalty=1.0).coefficient_values(0.0)["clip"] == math.inf
    assert pg.PPO().coefficient_values(0.0, kl_penalty=3.0)["kl_penalty"] == 3.0


def test_columns_of_ones_own_are_computed_from_the_batch():
    seen = []

    def positive_share(columns: Any) -> float:
        seen.append({name: column.copy() for name, column in columns.items()})
        return float((columns["advantage"] > 0).mean())

    def loss(s: Any, k: Any) -> Any:
        good = where(s.advantage > 0, s.log_prob / s.positive_share, 0.0)
        return -good + k.value_coef * (s.value - s.target) ** 2 / 2

    algorithm = pg.PPO(
        loss=loss,
        columns={"positive_share": positive_share},
        horizon=16,
        epochs=3,
        normalize_advantages="batch",
    )
    pg.train("CartPole-v1", algorithm, steps=256, num_envs=4, select=False)
    assert set(seen[0]) == {"advantage", "target", "old_log_prob", "old_value"}
    assert seen[0]["advantage"].mean() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: pg.PPO(loss=lambda s, k: s.value), pg.LossError, r"losses.py:\d+\) does not depend on s.log_prob"),
        (lambda: pg.PPO(loss=lambda s, k: -s.log_prob), pg.LossError, r"no term for V\(s\)"),
        (lambda: pg.PPO(loss=own_with_value), pg.LossError, r"there is no k.beta: .*coefficients=\{'beta': 0.1\}"),
        (lambda: pg.PPO(loss=spo, coefficients={"epsilom": 1}), pg.LossError, "did you mean k.epsilom"),
        (lambda: pg.PPO(loss=lambda s, k: -s.log_prob * s.adventage), pg.LossError, "did you mean s.advantage"),
        (lambda: pg.PPO(coefficients={"beta": 1}), ValueError, "does not read the coefficient 'beta'"),
        (lambda: pg.PPO(columns={"c": len}), ValueError, "does not read the column 'c'"),
        (lambda: pg.PPO(coefficients={"_b": 0.3}), ValueError, "an identifier without _ in front"),
        (lambda: pg.PPO(columns={"a b": len}), ValueError, "an identifier without _ in front"),
        (lambda: pg.Reinforce(coefficients={"policy_scale": 3.0}), ValueError, "policy_scale is computed by Reinforce"),
        (
            lambda: pg.Reinforce(loss=lambda s, k: -s.log_prob * s.advantage, average="episodes"),
            ValueError,
            "average='episodes' would be ignored",
        ),
        (lambda: pg.PPO(coefficients={"clip": 0.3}), ValueError, "clip is a field of PPO: give clip=0.3"),
        (lambda: pg.PPO(columns={"advantage": len}), ValueError, "there already"),
        (lambda: pg.PPO(coefficients={"b": "x"}), ValueError, "must be a number, or linear"),
        (lambda: pg.PPO(coefficients={"b": math.nan}), ValueError, "must be a number, or linear"),
        (lambda: pg.PPO(coefficients=3), TypeError, "coefficients must be a dict"),
        (lambda: pg.PPO(loss=spo, coefficients={"epsilon": 1}, clip=0.3), ValueError, "clip=0.3 would be ignored"),
        (lambda: pg.PPO(loss=spo, coefficients={"epsilon": 1}, clip_end=0.1), ValueError, "clip_end=0.1 would be"),
        (
            lambda: pg.Reinforce(baseline="time", loss=lambda s, k: -s.log_prob * s.old_value),
            pg.LossError,
            r"s.old_value: with baseline='time' no V\(s\) is learned",
        ),
        (lambda: pg.TRPO(loss=lambda s, k: -s.log_prob * s.value), pg.LossError, r"the policy's alone"),
        (lambda: pg.TRPO(derivatives=lambda s, k: (-1, 0, 0)), ValueError, "line search needs the loss's value"),
        (lambda: pg.ActorCritic(loss=own_with_value, coefficients={"beta": 1}, value_trace=0.5), ValueError, "traces"),
        (lambda: pg.PPO(loss=spo, derivatives=lambda s, k: (1, 1, 1)), Exception, "give one of them"),
        (lambda: pg.PPO(loss="ppo"), pg.LossError, "a loss is a function"),
        (lambda: pg.linear(1.0, math.inf), ValueError, "end must be a finite number"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_a_loss_is_refused(
    make: Callable[[], Any], kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        make()


def test_a_column_of_the_wrong_shape_or_not_finite_is_refused():
    def loss(s: Any, k: Any) -> Any:
        return -s.log_prob * s.c

    for function, kind, message in (
        (lambda columns: np.ones(3), ValueError, r"column c has shape \(3,\)"),
        (lambda columns: math.nan, pg.NonFiniteError, "column c has"),
    ):
        with pytest.raises(kind, match=message):
            pg.train("CartPole-v1", pg.Reinforce(loss=loss, columns={"c": function}), steps=100, select=False)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_derivatives_by_hand(engine: Any):
    """For what the vocabulary lacks: compiled by Numba, with the columns and coefficients that it names."""

    def by_hand(s: Any, k: Any) -> Any:
        trust = 1.0 if s.advantage > 0 else k.bad_news
        return -trust * s.advantage, -k.entropy_coef, k.value_coef * (s.value - s.target)

    def written(s: Any, k: Any) -> Any:
        trust = where(s.advantage > 0, 1.0, k.bad_news)
        value_loss = k.value_coef * (s.value - s.target) ** 2 / 2
        return -trust * s.advantage * s.log_prob - k.entropy_coef * s.entropy + value_loss

    runs = [
        pg.train(
            "CartPole-v1",
            pg.A2C(coefficients={"bad_news": 0.3}, entropy_coef=0.01, **more),
            steps=800,
            engine=engine,
            select=False,
        )
        for more in ({"derivatives": by_hand}, {"loss": written})
    ]
    for run in runs:
        assert ("loss" in run.updates.latest) == (run is runs[1])
    first, second = (run.last_policy.state_dict() for run in runs)
    for key, weight in first.items():
        torch.testing.assert_close(weight, second[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_loss_in_which_the_networks_meet_sees_both_wherever_one_is_stepped(engine: Any):
    """The policy's slope depends on V(s): it is computed also where REINFORCE steps the policy alone."""

    def mixed(s: Any, k: Any) -> Any:
        return -(s.target - stop_gradient(s.value)) * s.log_prob

    def plain(s: Any, k: Any) -> Any:
        return -(s.target - s.old_value) * s.log_prob

    options: dict[str, Any] = {"steps": 400, "engine": engine, "select": False, "seed": 3}
    runs = [
        pg.train("CartPole-v1", pg.Reinforce(loss=loss, value_steps=1), **options) for loss in (mixed, plain)
    ]
    # of the first update only: from then on V(s), which `mixed` sees after its step, is another one
    for run in runs:
        assert run.updates.latest["loss"] != 0.0
    assert not runs[0].last_policy.state_dict().keys() ^ runs[1].last_policy.state_dict().keys()


def test_a_subclass_brings_its_own_loss_and_coefficients():
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True)
    class Optimist(pg.A2C):
        loss: Any = own_with_value
        beta: float = 0.5

    algorithm = Optimist()
    assert algorithm.has_own_loss
    assert "own_with_value" in algorithm.describe_loss()["loss"]
    with pytest.raises(ValueError, match=r"entropy_coef=0\.3 would be ignored"):
        Optimist(entropy_coef=0.3)
    assert algorithm.coefficient_values(0.0) == {"beta": 0.5}
    assert replace(algorithm, beta=0.25).coefficient_values(0.0) == {"beta": 0.25}


@pytest.mark.parametrize("name", ["loss", "derivatives", "columns"])
def test_what_a_subclass_does_not_declare_as_a_field_is_refused(name: str):
    with pytest.raises(TypeError, match=rf"Sub.{name} would be ignored, because it is not a field"):
        type("Sub", (pg.A2C,), {name: lambda self, s, k: None})


def test_reinforce_with_derivatives_by_hand_still_learns_v():
    algorithm = pg.Reinforce(derivatives=lambda s, k: (-s.advantage, 0.0, 0.0))
    written = pg.Reinforce(loss=lambda s, k: -s.advantage * s.log_prob)
    runs = [pg.train("CartPole-v1", a, steps=500, select=False) for a in (algorithm, written)]
    for run in runs:
        assert run.updates.latest["value_grad_norm"] > 0
    assert runs[0].updates.latest["value_loss"] == pytest.approx(
        runs[1].updates.latest["value_loss"], rel=1e-3
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, k: (-s.advantge, 0.0, s.value), "did you mean s.advantage"),
        (lambda s, k: (-s.advantage, 0.0), "return three numbers"),
        (lambda s, k: (0.0, 0.0, s.value - s.target), "does not depend on s.log_prob"),
        (lambda s, k: (-s.advantage, 0.0, 0.0), r"no term for V\(s\)"),
        (lambda s, k: (-s.advantage * k.trust, 0.0, s.value), "there is no k.trust"),
        (lambda s, k: (-s.nothing, 0.0, s.value), "there is no s.nothing"),
        (lambda s, k: (-np.ones(3), 0.0, s.value), "return three numbers"),
        (lambda s, k: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_derivatives_by_hand_are_tried_first(function: Any, message: str):
    with pytest.raises(pg.LossError, match=message) as caught:
        pg.A2C(derivatives=function)
    assert "test_losses.py" in str(caught.value)


def test_derivatives_by_hand_that_numba_cannot_compile_say_so():
    def helper(x: float) -> float:
        return 2 * x

    algorithm = pg.A2C(derivatives=lambda s, k: (-helper(s.advantage), 0.0, s.value - s.target))
    with pytest.raises(pg.LossError, match=r"test_losses.py:\d+\): Numba cannot compile these derivatives"):
        pg.train("CartPole-v1", algorithm, steps=50, select=False)
    with pytest.raises(pg.LossError, match="Derivatives by hand are given as derivatives="):
        pg.show(lambda s, k: (-s.advantage, 0.0, 0.0))


def test_derivatives_by_hand_are_told_apart_by_their_constants():
    first, second = (
        pg.A2C(derivatives=function).traced_loss.digest
        for function in (
            lambda s, k: (-0.5 * s.advantage, 0.0, s.value),
            lambda s, k: (-0.7 * s.advantage, 0.0, s.value),
        )
    )
    assert first != second


SCALE = 1.0


def test_a_global_that_changes_after_the_configuration_is_noticed():
    global SCALE
    algorithm = pg.Reinforce(loss=lambda s, k: -SCALE * s.advantage * s.log_prob)
    SCALE = 5.0
    try:
        with pytest.raises(pg.LossError, match="computes something else than when Reinforce was made"):
            pg.train("CartPole-v1", algorithm, steps=50)
    finally:
        SCALE = 1.0


def test_the_loss_of_a_policy_that_stopped_at_once_is_that_of_its_outputs():
    settings: dict[str, Any] = {"horizon": 32, "epochs": 3, "entropy_coef": 1.0, "value_coef": 1e-12}
    run = pg.train(
        "Pendulum-v1", pg.PPO(**settings, target_kl=1e-12, learning_rate=1e-5), steps=256, select=False
    )
    latest = run.updates.latest
    assert latest["loss"] == pytest.approx(-latest["entropy"], abs=0.05)


def test_columns_are_computed_from_what_there_is_and_change_nothing():
    def loss(s: Any, k: Any) -> Any:
        return -s.c * s.advantage * s.log_prob + (s.value - s.target) ** 2

    seen = pg.A2C(
        loss=loss, columns={"c": lambda columns: columns["old_value"] * 0 + columns["old_log_prob"] * 0 + 1}
    )
    pg.train("CartPole-v1", seen, steps=80, select=False)
    for function, kind, message in (
        (lambda columns: columns["advantag"], KeyError, "there is no column 'advantag': there are advantage"),
        (lambda columns: columns["advantage"].fill(0.0), ValueError, "read-only"),
    ):
        with pytest.raises(kind, match=message):
            pg.train("CartPole-v1", pg.A2C(loss=loss, columns={"c": function}), steps=80, select=False)


def test_columns_of_later_updates_see_the_policy_that_acted():
    """A2C with V-trace: what was before the first update from the data is the same in each of them."""
    seen: list[dict[str, np.ndarray]] = []

    def column(columns: Any) -> float:
        seen.append({name: columns[name].copy() for name in ("old_log_prob", "old_value")})
        return 1.0

    def loss(s: Any, k: Any) -> Any:
        return -s.c * s.advantage * s.log_prob + k.value_coef * (s.value - s.target) ** 2

    algorithm = pg.A2C(
        loss=loss, columns={"c": column}, estimator="v-trace", updates=3, horizon=8, learning_rate=0.05
    )
    pg.train("CartPole-v1", algorithm, steps=32, num_envs=4, select=False)
    assert len(seen) == 3
    for later in seen[1:]:
        for name, expected in seen[0].items():
            np.testing.assert_allclose(later[name], expected, atol=1e-6)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_coefficients_are_numbers_like_any_other(engine: Any):
    """Conditions, clips and functions of coefficients alone work in both engines."""

    def loss(s: Any, k: Any) -> Any:
        sign = where(~(k.beta > 0.5), 1.0, -1.0)
        scale = where(k.zero > 0, 1 / k.zero, 1.0) + where(k.zero > 0, log(k.zero), 0.0)
        large = exp(where(s.advantage > 0, 100.0, 0.0)) * 1e-43
        return (
            -sign * scale * clip(k.beta, 0.0, 1.0) * s.advantage * s.log_prob * (1 + large) + 0 * s.value**0
        )

    algorithm = pg.Reinforce(loss=loss, coefficients={"beta": 0.25, "zero": 0.0})
    run = pg.train("CartPole-v1", algorithm, steps=300, engine=engine, select=False)
    assert run.ended is None or run.ended == "steps" or math.isfinite(run.updates.latest["loss"])
    assert math.isfinite(run.updates.latest["policy_grad_norm"])


def test_a_deep_loss_is_derived_in_no_time():
    def loss(s: Any, k: Any) -> Any:
        x = s.log_prob
        for _ in range(12):
            x = minimum(x * x, maximum(x, 0.5))
        return x

    assert len(traced(loss).source.splitlines()) < 300


def test_grpo_s_advantages_are_those_of_the_paper():
    """(R_i − mean R) / std R over the episodes, whatever their lengths."""
    rollout = rollout_of([[1.0], [1.0] * 4, [5.0, 5.0]])
    policy = pg.Policy(
        pg.DiscretePolicy(2, 2, (4,), rng=np.random.default_rng(0)),
        gym.spaces.Box(-1, 1, (2,)),
        gym.spaces.Discrete(2),
    )
    algorithm = pg.Reinforce(
        gamma=1.0,
        returns="episode",
        baseline="mean",
        loss=lambda s, k: -s.log_prob * s.advantage / s.episode_length,
    )
    batch = algorithm.batch(rollout, make_engine(policy, None, "sgd", "fused"))
    total = np.array([1.0, 4.0, 10.0])
    expected = (total - total.mean()) / total.std()
    column = np.broadcast_to(expected, rollout.valid.shape)[rollout.valid]
    assert batch.columns["advantage"] == pytest.approx(column, rel=1e-5)
    length = np.broadcast_to([1, 4, 2], rollout.valid.shape)[rollout.valid]
    assert batch.columns["episode_length"].tolist() == length.tolist()


def test_a_renamed_loss_of_the_same_graph_is_resumed(tmp_path: Any):
    def first(s: Any, k: Any) -> Any:
        return -s.advantage * s.log_prob * 2

    def second(s: Any, k: Any) -> Any:
        return -s.advantage * s.log_prob * 2

    options: dict[str, Any] = {"out": tmp_path / "run", "select": False}
    pg.train("CartPole-v1", pg.Reinforce(loss=first), steps=300, **options)
    assert pg.train("CartPole-v1", pg.Reinforce(loss=second), steps=600, resume=True, **options).steps >= 600


def test_old_calls_say_what_to_write():
    x = np.zeros((2, 4), np.float32)
    rng = np.random.default_rng(0)
    policy = pg.Policy(
        pg.DiscretePolicy(4, 2, (4,), rng=rng), gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2)
    )
    for engine in ENGINES:
        engine = make_engine(policy, pg.ValueNetwork(4, (4,), rng=rng), "sgd", engine)  # type: ignore[arg-type]
        for call in (lambda: engine.act(x, x), lambda: engine.values(x), lambda: engine.evaluate(x, x)):  # noqa: B023
            with pytest.raises(TypeError, match=r"write engine\.\w+\(Inputs\(observation\)"):
                call()
    for call in (
        lambda: Batch(x, x[:, 0], {}),
        lambda: policy.choose(x, None),
        lambda: policy(torch.from_numpy(x)),
    ):
        with pytest.raises(TypeError, match=r"Inputs\("):
            call()


def test_another_graph_is_not_resumed(tmp_path: Any):
    def first(s: Any, k: Any) -> Any:
        return -s.advantage * s.log_prob

    def second(s: Any, k: Any) -> Any:
        return -1.5 * s.advantage * s.log_prob

    second.__qualname__ = first.__qualname__
    options: dict[str, Any] = {"out": tmp_path / "run", "select": False}
    pg.train("CartPole-v1", pg.Reinforce(loss=first), steps=300, **options)
    with pytest.raises(ValueError, match="the loss computed something else"):
        pg.train("CartPole-v1", pg.Reinforce(loss=second), steps=600, resume=True, **options)
    run = pg.train("CartPole-v1", pg.Reinforce(loss=first), steps=600, resume=True, **options)
    assert run.steps >= 600


def test_show_prints_equation_graph_and_code(capsys: pytest.CaptureFixture[str]):
    pg.show("ppo")
    found = capsys.readouterr().out
    for part in (
        "equation",
        "x1 = log π − log π_old",
        "exp(x1)",
        "graph",
        "s_advantage",
        "code",
        "result[0, i] = scale *",
    ):
        assert part in found
    pg.show(pg.TRPO)
    assert "L = −exp(log π − log π_old) · A" in capsys.readouterr().out
    pg.show(lambda s, k: (s.value - (s.target - 1)) ** 3 / (2 * k.c))
    assert "L = (V − (G − 1))^3 / (2 · c)" in capsys.readouterr().out


def test_a_loss_is_compiled_once_and_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    import subprocess
    import sys

    code = """
import policygrad as pg
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    pg.train("CartPole-v1", pg.A2C(loss=lambda s, k: -1.25 * s.advantage * s.log_prob + s.value * s.target), steps=100)
print(*(e.data["dispatcher"].py_func.__name__ for _, e in recorder.buffer if e.is_start))
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# ---- on the command line

FILE = """
from policygrad.losses import exp, where


def mine(s, k):
    weight = where(s.advantage > 0, 1.0, k.trust)
    return -weight * s.advantage * s.log_prob + k.value_coef * (s.value - s.target) ** 2 / 2


def share(columns):
    return (columns["advantage"] > 0).mean()


def with_share(s, k):
    return -s.share * s.advantage * s.log_prob + k.value_coef * (s.value - s.target) ** 2 / 2


def by_hand(s, k):
    return -s.advantage, 0.0, k.value_coef * (s.value - s.target)
"""


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--loss", "own_losses:mine", "--coefficient", "trust=0.5"], {"trust": 0.5}),
        (["--loss", "own_losses:mine", "--coefficient", "trust=1:0.25"], {"trust": [1.0, 0.25]}),
        (["--loss", "own_losses:with_share", "--column", "share=own_losses:share"], {}),
        (["--derivatives", "own_losses:by_hand"], {}),
    ],
)
def test_losses_on_the_command_line(
    options: list[str], kept: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_losses.py").write_text(FILE)
    # the preset's own settings of the clip, which this loss does not read, are left out
    quick = ["--steps", "300", "--episodes", "1", "--epochs", "2", "--out", "run"]
    assert main(["train", "CartPole-v1", "--algo", "ppo", *options, *quick]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["algorithm"]
    assert config["loss"] == options[1]
    assert config["coefficients"] == kept
    assert len(config["loss_graph"]) == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "own_losses:mine"], "there is no k.trust"),
        (["--loss", "own_losses:nothing"], "--loss own_losses:nothing"),
        (["--loss", "own_losses"], "expected module:name"),
        (["--loss", "own_losses:mine", "--coefficient", "trust"], "expected name=value"),
        (["--loss", "own_losses:mine", "--coefficient", "trust=a"], "expected a number, or start:end"),
        (
            ["--loss", "own_losses:mine", "--coefficient", "trust=1", "--clip", "0.3"],
            "--clip=0.3 would be ignored",
        ),
        (["--coefficient", "trust=1"], "does not read the coefficient 'trust'"),
    ],
)
def test_wrong_losses_on_the_command_line(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_losses.py").write_text(FILE)
    assert main(["train", "CartPole-v1", "--algo", "ppo", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_loss_is_shown_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_losses.py").write_text(FILE)
    assert main(["loss", "own_losses:mine"]) == 0
    assert "where(A > 0, 1, trust)" in capsys.readouterr().out
    assert main(["loss", "trpo"]) == 0
    assert "L = −exp(log π − log π_old) · A" in capsys.readouterr().out
    assert main(["loss", "ppoo"]) == 2


def test_names_that_are_gone_say_what_to_write():
    from policygrad.algorithms import ppo

    for get, message in (
        (lambda: ppo.cotangents, "write ppo_loss"),
        (lambda: pg.types.Cotangents, "LossFunction"),
        (lambda: pg.policies.StandardPolicy, "write PerceptronPolicy"),
    ):
        with pytest.raises(AttributeError, match=message):
            get()
    for name in ("cotangents", "coefficients"):
        with pytest.raises(TypeError, match=rf"Mine has {name}\(...\), which is not called any more"):
            type("Mine", (pg.PPO,), {name: lambda self: None})
