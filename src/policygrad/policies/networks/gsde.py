"""The gSDE policy, whose noise depends on the state and is kept for several steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from policygrad._support.checks import whole
from policygrad._support.isolation import in_ordinary_torch
from policygrad.policies.flat import flat_parameters
from policygrad.policies.mlp import MLP, Activation, Initialization
from policygrad.policies.networks.perceptron import PerceptronPolicy, standard
from policygrad.policies.networks.shape import check_log_std, widths, within


@standard
class GSDEPolicy(PerceptronPolicy):
    """Policy with generalized state-dependent exploration: a = network(s) + φ(s)ᵀE, E_jk = σ_jk ε_jk, ε ~ N(0, 1).

    See section 3 of Raffin, Kober & Stulp 2021, "Smooth exploration for robotic reinforcement learning". φ(s) [L] is
    the output of the last hidden layer, or the observation if there are no hidden layers. E is kept for `sde_period`
    steps. As in the authors' implementation, no gradient flows from the noise into φ (`learn_features=False`).

    Args:
        state_dim, action_dim, hidden_dim, depth, activation, init, gain, rng: see `GaussianPolicy`.
        log_std: initial log standard deviation of the noise for ‖φ‖² = min(D, L). With newly initialized orthogonal
            layers, observations of unit variance give about this norm. Each log σ_jk is initialized to
            `log_std` − ½ log min(D, L).
        log_std_bounds: (lowest, highest) log standard deviation of the noise for the same norm.
        sde_period: number of steps for which a rollout keeps E.
    """

    settings = ("log_std_bounds", "sde_period")

    @in_ordinary_torch
    def __init__(
        self,
        state_dim: int,
        action_dim: int,
        hidden_dim: int | Sequence[int] = 128,
        *,
        depth: int = 2,
        activation: Activation = "relu",
        init: Initialization = "uniform",
        gain: float = 1.0,
        log_std: float = 0.0,
        log_std_bounds: tuple[float, float] = (-5.0, 2.0),
        sde_period: int = 4,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (state_dim, *widths(hidden_dim, depth), action_dim)
        check_log_std(log_std, log_std_bounds)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.action_dim, self.features = self.network.sizes[-1], self.network.sizes[-2]
        self.log_std_bounds = log_std_bounds
        self.sde_period = whole("sde_period", sde_period, at_least=1)
        self.typical_norm = math.sqrt(min(state_dim, self.features))
        share = math.log(self.typical_norm)
        self.log_std = nn.Parameter(
            torch.full((self.features, self.action_dim), log_std - share, dtype=torch.float32, device="cpu")
        )
        flat_parameters(self)

    @property
    def limits(self) -> tuple[float, float]:
        """(lowest, highest) values to which `project` clamps log σ."""
        share = math.log(self.typical_norm)
        return self.log_std_bounds[0] - share, self.log_std_bounds[1] - share

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (mean [..., action_dim], φ [..., L] detached, σ [L, action_dim]) for states [..., state_dim]."""
        features = state
        for layer in list(self.network)[:-1]:
            features = layer(features)
        return self.network[-1](features), features.detach(), within(self.log_std, *self.limits).exp()

    @torch.no_grad()
    def project(self) -> None:
        """Clamp log σ to its bounds."""
        self.log_std.clamp_(*self.limits)
