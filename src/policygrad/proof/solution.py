"""Exact quantities of a policy on a finite MDP, from linear systems in float64.

A policy with probabilities π(a|s) makes a Markov chain of an MDP, in which V is the solution of V = r_π + γ P_π V. J(θ)
is the mean of V over the first states, and ∇J(θ) follows by differentiating the solution with respect to θ. This uses
neither samples nor the policy gradient theorem, so it is a reference for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from policygrad._support.checks import check_choice
from policygrad._support.isolation import in_ordinary_torch
from policygrad.envs.continuous_mdp import ContinuousMDP
from policygrad.envs.finite import FiniteMDP
from policygrad.policies import Policy
from policygrad.proof.action_sums import actions_of, in_float64
from policygrad.types import F64, Bool

TimeLimit = Literal["truncation", "termination"]
"""What the time limit of an MDP means for its value. `truncation`: nothing; the rewards that would have followed belong
to the value. `termination`: the episode is over, and no rewards follow."""


@dataclass(frozen=True)
class Solution:
    """Exact quantities of a policy with P parameters on an MDP with S states and A actions.

    In a terminal state, all of them are 0. With `time_limit="termination"`, V, Q and A are those of the first step.
    """

    mdp: FiniteMDP
    gamma: float
    time_limit: TimeLimit
    log_density: Tensor
    """[S, A] float64: log π(a|s), with the graph that leads to the parameters. For a continuous action, the A actions
    are the nodes of an integral, and π is a density."""
    weight: F64
    """[A]: weight of each action in sums over actions: 1, or that of a node of the integral."""
    parameters: tuple[Tensor, ...]
    """The policy's parameters in float64, in `parameters()` order."""

    @cached_property
    def log_prob(self) -> Tensor:
        """log π(a|s), [S, A] float64, of probabilities that sum to 1, with the graph that leads to the parameters."""
        return self.log_density + torch.from_numpy(np.log(self.weight))

    @cached_property
    def probabilities(self) -> F64:
        """π(a|s), [S, A]; for a continuous action, π(a|s) times the weight of the node."""
        return self.log_prob.detach().exp().numpy()

    @cached_property
    def objective(self) -> float:
        """J(θ) = E[Σ_t γ^t r_t] from the start of an episode."""
        begin = self.mdp.start > 0
        return float(np.dot(self.mdp.start[begin], self.value[begin]))

    @cached_property
    @in_ordinary_torch
    def value(self) -> F64:
        """V(s), [S]."""
        return self._differentiable_value(torch.from_numpy(self.probabilities)).numpy()

    @cached_property
    def action_value(self) -> F64:
        """Q(s, a), [S, A]."""
        mdp = self.mdp
        following = self.value
        if self.time_limit == "termination":
            following = values_by_step(mdp, self.probabilities, self.gamma)[1]
        # a state whose value does not exist matters only where it may follow
        exists = np.isfinite(following)
        found = (mdp.transition * mdp.reward).sum(-1)
        found += self.gamma * mdp.transition @ np.where(exists, following, 0.0)
        found[(mdp.transition[:, :, ~exists] > 0).any(-1)] = np.nan
        return np.where(going_on(mdp)[:, None], found, 0.0)

    @cached_property
    def advantage(self) -> F64:
        """A(s, a) = Q(s, a) − V(s), [S, A]."""
        return self.action_value - self.value[:, None]

    @cached_property
    def visits(self) -> F64:
        """Σ_t γ^t Pr(s_t = s), [S], over the steps that take an action."""
        if self.time_limit == "termination":
            reached = reached_by_step(self.mdp, self.probabilities)
            return np.einsum("t,ts->s", self.gamma ** np.arange(len(reached)), reached)
        return visits(self.mdp, self.probabilities, self.gamma)

    @cached_property
    def state_distribution(self) -> F64:
        """Discounted state distribution: `visits`, scaled to sum to 1, [S]."""
        return self.visits / self.visits.sum()

    @cached_property
    @in_ordinary_torch
    def gradient(self) -> F64:
        """∇J(θ), [P], in `parameters()` order."""
        start, value = torch.from_numpy(self.mdp.start), self._differentiable_value(self.log_prob.exp())
        # where no episode begins, the value need not exist
        begin = start > 0
        return self._gradient_of(start[begin] @ value[begin])

    @cached_property
    @in_ordinary_torch
    def scores(self) -> F64:
        """∇_θ log π(a|s), [S, A, P]; 0 for actions of probability 0."""
        possible = torch.isfinite(self.log_density)
        S, A = self.log_density.shape
        rows = [
            self._gradient_of(self.log_density[s, a])
            if possible[s, a]
            else np.zeros(sum(p.numel() for p in self.parameters))
            for s in range(S)
            for a in range(A)
        ]
        return np.array(rows).reshape(S, A, -1)

    @cached_property
    def fisher(self) -> F64:
        """Fisher matrix E[∇log π ∇log πᵀ], [P, P], with states from the discounted state distribution.

        Kakade 2001, "A natural policy gradient".
        """
        return self.fisher_for(self.state_distribution)

    def fisher_for(self, weight: F64) -> F64:
        """Return the Fisher matrix, [P, P], with states of these weights [S]."""
        joint = weight[:, None] * self.probabilities
        return np.einsum("sa,sai,saj->ij", joint, self.scores, self.scores)

    def natural_gradient(self, damping: float = 0.0) -> F64:
        """Return (F + λI)⁻¹ ∇J(θ), [P], with the damping λ. Without damping, it is the shortest solution."""
        matrix = self.fisher + damping * np.eye(len(self.gradient))
        return np.linalg.lstsq(matrix, self.gradient, rcond=1e-12)[0].astype(np.float64)

    def direction(self, weight: F64, judged: F64) -> F64:
        """Return Σ_s weight(s) Σ_a π(a|s) judged(s, a) ∇log π(a|s), [P].

        With `visits` and `action_value` of `time_limit="truncation"` this is ∇J(θ), by the policy gradient theorem
        (Sutton & Barto 2018, section 13.2). With other weights and advantages, it is the expectation of other
        estimators. States of weight 0 do not count.

        Args:
            weight: [S], or [T, S] for each step separately.
            judged: [S, A], or [T, S, A]: what the score of each action is multiplied by.
        """
        each = weight[..., None] * np.where(weight[..., None] > 0, judged, 0.0)
        summed = each.reshape(-1, *self.probabilities.shape).sum(0)
        return np.einsum("sa,sai->i", summed * self.probabilities, self.scores)

    def _differentiable_value(self, probabilities: Tensor) -> Tensor:
        mdp = self.mdp
        chain, reward = chain_of(mdp, probabilities)
        if self.time_limit == "termination":
            value = torch.zeros(len(mdp.start), dtype=torch.float64, device="cpu")
            for _ in range(mdp.horizon):
                value = reward + self.gamma * chain @ value
            return value
        ends = solvable(mdp, self.probabilities, self.gamma)
        inside = torch.from_numpy(ends.nonzero()[0])
        matrix = (
            torch.eye(len(inside), dtype=torch.float64, device="cpu") - self.gamma * chain[inside][:, inside]
        )
        value = torch.where(torch.from_numpy(ends | ~going_on(mdp)), 0.0, torch.nan).double()
        return value.index_put((inside,), torch.linalg.solve(matrix, reward[inside]))

    def _gradient_of(self, number: Tensor) -> F64:
        with torch.enable_grad():
            found = torch.autograd.grad(
                number, self.parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
        return torch.cat([part.reshape(-1) for part in found]).numpy()


@in_ordinary_torch
def solve(
    mdp: FiniteMDP | ContinuousMDP, policy: Policy, gamma: float, *, time_limit: TimeLimit = "truncation"
) -> Solution:
    """Return the exact quantities of a policy on a finite MDP, or on one with a continuous action.

    Args:
        mdp: the decision process. States with equal `looks` look the same to the policy.
        policy: any policy for the MDP's observations and actions. It is copied, and the copy computes in float64.
        gamma: discount, in [0, 1]. With 1, every state that can be reached must lead to a terminal one.
        time_limit: see `TimeLimit`.

    Raises:
        ValueError: the policy is for other spaces, or the value does not exist, because with gamma 1 the episode may
            never end, or a density cannot be integrated.
    """
    check_choice("time_limit", time_limit, TimeLimit)
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be from 0 to 1; got {gamma}")
    policy.check_spaces(mdp.observation_space, mdp.action_space, "the decision process")
    exact, inputs = in_float64(policy, mdp)
    actions = actions_of(policy.distribution, mdp)
    finite = actions.mdp
    with torch.enable_grad():
        log_density = actions.log_density(exact, inputs)
    found = Solution(
        finite, gamma, time_limit, log_density, actions.weight, tuple(exact.network.parameters())
    )
    if time_limit == "truncation":
        solvable(finite, found.probabilities, gamma)
    return found


def going_on(mdp: FiniteMDP) -> Bool:
    """Return which states are not terminal, [S]."""
    return ~np.isin(np.arange(len(mdp.start)), mdp.terminal)


def chain_of(mdp: FiniteMDP, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return (P_π [S, S], r_π [S]) of a policy [S, A]; both are 0 for terminal states, where no action is taken."""
    transition, reward = torch.from_numpy(mdp.transition), torch.from_numpy(mdp.reward)
    goes_on = torch.from_numpy(going_on(mdp).astype(np.float64))
    chain = torch.einsum("sa,sat->st", probabilities, transition) * goes_on[:, None]
    return chain, torch.einsum("sa,sat,sat->s", probabilities, transition, reward) * goes_on


def solvable(mdp: FiniteMDP, probabilities: F64, gamma: float) -> Bool:
    """Return for which states V is defined, [S]: all that are not terminal or, with gamma 1, from which episodes end.

    Raises:
        ValueError: with gamma 1, a state that can be reached never leads to a terminal one.
    """
    goes_on = going_on(mdp)
    if gamma < 1:
        return goes_on
    possible = np.einsum("sa,sat->st", probabilities, mdp.transition) > 0
    possible[~goes_on] = False
    ends = _closure(~goes_on, possible.T) & goes_on
    lost = _closure(mdp.start > 0, possible) & goes_on & ~ends
    if lost.any():
        raise ValueError(
            f"with gamma 1 the value does not exist: from state {int(lost.argmax())} the policy never reaches a "
            "terminal state. Use gamma < 1, time_limit='termination', or a policy that gives every action a chance."
        )
    return ends


def _closure(states: Bool, leads: Bool) -> Bool:
    """Return the states [S] that can be reached from some states, where `leads` [S, S] says which follow which."""
    found = states.copy()
    while True:
        more = found | leads[found].any(0)
        if (more == found).all():
            return found
        found = more


def visits(mdp: FiniteMDP, probabilities: F64, gamma: float) -> F64:
    """Return Σ_t γ^t Pr(s_t = s), [S], over the steps that take an action, without a time limit."""
    inside = solvable(mdp, probabilities, gamma)
    chain = chain_of(mdp, torch.from_numpy(probabilities))[0].numpy()[np.ix_(inside, inside)]
    found = np.zeros(len(mdp.start))
    found[inside] = np.linalg.solve(np.eye(len(chain)) - gamma * chain.T, mdp.start[inside])
    return found


def reached_by_step(mdp: FiniteMDP, probabilities: F64) -> F64:
    """Return Pr(s_t = s) for the steps of an episode that take an action, [horizon, S]."""
    chain = chain_of(mdp, torch.from_numpy(probabilities))[0].numpy()
    goes_on = going_on(mdp)
    reached = np.empty((mdp.horizon, len(mdp.start)))
    now = mdp.start * goes_on
    for t in range(mdp.horizon):
        reached[t] = now
        now = (now @ chain) * goes_on
    return reached


def values_by_step(mdp: FiniteMDP, probabilities: F64, gamma: float) -> F64:
    """Return V_t(s), the value of the rewards from step t to the time limit, [horizon + 1, S]."""
    chain, reward = (part.numpy() for part in chain_of(mdp, torch.from_numpy(probabilities)))
    values = np.zeros((mdp.horizon + 1, len(mdp.start)))
    for t in reversed(range(mdp.horizon)):
        values[t] = reward + gamma * chain @ values[t + 1]
    return values
