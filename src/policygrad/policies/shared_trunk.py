"""A value network that shares the hidden layers of the policy."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from policygrad.policies.mlp import MLP, Initialization


class SharedValueNetwork(nn.Module):
    """Computes V(s) with one linear layer on the last hidden layer of a policy: [..., state_dim] -> [...].

    Learning V(s) changes the policy's outputs, and learning the policy changes V(s). The hidden layers belong to the
    policy: they are among its parameters, its optimizer updates them at its learning rate, and an update that leaves
    out the policy does not change them.

    Args:
        perceptron: the policy's perceptron, with at least one hidden layer.
        init, rng: initialization of the additional layer: see `MLP`.

    Raises:
        ValueError: there is no hidden layer to share.
    """

    def __init__(self, perceptron: MLP, init: Initialization, rng: np.random.Generator) -> None:
        super().__init__()
        if len(perceptron.sizes) < 3:
            raise ValueError(
                "shared=True shares the policy's hidden layers, but it has none. Set hidden to the width of each layer."
            )
        # in a tuple, so that torch does not register the layers as part of this module
        self._trunk = (perceptron,)
        self.head = MLP((perceptron.sizes[-2], 1), init=init, gain=1.0, rng=rng)

    @property
    def trunk(self) -> MLP:
        """The policy's perceptron; its last layer is not used here."""
        return self._trunk[0]

    def forward(self, state: Tensor) -> Tensor:
        """Return V(s) [...] of states [..., state_dim]."""
        hidden = state
        for layer in list(self.trunk)[:-1]:
            hidden = layer(hidden)
        return self.head(hidden).squeeze(-1)
