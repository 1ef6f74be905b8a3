"""A small decision process with a fixed softmax policy, all of its episodes, and its exact gradient and values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from policygrad._support.isolation import in_ordinary_torch
from policygrad.envs.textbook import FiniteMDP, three_states
from policygrad.proof.exact import trajectories
from policygrad.proof.solution import Solution, TimeLimit
from policygrad.types import F64, Array, Bool

LOGITS = np.array([[0.3, -0.5], [-0.2, 0.6], [0.0, 0.0]])
"""[S, A]: logits of the policy. The last state is terminal."""
GAMMA = 0.8
"""Discount."""


@dataclass(frozen=True)
class Episodes:
    """All M episodes that can happen, with rows of up to T steps. Steps that do not exist are 0 and not `active`."""

    states: Array
    """[M, T + 1] int64: s_0 … s_T."""
    actions: Array
    """[M, T] int64."""
    rewards: F64
    """[M, T]."""
    active: Bool
    """[M, T]: True if the step exists."""
    probability: F64
    """[M]: probability of the episode under the policy."""

    @property
    def lengths(self) -> Array:
        """[M] int64: number of steps."""
        return self.active.sum(1)


@dataclass(frozen=True)
class TinyProblem:
    """`three_states` with a time limit, and the softmax policy of `LOGITS`."""

    horizon: int
    """Number of steps after which an episode is truncated."""

    @cached_property
    def mdp(self) -> FiniteMDP:
        """The decision process."""
        return three_states(self.horizon)

    @cached_property
    def probabilities(self) -> F64:
        """π(a|s), [S, A]."""
        weight = np.exp(LOGITS)
        return weight / weight.sum(-1, keepdims=True)

    @cached_property
    def scores(self) -> F64:
        """∇ log π(a|s) with respect to the logits, [S, A, S · A]."""
        S, A = LOGITS.shape
        found = np.zeros((S, A, S, A))
        for s in range(S):
            found[s, :, s] = np.eye(A) - self.probabilities[s]
        return found.reshape(S, A, S * A)

    @cached_property
    def episodes(self) -> Episodes:
        """All episodes that can happen."""
        every = list(trajectories(self.mdp))
        M, T = len(every), self.horizon
        states, actions = np.zeros((M, T + 1), np.int64), np.zeros((M, T), np.int64)
        rewards, active, probability = np.zeros((M, T)), np.zeros((M, T), bool), np.zeros(M)
        for i, (visited, chosen, paid, chance) in enumerate(every):
            n = len(chosen)
            states[i, : n + 1], actions[i, :n], rewards[i, :n], active[i, :n] = visited, chosen, paid, True
            probability[i] = chance * np.prod(self.probabilities[visited[:-1], chosen])
        return Episodes(states, actions, rewards, active, probability)

    @in_ordinary_torch
    def solution(self, time_limit: TimeLimit) -> Solution:
        """Return the exact quantities of the policy; the only parameters are the logits [S, A]."""
        logits = torch.tensor(LOGITS, dtype=torch.float64, device="cpu", requires_grad=True)
        with torch.enable_grad():
            log_prob = torch.log_softmax(logits, -1)
        return Solution(self.mdp, GAMMA, time_limit, log_prob, np.ones(LOGITS.shape[1]), (logits,))

    @cached_property
    def gradient(self) -> F64:
        """∇J of the rewards up to the time limit, [S · A]."""
        return self.solution("termination").gradient

    def expected_gradient(self, weight: F64) -> F64:
        """Return Σ_m p_m Σ_t weight_mt ∇ log π(a_mt|s_mt), [S · A], for weights [M, T]."""
        e = self.episodes
        score = self.scores[e.states[:, :-1], e.actions]
        return np.einsum("m,mt,mtp->p", e.probability, weight * e.active, score)


def to_go(rewards: F64, gamma: float) -> F64:
    """Return Σ_{k ≥ t} γ^{k−t} r_k of single episodes [..., T]."""
    found = np.zeros_like(rewards)
    following = np.zeros(rewards.shape[:-1])
    for t in reversed(range(rewards.shape[-1])):
        following = rewards[..., t] + gamma * following
        found[..., t] = following
    return found
