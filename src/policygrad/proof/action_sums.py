"""The actions that a sum over π(·|s) runs over: all of them, or the nodes of an integral over a continuous action."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from policygrad.envs.continuous_mdp import ContinuousMDP, finite_part
from policygrad.envs.finite import FiniteMDP
from policygrad.policies import Policy
from policygrad.policies.distributions import Distribution
from policygrad.types import F64, Array, Inputs

REACH, PANELS, ORDER = 20.0, 80, 8
"""The integral is from −REACH to REACH, over so many intervals with so many nodes each. Clipping to [−1, 1] has its
kinks between intervals."""
EXACT = 1e-8
"""Largest distance of ∫π(a|s) da from 1."""


@dataclass(frozen=True)
class Actions:
    """A actions of a policy, as it stores them, with their weights in a sum."""

    mdp: FiniteMDP
    """The decision process with these actions."""
    stored: Array
    """[A] or [A, K]: the actions as the policy's distribution stores them."""
    weight: F64
    """[A]: weights, so that Σ_a weight(a) π(a|s) is 1."""

    def log_density(self, policy: Policy, inputs: Inputs) -> Tensor:
        """Return log π(a|s), [S, A], for S rows of inputs in float64.

        Raises:
            ValueError: the weighted sum of π(a|s) is not 1.
        """
        parameters: Any = policy(inputs)
        S, A = len(inputs), len(self.stored)
        action = torch.from_numpy(self.stored)
        action = action.double() if action.is_floating_point() else action
        # what does not depend on the state has no row for each
        spread = (
            tuple(each.repeat_interleave(A, 0) if len(each) == S else each for each in parameters)
            if isinstance(parameters, tuple)
            else cast(Tensor, parameters).repeat_interleave(A, 0)
        )
        repeated = action.repeat(S, *[1] * (action.ndim - 1))
        found = policy.distribution.log_prob(spread, repeated).reshape(S, A)
        total = found.detach().exp().numpy() @ self.weight
        if not np.abs(total - 1).max() <= EXACT:
            worst = total[np.abs(total - 1).argmax()]
            raise ValueError(
                f"the probabilities π(a|s) of {policy.distribution.name!r} sum to {worst:.6g} in a state, not to 1. "
                "A density needs a standard deviation between 0.2 and 3 to be integrated exactly."
            )
        return found


def in_float64(policy: Policy, mdp: FiniteMDP | ContinuousMDP) -> tuple[Policy, Inputs]:
    """Return a copy of a policy that computes in float64 on the CPU, and its inputs in the S states."""
    finite = finite_part(mdp)
    observed = policy.encode(np.array(finite.observations)).astype(np.float64)
    inputs = Inputs(torch.from_numpy(observed))  # pyright: ignore[reportArgumentType]
    return copy.deepcopy(policy).double().cpu().eval(), inputs


def actions_of(distribution: Distribution, mdp: FiniteMDP | ContinuousMDP) -> Actions:
    """Return all actions of a finite MDP, or the nodes of a Gauss–Legendre integral over a continuous one."""
    if isinstance(mdp, FiniteMDP):
        A = mdp.transition.shape[1]
        stored = np.arange(A) if mdp.choices is None else np.array(list(np.ndindex(mdp.choices)))
        return Actions(mdp, stored, np.ones(A))
    edges = np.linspace(-REACH, REACH, PANELS + 1)
    nodes, weights = np.polynomial.legendre.leggauss(ORDER)
    half = np.diff(edges)[:, None] / 2
    u, weight = ((edges[:-1] + edges[1:])[:, None] / 2 + half * nodes).ravel(), (half * weights).ravel()
    stored = u
    if distribution.transform != "clip to the box":
        # π is the density of the environment's action, tanh u
        weight = weight / np.cosh(u) ** 2
    if distribution.transform == "scale to the box":
        stored = np.minimum(1 / (1 + np.exp(-2 * u)), np.nextafter(1, 0))
    return Actions(mdp.with_actions(distribution.in_units(stored[:, None])[:, 0]), stored[:, None], weight)
