"""The derivatives of each algorithm's loss against those of the loss as a textbook writes it, in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.algorithms import A2C, PPO, ActorCritic, Reinforce
from policygrad.algorithms.steps import SQUARED_ERROR
from policygrad.losses import OUTPUTS, Loss


def derivatives_of_mean(
    loss: Loss,
    outputs: np.ndarray,
    columns: dict[str, np.ndarray],
    coefficients: dict[str, float],
    compile_it: bool,
) -> np.ndarray:
    """Return the derivatives [3, B] of the mean loss with respect to log π, H and V.

    They come from the derived machine code, or from torch and the function itself, as in the two engines.
    """
    B = outputs.shape[1]
    if compile_it:
        matrix = np.stack([columns[name] for name in loss.columns])
        return loss.differentiated(outputs, matrix, coefficients, 1 / B)
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in outputs]
    sample = dict(zip(OUTPUTS, tensors, strict=True))
    sample |= {name: torch.from_numpy(columns[name]).double() for name in loss.columns}
    loss.of_tensors(sample, coefficients).mean().backward()
    return np.stack([np.zeros(B) if x.grad is None else x.grad.numpy() for x in tensors])


def check_against_torch(found: np.ndarray, expected: list[torch.Tensor], **tolerances: float) -> None:
    """Compare each row of `found` with the gradient that `backward` has left in a tensor."""
    for ours, theirs in zip(found, expected, strict=True):
        wanted = np.zeros(len(ours)) if theirs.grad is None else theirs.grad.numpy()
        np.testing.assert_allclose(ours, wanted, **tolerances)


@pytest.mark.parametrize("compile_it", [False, True])
@pytest.mark.parametrize("average", ["steps", "episodes"])
@pytest.mark.parametrize("entropy_coef", [0.0, 0.3])
def test_the_loss_of_reinforce(compile_it: bool, average: str, entropy_coef: float):
    rng = np.random.default_rng(0)
    B, episodes = 64, 5
    log_prob, entropy, value, advantage, target = (
        rng.standard_normal(B).astype(np.float32) for _ in range(5)
    )
    algorithm = Reinforce(average=average, entropy_coef=entropy_coef)
    unread = np.full(B, np.nan, np.float32)
    columns = {"advantage": advantage, "target": target, "old_log_prob": unread, "old_value": unread}
    # the policy learns by the loss and V(s) by its squared error; neither reads the columns of the other
    policy = derivatives_of_mean(
        algorithm.traced_loss,
        np.stack([log_prob, entropy, unread]),
        columns,
        algorithm.loss_coefficients(B, episodes, 0.0),
        compile_it,
    )
    assert algorithm.value_loss is SQUARED_ERROR
    outputs = np.stack([unread, unread, value])
    of_value = derivatives_of_mean(SQUARED_ERROR, outputs, columns | {"advantage": unread}, {}, compile_it)

    lp, h, v = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (log_prob, entropy, value))
    A, G = torch.from_numpy(advantage).double(), torch.from_numpy(target).double()
    M = B if average == "steps" else episodes
    loss = -(A * lp).sum() / M - entropy_coef * h.sum() / M + 0.5 * ((v - G) ** 2).mean()
    loss.backward()
    check_against_torch(np.stack([*policy[:2], of_value[2]]), [lp, h, v], rtol=1e-6, atol=1e-6)
    assert not policy[2].any()
    assert not of_value[:2].any()


@pytest.mark.parametrize("compile_it", [False, True])
@pytest.mark.parametrize(
    ("algorithm", "value_coef"),
    [(A2C(entropy_coef=0.3, value_coef=0.25), 0.25), (ActorCritic(entropy_coef=0.3), 1.0)],
    ids=["a2c", "actor-critic"],
)
def test_the_losses_of_a2c_and_actor_critic(compile_it: bool, algorithm: Any, value_coef: float):
    rng = np.random.default_rng(0)
    B = 64
    outputs = rng.standard_normal((3, B)).astype(np.float32)
    advantage, target = rng.standard_normal((2, B)).astype(np.float32)
    unread = np.full(B, np.nan, np.float32)
    columns = {"advantage": advantage, "target": target, "old_log_prob": unread, "old_value": unread}
    found = derivatives_of_mean(
        algorithm.traced_loss, outputs, columns, algorithm.coefficient_values(0.0), compile_it
    )

    lp, h, v = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in outputs)
    A, G = torch.from_numpy(advantage).double(), torch.from_numpy(target).double()
    loss = -(A * lp).mean() - 0.3 * h.mean() + value_coef * 0.5 * ((v - G) ** 2).mean()
    loss.backward()
    check_against_torch(found, [lp, h, v], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("compile_it", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"clip": None, "epochs": 1},
        {"entropy_coef": 0.1, "value_coef": 0.25},
        {"value_clip": 0.3},
        {"kl_penalty": 0.7},
        {"clip": 0.1, "value_clip": 0.1, "kl_penalty": 2.0, "entropy_coef": 0.01},
    ],
)
def test_the_loss_of_ppo(settings: dict[str, Any], compile_it: bool):
    rng = np.random.default_rng(1)
    B, algorithm = 512, PPO(**settings)
    numbers = rng.standard_normal((7, B)).astype(np.float32)
    outputs = numbers[:3]
    columns = {
        "advantage": numbers[3],
        "target": numbers[4],
        "old_log_prob": numbers[0] + 0.3 * numbers[5],
        "old_value": numbers[2] + 0.3 * numbers[6],
    }
    coefficients = algorithm.coefficient_values(0.0, kl_penalty=algorithm.kl_penalty)
    found = derivatives_of_mean(algorithm.traced_loss, outputs, columns, coefficients, compile_it)

    lp, h, v = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in outputs)
    advantage, target, old_lp, old_v = (torch.from_numpy(x).double() for x in columns.values())
    ratio = (lp - old_lp).exp()
    surrogate = ratio * advantage
    if algorithm.clip is not None:
        held = ratio.clamp(1 - algorithm.clip, 1 + algorithm.clip)
        surrogate = torch.min(surrogate, held * advantage)
    error = (v - target) ** 2
    if algorithm.value_clip is not None:
        moved = old_v + (v - old_v).clamp(-algorithm.value_clip, algorithm.value_clip)
        error = torch.max(error, (moved - target) ** 2)
    loss = (
        -surrogate.mean()
        + algorithm.kl_penalty * (ratio - 1 - (lp - old_lp)).mean()
        - algorithm.entropy_coef * h.mean()
        + algorithm.value_coef * 0.5 * error.mean()
    )
    loss.backward()
    check_against_torch(found, [lp, h, v], rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("compile_it", [False, True])
def test_the_loss_of_trpo(compile_it: bool):
    rng = np.random.default_rng(0)
    B = 64
    log_prob, entropy, value, advantage, target, old = (
        rng.standard_normal(B).astype(np.float32) for _ in range(6)
    )
    unread = np.full(B, np.nan, np.float32)
    columns = {"advantage": advantage, "target": unread, "old_log_prob": old, "old_value": unread}
    outputs = np.stack([log_prob, entropy, unread])
    of_policy = derivatives_of_mean(pg.TRPO().traced_loss, outputs, columns, {}, compile_it)
    outputs = np.stack([unread, unread, value])
    of_value = derivatives_of_mean(SQUARED_ERROR, outputs, {"target": target}, {}, compile_it)

    lp, h, v = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (log_prob, entropy, value))
    A, G, lp_old = (torch.from_numpy(x).double() for x in (advantage, target, old))
    loss = -((lp - lp_old).exp() * A).mean() + 0.5 * ((v - G) ** 2).mean() + 0 * h.sum()
    loss.backward()
    check_against_torch(np.stack([*of_policy[:2], of_value[2]]), [lp, h, v], rtol=2e-6, atol=1e-6)
    assert not of_policy[2].any()
    assert not of_value[:2].any()
