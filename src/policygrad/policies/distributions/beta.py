"""The Beta distribution, for actions in a box."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor, nn

from policygrad.policies.distributions.distribution import Distribution, Transform
from policygrad.policies.networks import BetaPolicy
from policygrad.types import F64, Array, Inputs

EDGE = 1e-6
"""Smallest distance of stored actions from 0 and 1, where log π may be infinite."""


class Beta(Distribution):
    """Independent Beta(α, β) over the dimensions of the box, from (α [B, K], β [B, K]), both at least 1.

    See section 4 of Chou, Maturana & Scherer 2017. The stored action is x in (0, 1), the environment receives
    a = low + (high − low)x, and π is the density of a: log π(a|s) = Σ_k log Beta(x_k) − log(high_k − low_k).

    Args:
        low, high: [K] float64 bounds of the box.
    """

    name = "beta"
    transform: Transform = "scale to the box"
    has_machine_code = True
    network_kind = BetaPolicy

    def __init__(self, low: F64, high: F64) -> None:
        self.low, self.high = low, high
        self.log_volume = float(np.log(high - low).sum())
        self.stored_shape = (len(low),)

    def parameters_of(self, network: nn.Module, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return (α, β), both [B, K], from any module that returns them."""
        outputs: Any = network(inputs.observation)
        shape = (len(inputs), *self.stored_shape)
        if not (isinstance(outputs, tuple) and len(outputs) == 2):  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError(f"the policy network returned {type(outputs).__name__}; expected (alpha, beta)")
        alpha: Tensor = outputs[0]
        beta: Tensor = outputs[1]
        if alpha.shape != shape or beta.shape != shape:
            raise ValueError(
                f"the policy network returned alpha of shape {tuple(alpha.shape)} and beta of shape "
                f"{tuple(beta.shape)}; expected {shape} for both"
            )
        return alpha, beta

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Draw uniform numbers [n, K] in [0, 1)."""
        return rng.random((n, *self.stored_shape))

    def sample(self, parameters: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
        """Return the inverse of the cumulative distribution (the regularized incomplete beta function) at the noise."""
        alpha, beta = (p.detach().double().numpy(force=True) for p in parameters)
        x = betaincinv(alpha, beta, noise.numpy(force=True))
        return _inside(torch.as_tensor(x, dtype=parameters[0].dtype, device=parameters[0].device))

    def mode(self, parameters: tuple[Tensor, Tensor]) -> Tensor:
        """Return (α − 1)/(α + β − 2), or ½ where α = β = 1 and all actions are equally probable."""
        above, below = parameters[0] - 1, parameters[1] - 1
        total = above + below
        return _inside(torch.where(total > 0, above / total, 0.5))

    def log_prob(self, parameters: tuple[Tensor, Tensor], action: Tensor) -> Tensor:
        """Return Σ_k (α − 1) log x + (β − 1) log(1 − x) − log B(α, β) − log(high − low)."""
        alpha, beta = (p.double() for p in parameters)
        x = action.double()
        density = (alpha - 1) * x.log() + (beta - 1) * torch.log1p(-x) - _log_beta(alpha, beta)
        return (density.sum(-1) - self.log_volume).to(parameters[0].dtype)

    def entropy(self, parameters: tuple[Tensor, Tensor]) -> Tensor:
        """Return Σ_k log B(α, β) − (α − 1)ψ(α) − (β − 1)ψ(β) + (α + β − 2)ψ(α + β) + log(high − low)."""
        alpha, beta = (p.double() for p in parameters)
        psi = torch.digamma
        parts = _log_beta(alpha, beta) - (alpha - 1) * psi(alpha) - (beta - 1) * psi(beta)
        parts = parts + (alpha + beta - 2) * psi(alpha + beta)
        return (parts.sum(-1) + self.log_volume).to(parameters[0].dtype)

    def kl(self, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> Tensor:
        """Return Σ_k log B(α', β')/B(α, β) + (α − α')ψ(α) + (β − β')ψ(β) + (α' − α + β' − β)ψ(α + β)."""
        a, b, a2, b2 = (p.double() for p in (*old, *new))
        psi = torch.digamma
        parts = _log_beta(a2, b2) - _log_beta(a, b) + (a - a2) * psi(a) + (b - b2) * psi(b)
        return (parts + (a2 - a + b2 - b) * psi(a + b)).sum(-1).to(old[0].dtype)

    def in_units(self, action: Array) -> Array:
        """Return low + (high − low)x in float64."""
        return self.low + (self.high - self.low) * action.astype(np.float64)


def _inside(x: Tensor) -> Tensor:
    return x.clamp(EDGE, 1 - EDGE)


def _log_beta(alpha: Tensor, beta: Tensor) -> Tensor:
    """Return log B(α, β). It is a difference of large numbers, so the arguments should be float64."""
    return torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
