"""Independent Gaussians, clipped to the box or mapped into it by tanh."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policygrad._support.compiling import compiled_when_called
from policygrad.policies.distributions.distribution import Distribution, Transform
from policygrad.policies.distributions.units import Units
from policygrad.policies.networks import GaussianPolicy
from policygrad.types import F32, F64, Array, Inputs

LOG_2PI = math.log(2 * math.pi)

_nodes, _weights = np.polynomial.hermite_e.hermegauss(32)
NODES, WEIGHTS = _nodes, _weights / _weights.sum()
"""Nodes z_j and weights w_j of the Gauss–Hermite quadrature E[f(z)] ≈ Σ_j w_j f(z_j), z ~ N(0, 1), with 32 nodes. For
the squashed Gaussian's entropy, the error per dimension is below 1e-6 for σ ≤ 1, 1e-3 for σ ≤ 2 and 0.13 for σ = e²."""


def log_slope(u: Tensor) -> Tensor:
    """Return log(1 − tanh²u) as 2(log 2 − u − softplus(−2u)), which avoids cancellation."""
    return 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))


class Gaussian(Distribution):
    """Independent normal distributions over K dimensions, from (mean [B, K], std [B, K] or [K]).

    Actions are stored before clipping. log π and H refer to the stored action, in the units of `units`.
    """

    name = "gaussian"
    has_machine_code = True
    network_settings = ("log_std", "log_std_bounds", "state_dependent_std", "scale_actions")

    def __init__(self, units: Units) -> None:
        self.units = units
        self.action_dim = len(units.middle)
        self.stored_shape = (self.action_dim,)

    def parameters_of(self, network: nn.Module, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return (mean, log std), both [B, K], from any module that returns (mean, std)."""
        outputs: Any = network(inputs.observation)
        shape = (len(inputs), self.action_dim)
        if not (isinstance(outputs, tuple) and len(outputs) == 2):  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError(f"the policy network returned {type(outputs).__name__}; expected (mean, std)")
        mean: Tensor = outputs[0]
        std: Tensor = outputs[1]
        if mean.shape != shape or std.shape not in (shape, shape[1:]):
            raise ValueError(
                f"the policy network returned a mean of shape {tuple(mean.shape)} and a std of shape "
                f"{tuple(std.shape)}; expected {shape} for the mean, and {shape} or {shape[1:]} for the std"
            )
        return mean, std.log().expand(shape)

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Draw standard normal numbers [n, K]."""
        return rng.standard_normal((n, self.action_dim))

    def sample(self, parameters: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
        """Return mean + std · noise."""
        mean, log_std = parameters
        return mean + log_std.exp() * noise.to(mean.dtype)

    def mode(self, parameters: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean."""
        return parameters[0]

    def log_prob(self, parameters: tuple[Tensor, Tensor], action: Tensor) -> Tensor:
        """Return Σ_k −½((a−μ)/σ)² − log σ − ½ log 2π."""
        mean, log_std = parameters
        z = (action - mean) * torch.exp(-log_std)
        return (-0.5 * z * z - log_std - 0.5 * LOG_2PI).sum(-1)

    def entropy(self, parameters: tuple[Tensor, Tensor]) -> Tensor:
        """Return the differential entropy Σ_k log σ + ½ log 2πe, which may be negative."""
        return (parameters[1] + 0.5 * (LOG_2PI + 1)).sum(-1)

    def kl(self, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> Tensor:
        """Return Σ_k ½ (σ²/σ'² − 1) − log σ/σ' + ½ ((μ−μ')/σ')², with the first two terms free of cancellation.

        The divergence of squashed Gaussians is the same, because both densities are divided by the same slope.
        """
        wider = 2 * (old[1] - new[1])
        z = (old[0] - new[0]) * torch.exp(-new[1])
        return 0.5 * (torch.expm1(wider) - wider + z * z).sum(-1)

    def metrics(self, network: nn.Module, action: Array) -> dict[str, float]:
        """Return the share of actions outside of the box, and σ if it is a parameter."""
        return clipped_actions(self.units, action) | _std(network)

    def features_of(self, network: nn.Module) -> list[str]:
        """Return the features of actions in units of the box and of a state-dependent σ, where they apply."""
        depends = isinstance(network, GaussianPolicy) and network.state_dependent_std
        return (["units of the box"] if self.units.scaled else []) + (
            ["state-dependent std"] if depends else []
        )


def clipped_actions(units: Units, action: Array) -> dict[str, float]:
    """Return the metric of the share of stored actions [B, K] that are clipped to the box."""
    return {"clipped_actions": units.share_outside(action)}


def _std(network: nn.Module) -> dict[str, float]:
    if isinstance(network, GaussianPolicy) and not network.state_dependent_std:
        return {"std": mean_std(network.log_std.numpy(force=True))}
    return {}


@compiled_when_called
def mean_std(log_std: F32) -> float:
    """Return the mean of σ [K] from log σ [K], in float64."""
    total = 0.0
    for k in range(len(log_std)):
        total += np.exp(np.float64(log_std[k]))
    return total / len(log_std)


class SquashedGaussian(Gaussian):
    """A Gaussian u that tanh maps into the box: a = low + (high − low)(tanh u + 1)/2. The stored action is u.

    By appendix C of Haarnoja et al. 2018, "Soft actor-critic", log π(a|s) = log N(u) − Σ log da/du with
    da/du = (1 − tanh²u)(high − low)/2. H(a) = H(u) + E[log da/du] has no closed form: see `NODES`.

    Args:
        low, high: [K] float64 bounds of the box.
    """

    name = "squashed"
    transform: Transform = "tanh into the box"
    has_machine_code = True
    network_settings = ("log_std", "log_std_bounds", "state_dependent_std")

    def __init__(self, low: F64, high: F64) -> None:
        super().__init__(Units(low, high, scaled=False))
        self.low, self.high = low, high
        self.log_volume = float(np.log((high - low) / 2).sum())

    def mode(self, parameters: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean of u. It gives the median of the action, which unlike its mode never jumps to an edge."""
        return parameters[0]

    def log_prob(self, parameters: tuple[Tensor, Tensor], action: Tensor) -> Tensor:
        """Return log N(u) − Σ_k log(1 − tanh²u) − Σ_k log((high − low)/2)."""
        return super().log_prob(parameters, action) - log_slope(action).sum(-1) - self.log_volume

    def entropy(self, parameters: tuple[Tensor, Tensor]) -> Tensor:
        """Return H(u) + Σ_k E[log(1 − tanh²u)] + Σ_k log((high − low)/2), with E by Gauss–Hermite quadrature."""
        mean, log_std = parameters
        nodes, weights = (torch.as_tensor(a, dtype=mean.dtype, device=mean.device) for a in (NODES, WEIGHTS))
        u = mean[..., None] + log_std.exp()[..., None] * nodes
        return super().entropy(parameters) + (log_slope(u) * weights).sum((-2, -1)) + self.log_volume

    def in_units(self, action: Array) -> Array:
        """Return low + (high − low)(tanh u + 1)/2 in float64."""
        return self.low + (self.high - self.low) * (np.tanh(action.astype(np.float64)) + 1) / 2

    def metrics(self, network: nn.Module, action: Array) -> dict[str, float]:
        """Return σ if it is a parameter; no actions are clipped."""
        return _std(network)
