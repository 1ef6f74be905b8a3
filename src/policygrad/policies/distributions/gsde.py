"""Generalized state-dependent exploration: noise that is a function of the state and is kept for several steps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from policygrad.policies.distributions.distribution import Distribution
from policygrad.policies.distributions.gaussian import LOG_2PI, clipped_actions, mean_std
from policygrad.policies.distributions.units import Units
from policygrad.policies.networks import GSDEPolicy
from policygrad.types import F64, Array, Inputs

LEAST_VARIANCE = 1e-6
"""Added to the variance, which is 0 where all features are 0."""

Parameters = tuple[Tensor, Tensor, Tensor, Tensor]
"""(mean [B, K], φ [B, L] detached, σ [L, K], variance [B, K])."""


class GSDE(Distribution):
    """The distribution of a = μ(s) + φ(s)ᵀE with E_jk = σ_jk ε_jk: see `GSDEPolicy`.

    Given the state, a is Gaussian, and log π and H are those of this Gaussian. Its variance follows from equations 9 to
    11 of Raffin, Kober & Stulp 2021, plus 1e-6 here: var_k = Σ_j σ_jk² φ_j² + 1e-6. Actions within a period share E, so
    they are not independent given the states. Like the authors' implementation, the gradient ignores this dependence.
    """

    name = "gsde"
    has_machine_code = True
    network_kind = GSDEPolicy
    network_settings = ("log_std", "log_std_bounds", "scale_actions", "sde_period")

    def __init__(self, network: GSDEPolicy, units: Units) -> None:
        self.units = units
        self.stored_shape = (network.action_dim,)
        self.features = network.features
        self.noise_period = network.sde_period

    def parameters_of(self, network: nn.Module, inputs: Inputs) -> Parameters:
        """Return the parameters, from a `GSDEPolicy`."""
        mean, features, std = network(inputs.observation)
        return mean, features, std, features.square() @ std.square() + LEAST_VARIANCE

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Draw standard normal numbers [n, L·K]: ε of each action."""
        return rng.standard_normal((n, self.features * self.stored_shape[0]))

    def sample(self, parameters: Parameters, noise: Tensor) -> Tensor:
        """Return mean + φᵀE."""
        mean, features, std, _ = parameters
        weights = noise.to(mean.dtype).reshape(-1, *std.shape) * std
        return mean + torch.einsum("bj,bjk->bk", features, weights)

    def mode(self, parameters: Parameters) -> Tensor:
        """Return the mean."""
        return parameters[0]

    def log_prob(self, parameters: Parameters, action: Tensor) -> Tensor:
        """Return Σ_k −½(a − μ)²/v − ½ log 2πv."""
        mean, _, _, variance = parameters
        return (-0.5 * ((action - mean).square() / variance + variance.log() + LOG_2PI)).sum(-1)

    def entropy(self, parameters: Parameters) -> Tensor:
        """Return Σ_k ½ log 2πe v."""
        return (0.5 * (parameters[3].log() + LOG_2PI + 1)).sum(-1)

    def kl(self, old: Parameters, new: Parameters) -> Tensor:
        """Return the KL divergence of Gaussians with these means and variances, as in `Gaussian.kl`."""
        wider = old[3].log() - new[3].log()
        return 0.5 * (torch.expm1(wider) - wider + (old[0] - new[0]).square() / new[3]).sum(-1)

    def metrics(self, network: nn.Module, action: Array) -> dict[str, float]:
        """Return the share of actions outside of the box and the typical σ of the noise."""
        std = dict[str, float]()
        if isinstance(network, GSDEPolicy):
            log_std = network.log_std.numpy(force=True).reshape(-1)
            std["std"] = network.typical_norm * mean_std(log_std)
        return clipped_actions(self.units, action) | std

    def features_of(self, network: nn.Module) -> list[str]:
        """Return the feature of actions in units of the box, if they are."""
        return ["units of the box"] if self.units.scaled else []
