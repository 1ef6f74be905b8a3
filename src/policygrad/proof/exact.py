"""Exact objectives and gradients, computed from all trajectories, as a reference for estimators."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from policygrad._support.isolation import in_ordinary_torch
from policygrad.envs.textbook import FiniteMDP
from policygrad.policies import Policy
from policygrad.proof.action_sums import in_float64
from policygrad.types import F64


def trajectories(mdp: FiniteMDP) -> Iterator[tuple[list[int], list[int], list[float], float]]:
    """Yield every possible trajectory as (states s_0 … s_T, actions, rewards, chance).

    The chance is the environment's part of the trajectory's probability; multiplied by Π_t π(a_t|s_t), it gives the
    probability under a policy.
    """
    S, A = mdp.transition.shape[:2]
    stack: list[tuple[list[int], list[int], list[float], float]] = [
        ([s], [], [], float(mdp.start[s])) for s in range(S) if mdp.start[s] > 0
    ]
    while stack:
        states, actions, rewards, chance = stack.pop()
        state = states[-1]
        if state in mdp.terminal or len(actions) == mdp.horizon:
            yield states, actions, rewards, chance
            continue
        for a in range(A):
            for following in range(S):
                p = float(mdp.transition[state, a, following])
                if p > 0:
                    reward = float(mdp.reward[state, a, following])
                    stack.append(([*states, following], [*actions, a], [*rewards, reward], chance * p))


def objective(mdp: FiniteMDP, probabilities: Tensor, gamma: float) -> Tensor:
    """Return J(θ) = Σ_τ p(τ) Σ_t γ^t r_t as a differentiable scalar, from π [S, A].

    It does not use the policy gradient theorem, so its derivative is an independent check of the theorem.
    """
    total = probabilities.new_zeros(())
    for states, actions, rewards, chance in trajectories(mdp):
        if actions:
            chosen = probabilities[states[:-1], actions]
            total = total + chance * chosen.prod() * sum(gamma**t * r for t, r in enumerate(rewards))
    return total


@in_ordinary_torch
def exact_gradient(mdp: FiniteMDP, policy: Policy, gamma: float) -> F64:
    """Return ∇J(θ) [P] float64 with respect to the policy's parameters, flat, in `parameters()` order."""
    log_prob, parameters = _log_prob(mdp, policy)
    gradients = torch.autograd.grad(objective(mdp, log_prob.exp(), gamma), parameters)
    return torch.cat([g.reshape(-1) for g in gradients]).numpy()


@in_ordinary_torch
def theorem_gradient(mdp: FiniteMDP, policy: Policy, gamma: float) -> F64:
    """Return Σ_τ p(τ) Σ_t γ^t G_t ∇ log π(a_t|s_t), the right side of the policy gradient theorem.

    See Sutton & Barto (2018), section 13.3; this is the form for the discounted episodic objective.
    """
    log_prob, parameters = _log_prob(mdp, policy)
    weight = np.zeros(mdp.transition.shape[:2])
    probabilities = log_prob.detach().exp().numpy()
    for states, actions, rewards, chance in trajectories(mdp):
        if not actions:
            continue
        p = chance * float(np.prod(probabilities[states[:-1], actions]))
        for t, (s, a) in enumerate(zip(states[:-1], actions, strict=True)):
            weight[s, a] += p * sum(gamma**k * r for k, r in enumerate(rewards) if k >= t)
    # actions that are never taken must contribute 0 even if their log-probability is −inf
    score = torch.autograd.grad(
        (log_prob.masked_fill(torch.from_numpy(weight == 0), 0.0) * torch.from_numpy(weight)).sum(),
        parameters,
    )
    return torch.cat([g.reshape(-1) for g in score]).numpy()


def _log_prob(mdp: FiniteMDP, policy: Policy) -> tuple[Tensor, list[Tensor]]:
    """Return log π(a|s) [S, A] of a copy of the policy that computes in float64, and the copy's parameters."""
    exact, inputs = in_float64(policy, mdp)
    return exact(inputs), list(exact.parameters())
