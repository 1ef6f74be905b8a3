"""An algorithm's three numbers against automatic differentiation of its loss as the textbook writes it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from policygrad.algorithms import PPO, Reinforce
from policygrad.algorithms.ppo import cotangents as ppo_cotangents
from policygrad.algorithms.reinforce import cotangents
from policygrad.engines.signatures import call_cotangents
from policygrad.types import Sample


@pytest.mark.parametrize("compile_it", [False, True])
@pytest.mark.parametrize("average", ["steps", "episodes"])
@pytest.mark.parametrize("entropy_coef", [0.0, 0.3])
def test_reinforce(compile_it: bool, average: str, entropy_coef: float):
    rng = np.random.default_rng(0)
    B, episodes = 64, 5
    log_prob, entropy, value, advantage, target = (
        rng.standard_normal(B).astype(np.float32) for _ in range(5)
    )
    algorithm = Reinforce(average=average, entropy_coef=entropy_coef)
    w, e, c = (np.full(B, np.nan, np.float32) for _ in range(3))
    function = partial(call_cotangents, cotangents) if compile_it else cotangents
    unread = np.full(B, np.nan, np.float32)
    sample = Sample(log_prob, entropy, value, advantage, target, old_log_prob=unread, old_value=unread)
    function(sample, algorithm.coefficients(B, episodes, 0.0), w, e, c)

    lp, h, v = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (log_prob, entropy, value))
    A, G = torch.from_numpy(advantage).double(), torch.from_numpy(target).double()
    M = B if average == "steps" else episodes
    loss = -(A * lp).sum() / M - entropy_coef * h.sum() / M + 0.5 * ((v - G) ** 2).mean()
    loss.backward()
    for ours, theirs in ((w, lp.grad), (e, h.grad), (c, v.grad)):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6, atol=1e-6)


def test_schedules_are_linear_in_progress():
    algorithm = Reinforce(entropy_coef=1.0, entropy_coef_end=0.0)
    scheduled = [algorithm.coefficients(10, 2, progress)[1] * 10 for progress in (0.0, 0.25, 1.0, 2.0)]
    np.testing.assert_allclose(scheduled, [1.0, 0.75, 0.0, 0.0], atol=1e-7)


def test_an_episode_s_return_is_not_discounted_twice():
    with pytest.raises(ValueError, match="is discounted already"):
        Reinforce(returns="episode", discount_weighting=True)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("gamma", 1.5, r"gamma must be in \[0, 1\]"),
        ("baseline", "media", "baseline must be one of"),
        ("returns", "all", "returns must be one of"),
        ("learning_rate", -1.0, "learning_rate must be positive"),
        ("learning_rate", float("nan"), "learning_rate must be positive"),
        ("learning_rate", None, "learning_rate must be positive"),
        ("learning_rate_end", -1.0, "learning_rate_end must be 0 or more"),
        ("entropy_coef", float("nan"), "entropy_coef must be 0 or more"),
        ("max_grad_norm", 0.0, "max_grad_norm must be positive"),
        ("value_steps", 0, "value_steps must be 1 or more"),
        ("value_steps", True, "value_steps must be 1 or more, a whole number; got True"),
        ("learning_rate", "fast", "learning_rate must be positive and finite; got 'fast'"),
        ("learning_rate", 10**400, "learning_rate must be positive and finite"),
        ("normalize_advantages", "no", "normalize_advantages must be True or False; got 'no'"),
    ],
)
def test_wrong_settings_are_named(field: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        Reinforce(**{field: value})


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
def test_ppo(settings: dict[str, Any], compile_it: bool):
    rng = np.random.default_rng(1)
    B, algorithm = 512, PPO(**settings)
    columns = rng.standard_normal((7, B)).astype(np.float32)
    sample = Sample(*columns)._replace(
        old_log_prob=columns[0] + 0.3 * columns[5], old_value=columns[2] + 0.3 * columns[6]
    )
    w, e, c = (np.full(B, np.nan, np.float32) for _ in range(3))
    function = partial(call_cotangents, ppo_cotangents) if compile_it else ppo_cotangents
    function(sample, algorithm.coefficients(B, 0.0, algorithm.kl_penalty), w, e, c)

    lp, h, v = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in sample[:3])
    advantage, target, old_lp, old_v = (torch.from_numpy(x).double() for x in sample[3:])
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
    for ours, theirs in ((w, lp.grad), (e, h.grad), (c, v.grad)):
        np.testing.assert_allclose(
            ours, np.zeros(B) if theirs is None else theirs.numpy(), rtol=2e-5, atol=1e-7
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": 0.0}, "clip must be positive"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"minibatch_size": 2.5}, "minibatch_size must be 1 or more, a whole number"),
        ({"gae_lambda": 2.0}, r"gae_lambda must be in \[0, 1\]"),
        ({"normalize_advantages": "all"}, "normalize_advantages must be one of"),
        ({"kl_penalty_target": 0.01}, "which is 0: set it to 1"),
        ({"target_kl": -1.0}, "target_kl must be positive"),
    ],
)
def test_wrong_settings_of_ppo_are_named(settings: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        PPO(**settings)
