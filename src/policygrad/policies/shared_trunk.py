"""A value network on the policy's own hidden layers."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from policygrad.policies.mlp import MLP, Initialisation


class SharedValueNetwork(nn.Module):
    """V(s) from the last hidden layer of a policy's perceptron: one layer of its own, [..., state_dim] -> [...].

    What is learned by V(s) changes what the policy sees, and the other way round. The hidden layers are the
    policy's: they are among its parameters, moved by its optimiser at its rate, and stay where they are in an
    update that leaves the policy out.

    Args:
        perceptron: the policy's, with one hidden layer or more.
        init, rng: of the last layer: see `MLP`.

    Raises:
        ValueError: there is no hidden layer to share.
    """

    def __init__(self, perceptron: MLP, init: Initialisation, rng: np.random.Generator) -> None:
        super().__init__()
        if len(perceptron.sizes) < 3:
            raise ValueError("shared=True shares hidden layers, and there are none: give hidden widths")
        # in a tuple, so that they are not taken for this module's own
        self._trunk = (perceptron,)
        self.head = MLP((perceptron.sizes[-2], 1), init=init, gain=1.0, rng=rng)

    @property
    def trunk(self) -> MLP:
        """The policy's perceptron, whose last layer is no part of this."""
        return self._trunk[0]

    def forward(self, state: Tensor) -> Tensor:
        """V(s) [...] of states [..., state_dim]."""
        hidden = state
        for layer in list(self.trunk)[:-1]:
            hidden = layer(hidden)
        return self.head(hidden).squeeze(-1)
