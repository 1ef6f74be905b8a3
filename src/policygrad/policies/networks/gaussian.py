"""The Gaussian policy, whose standard deviation is a parameter or depends on the state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policygrad._support.isolation import in_ordinary_torch
from policygrad.policies.flat import flat_parameters
from policygrad.policies.mlp import MLP, Activation, Initialization
from policygrad.policies.networks.perceptron import PerceptronPolicy, standard
from policygrad.policies.networks.shape import check_log_std, middle_and_half, widths, within


@standard
class GaussianPolicy(PerceptronPolicy):
    """Gaussian policy: a ~ N(network(s), σ²), independent over `action_dim` dimensions, with the same σ in every state.

    The log standard deviation stays within `log_std_bounds`. `forward` clamps it, and the engines project the parameter
    back after each step, because its gradient is 0 outside the bounds and it could never return.

    With `state_dependent_std`, the network has 2K outputs, the means followed by r, and σ is not a separate parameter:
    log σ = m + h tanh(r/h), where m is the middle of the bounds and h is half their width. The slope is 1 in the middle
    and is never 0.

    Args:
        state_dim: D, the size of an observation.
        action_dim: K, the number of action components.
        hidden_dim, depth, activation, init, gain, rng: see `DiscretePolicy`.
        log_std: the initial log standard deviation.
        log_std_bounds: (lowest, highest) log standard deviation.
        state_dependent_std: True makes σ an output of the network.
    """

    settings = ("log_std_bounds", "state_dependent_std")
    log_std: nn.Parameter
    """[K] log standard deviation; None with `state_dependent_std`."""

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
        state_dependent_std: bool = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        outputs = 2 * action_dim if state_dependent_std else action_dim
        sizes = (state_dim, *widths(hidden_dim, depth), outputs)
        check_log_std(log_std, log_std_bounds, inside=state_dependent_std)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.action_dim = int(action_dim)
        self.log_std_bounds = log_std_bounds
        self.state_dependent_std = state_dependent_std
        if state_dependent_std:
            self.register_parameter("log_std", None)
            middle, half = middle_and_half(log_std_bounds)
            last: Any = self.network[-1]
            with torch.no_grad():
                last.bias[action_dim:] = half * math.atanh((log_std - middle) / half)
        else:
            self.log_std = nn.Parameter(torch.full((action_dim,), log_std, dtype=torch.float32, device="cpu"))
        # log_std is registered on this module itself, so it comes first in parameters(): [log_std | network]
        flat_parameters(self)

    @property
    def limits(self) -> tuple[float, float]:
        """(lowest, highest) values to which `project` clamps the parameter `log_std`."""
        return self.log_std_bounds

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean [..., K], std [K]) for states [..., state_dim]; a state-dependent std is [..., K]."""
        if not self.state_dependent_std:
            return self.network(state), within(self.log_std, *self.log_std_bounds).exp()
        mean, raw = self.network(state).chunk(2, -1)
        middle, half = middle_and_half(self.log_std_bounds)
        return mean, torch.exp(middle + half * torch.tanh(raw / half))

    def get_action(self, state: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Sample actions for states [..., state_dim], and return (action [..., action_dim], log π(action|s) [...]).

        The samples use torch's global generator.
        """
        mean, std = self(torch.as_tensor(state, dtype=torch.float32, device=next(self.parameters()).device))
        distribution = torch.distributions.Normal(mean, std)
        action = distribution.sample()
        return action, distribution.log_prob(action).sum(-1)

    @torch.no_grad()
    def project(self) -> None:
        """Clamp the log standard deviation to its bounds."""
        if not self.state_dependent_std:
            self.log_std.clamp_(*self.limits)
