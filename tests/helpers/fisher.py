"""Fisher matrices written out in float64, and torch's own distributions for a policy."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import torch
from torch import nn

from policygrad.policies import Policy, flat_parameters
from policygrad.policies.distributions import GSDE, Beta, Categorical
from policygrad.types import Inputs
from tests.helpers.networks import HEADS, D, networks

# all heads have the same perceptron below them, so all of its shapes are tested with two heads only
SHAPES = [*itertools.product(HEADS[:2], ("tanh", "relu"), (0, 1, 2, 3))]
SHAPES += [*itertools.product(HEADS[2:], ("tanh",), (2,)), ("gsde", "tanh", 0)]


def shaken_policy(head: str, activation: str = "tanh", depth: int = 2, width: int = 6) -> Policy:
    """Return a policy with noise on its parameters, small enough by default to write its Fisher matrix down.

    No two of its σ are equal, and none is 1.
    """
    policy, _ = networks(head, activation, depth, width=width)
    flat = flat_parameters(policy)
    flat += torch.from_numpy(np.random.default_rng(4).normal(0, 0.2, flat.numel()).astype(np.float32))
    return policy


def random_states(n: int, seed: int = 2) -> np.ndarray:
    """Return n standard normal observations."""
    return np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32)


def distribution_of(policy: Policy, observation: np.ndarray) -> Any:
    """Return torch's own distribution of the stored actions, in float64."""
    with torch.no_grad():
        exact = copy.deepcopy(policy).double()
        return _torch_distribution(policy, _distribution_parameters(exact, observation))


def dense_fisher(policy: Policy, observation: np.ndarray) -> np.ndarray:
    """Return the mean of JᵀM J in float64.

    J is the Jacobian of the distribution's parameters, and M the Hessian of torch's KL with respect to them.
    """
    exact = copy.deepcopy(policy).double()
    parameters = _distribution_parameters(exact, observation)
    B, n = parameters.shape
    theta = parameters.detach().requires_grad_()
    kl = torch.distributions.kl_divergence(
        _torch_distribution(policy, parameters.detach()), _torch_distribution(policy, theta)
    )
    (slope,) = torch.autograd.grad(kl.sum(), theta, create_graph=True)
    rows = [torch.autograd.grad(slope[:, k].sum(), theta, retain_graph=True)[0] for k in range(n)]
    M = torch.stack(rows, 1)
    every = torch.eye(B * n, dtype=torch.float64).reshape(B * n, B, n)
    weights = list(exact.parameters())
    found = torch.autograd.grad(parameters, weights, every, is_grads_batched=True, materialize_grads=True)
    # the zeros of a parameter that nothing depends on have no batch axis
    parts = [f.expand(B * n, *p.shape).reshape(B, n, -1) for f, p in zip(found, weights, strict=True)]
    J = torch.cat(parts, -1)
    return torch.einsum("bip,bij,bjq->pq", J, M, J).numpy(force=True) / B


def _distribution_parameters(policy: Policy, observation: np.ndarray) -> torch.Tensor:
    """[B, n] in float64, with a graph: log π; mean and log σ; α and β; for gSDE mean and variance."""
    outputs = policy(Inputs(torch.from_numpy(observation).double()))
    return outputs if isinstance(outputs, torch.Tensor) else torch.cat([outputs[0], outputs[-1]], -1)


def _torch_distribution(policy: Policy, parameters: torch.Tensor) -> Any:
    """Return the distribution of stored actions; the squashed Gaussian's lacks a constant, which ratios do not see."""
    td, distribution = torch.distributions, policy.distribution
    if isinstance(distribution, Categorical):
        parts = parameters.split(distribution.sizes, -1)
        # each choice is padded to the same number of alternatives, with ones that are too improbable to matter
        widest = max(distribution.sizes)
        logits = [nn.functional.pad(part, (0, widest - part.shape[-1]), value=-80.0) for part in parts]
        if distribution.stored_shape == ():
            return td.Categorical(logits=logits[0])
        return td.Independent(td.Categorical(logits=torch.stack(logits, 1)), 1)
    first, second = parameters.chunk(2, -1)
    if isinstance(distribution, Beta):
        return td.Independent(td.Beta(first, second), 1)
    std = second.sqrt() if isinstance(distribution, GSDE) else second.exp()
    return td.Independent(td.Normal(first, std), 1)
