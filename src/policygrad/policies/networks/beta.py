"""The Beta policy, for actions in a box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from policygrad.policies.mlp import MLP, Activation, Initialization
from policygrad.policies.networks.perceptron import PerceptronPolicy, standard
from policygrad.policies.networks.shape import widths


@standard
class BetaPolicy(PerceptronPolicy):
    """Beta policy on (0, 1): α = 1 + softplus(r), β = 1 + softplus(r'), with r and r' from the network.

    Both parameters are at least 1, so the density has a single peak. See section 4 of Chou, Maturana & Scherer 2017,
    "Improving stochastic policy gradients in continuous control with deep reinforcement learning using the Beta
    distribution". The arguments are those of `DiscretePolicy`, except that `action_dim` is K, the number of action
    components.
    """

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
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (state_dim, *widths(hidden_dim, depth), 2 * action_dim)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.action_dim = int(action_dim)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return (α, β), both [..., action_dim] and at least 1, for states [..., state_dim]."""
        alpha, beta = (1 + nn.functional.softplus(self.network(state))).chunk(2, -1)
        return alpha, beta
