"""Derivatives of losses: of every algorithm, and of every function of the vocabulary."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad import losses
from policygrad.algorithms import ALGORITHMS, WithLoss
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

SAMPLES = 100_000
SMOOTH = 1e-6
"""Largest relative error of a derivative where the loss is smooth."""
BELOW, ABOVE = 1 - 1e-3, 1 + 1e-3


def columns_for(loss: Loss, B: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return random (outputs, columns) of B samples; the old log π and the old V(s) are near the current ones."""
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
    """Return the derivatives [3, B] of the function, by torch in float64."""
    tensors = [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in outputs]
    sample = dict(zip(OUTPUTS, tensors, strict=True))
    sample |= {
        name: torch.tensor(row, dtype=torch.float64) for name, row in zip(loss.columns, columns, strict=True)
    }
    loss.of_tensors(sample, coefficients).sum().backward()
    return np.stack([np.zeros(outputs.shape[1]) if t.grad is None else t.grad.numpy() for t in tensors])


def value_at(loss: Loss, outputs: np.ndarray, columns: np.ndarray, coefficients: dict[str, float]) -> Any:
    """Return the losses [B] of the function, by NumPy in float64."""
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
def test_derivatives_of_each_algorithm_agree_with_autograd_and_differences(name: str):
    """Derived code, autograd of the same function and central differences agree on 100,000 samples."""
    algorithm = VARIANTS[name]
    loss = algorithm.traced_loss
    coefficients = algorithm.coefficient_values(0.0, policy_scale=3.0)
    outputs, columns = columns_for(loss, SAMPLES)
    found = loss.differentiated(outputs, columns, coefficients)
    exact = by_autograd(loss, outputs, columns, coefficients)
    close(found, exact, SMOOTH)
    assert np.abs(found[0]).max() > 0.1
    # a few of the samples may lie within h of a kink
    h = 1e-6
    differences = by_central_differences(loss, outputs, columns, coefficients, h)
    off = np.abs(differences - exact) > 1e-6 * (1 + np.abs(exact)) * 10
    assert off.mean() < 1e-4
    mean = value_at(loss, outputs.astype(np.float64), columns.astype(np.float64), coefficients).mean()
    assert loss.mean(outputs, columns, coefficients) == pytest.approx(mean, rel=1e-12)


def ppo_derivatives(ratio: float, advantage: float, value: float = 0.0, **options: Any) -> np.ndarray:
    """Return the derivatives [3] of PPO's loss for one sample with old_log_prob 0, old_value 0 and target 1."""
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
def test_ppo_on_both_sides_of_its_clip(ratio: float, advantage: float, slope: float):
    assert ppo_derivatives(ratio, advantage)[0] == pytest.approx(slope, rel=2e-3, abs=1e-7)


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        # V_old is 0, G is 1 and the range is 0.25: above 0.25 the clipped value has the larger loss and no slope
        (0.25 * BELOW, -0.75), (0.25 * ABOVE, 0.0), (0.9, 0.0), (-0.25 * BELOW, -1.25), (-0.25 * ABOVE, -1.25),
        (3.0, 2.0), (0.0, -1.0),
    ],
)  # fmt: skip
def test_ppo_on_both_sides_of_its_value_clip(value: float, slope: float):
    assert ppo_derivatives(1.0, 0.0, value, value_clip=0.25)[2] == pytest.approx(slope, rel=2e-3, abs=1e-7)


@pytest.mark.parametrize("penalty", [0.0, 0.5])
@pytest.mark.parametrize(
    ("log_ratio", "advantage", "slope"), [(-2e3, 1.0, 0.0), (-2e3, -1.0, 0.0), (2e3, 1.0, 0.0)]
)
def test_ppo_far_beyond_its_clip(log_ratio: float, advantage: float, slope: float, penalty: float):
    """Ratios that float64 holds as 0 or infinity still have a derivative: that of the penalty, if there is one."""
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


def test_an_infinite_ratio_is_clipped_to_a_derivative_of_0():
    """The derivative of the clipped branch is 0, not 0 times infinity."""
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
def test_each_function_has_the_right_derivative(name: str):
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
def test_the_derivative_at_a_kink_is_as_documented_in_both_engines(
    function: Callable[[Any], Any], at: float, slope: float
):
    loss = traced(lambda s, k: function(s.log_prob))
    outputs = np.array([[at], [0], [0]], np.float32)
    columns = np.zeros((0, 1), np.float32)
    assert loss.differentiated(outputs, columns, {})[0, 0] == slope
    assert by_autograd(loss, outputs, columns, {})[0, 0] == slope


def test_stop_gradient_makes_a_constant_in_both_engines():
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


def test_the_graph_tells_whether_the_networks_can_be_updated_separately():
    assert all(algorithm.traced_loss.separates for algorithm in VARIANTS.values())
    mixed = traced(lambda s, k: -(s.target - s.value) * s.log_prob)
    assert not mixed.separates
    assert traced(lambda s, k: -(s.target - stop_gradient(s.value)) * s.log_prob).separates is False
    assert traced(lambda s, k: -s.advantage * s.log_prob + (s.value - s.target) ** 2).separates


def test_losses_with_the_same_graph_have_the_same_digest():
    a = traced(lambda s, k: -s.advantage * s.log_prob)

    def same(s: Any, k: Any) -> Any:
        weight = -s.advantage
        return weight * s.log_prob

    assert a.digest == traced(same).digest
    assert a.digest != traced(lambda s, k: -2 * s.advantage * s.log_prob).digest


def test_the_source_of_a_deep_loss_stays_short():
    def loss(s: Any, k: Any) -> Any:
        x = s.log_prob
        for _ in range(12):
            x = minimum(x * x, maximum(x, 0.5))
        return x

    assert len(traced(loss).source.splitlines()) < 300


def test_show_prints_the_equation_the_graph_and_the_code(capsys: pytest.CaptureFixture[str]):
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
