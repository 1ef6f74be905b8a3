"""The value network V(s)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from policygrad.policies.mlp import MLP, Activation, Initialization
from policygrad.policies.networks.shape import widths


class ValueNetwork(nn.Module):
    """State value V(s): [..., state_dim] -> [...]. The arguments have the same meaning as in `DiscretePolicy`."""

    def __init__(
        self,
        state_dim: int,
        hidden_dim: int | Sequence[int] = 128,
        *,
        depth: int = 2,
        activation: Activation = "relu",
        init: Initialization = "uniform",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.network = MLP((state_dim, *widths(hidden_dim, depth), 1), activation, init, 1.0, rng)

    def forward(self, state: Tensor) -> Tensor:
        """Return V(s) [...] of states [..., state_dim]."""
        return self.network(state).squeeze(-1)
