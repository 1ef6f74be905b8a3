"""The later steps of PPO against the exact gradient of its surrogate, summed over states and actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.envs.textbook import random_mdp
from policygrad.policies import DiscretePolicy, Policy, ValueNetwork, flat_parameters
from policygrad.proof import solve
from policygrad.types import Batch, Inputs

CLIP, ENTROPY, PENALTY = 0.2, 0.1, 0.3


def surrogate(log_prob: Tensor, old: Tensor, weight: Tensor, advantage: Tensor) -> Tensor:
    """Return Σ_s d(s) (Σ_a π_old min(r A, clip(r) A) + β H − κ KL(π_old ‖ π)), Schulman et al. 2017, eq. 7 and 8."""
    ratio = (log_prob - old).exp()
    clipped = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
    entropy = -(log_prob.exp() * log_prob).sum(1)
    divergence = (old.exp() * (old - log_prob)).sum(1)
    return (weight * ((old.exp() * clipped).sum(1) + ENTROPY * entropy - PENALTY * divergence)).sum()


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("hidden", [(), (5,)])
def test_later_steps_of_ppo_follow_the_exact_gradient_of_the_surrogate(hidden: tuple[int, ...], engine: Any):
    mdp, rng = random_mdp(), np.random.default_rng(0)
    network = DiscretePolicy(5, 3, hidden, activation="tanh", rng=rng)
    policy = Policy(network, mdp.observation_space, mdp.action_space)
    chosen = make_engine(policy, ValueNetwork(5, (), rng=rng), "sgd", engine)
    before = solve(mdp, policy, 0.9)
    S, A = before.probabilities.shape
    # every state and action once, with the probability that the old policy gives to it
    inputs = Inputs(policy.encode(np.repeat(np.arange(S), A)))
    action = np.tile(np.arange(A), S)
    old_log_prob, _ = chosen.evaluate(inputs, action)
    weight = before.state_distribution[:, None] * before.probabilities
    columns = {
        "advantage": before.advantage.reshape(-1).astype(np.float32),
        "old_log_prob": old_log_prob,
        "target": np.zeros(S * A, np.float32),
        "old_value": np.zeros(S * A, np.float32),
    }
    algorithm = pg.PPO(clip=CLIP, entropy_coef=ENTROPY, kl_penalty=PENALTY)
    coefficients = algorithm.coefficient_values(0.0, kl_penalty=PENALTY)
    shares, clipped = [], 0
    for step in range(3):
        moved = solve(mdp, policy, 0.9)
        ratio = moved.probabilities / before.probabilities
        clipped += int((np.abs(ratio - 1) > CLIP).sum())
        batch = Batch(inputs, action, columns, weight=weight.reshape(-1).astype(np.float32))
        gradient = -chosen.gradient(batch, algorithm.traced_loss, coefficients)[0]
        numbers = (before.log_prob.detach(), before.state_distribution, before.advantage)
        old, d, advantage = (torch.as_tensor(x) for x in numbers)
        exact = torch.autograd.grad(
            surrogate(moved.log_prob, old, d, advantage), moved.parameters, allow_unused=True
        )
        expected = torch.cat([g.reshape(-1) for g in exact if g is not None]).numpy()
        np.testing.assert_allclose(gradient, expected, atol=2e-6)
        shares.append(np.linalg.norm(expected))
        # far enough that some ratios are clipped
        with torch.no_grad():
            flat_parameters(network).add_(torch.from_numpy(gradient) * (2.0 if step == 0 else 0.5))
    assert clipped > 0
    assert min(shares) > 1e-3
