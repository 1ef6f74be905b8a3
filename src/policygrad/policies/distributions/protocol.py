"""What a distribution over actions is to the rest of the library."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from policygrad.types import F64, Array

Transform = Literal["add start", "clip to the box", "tanh into the box", "scale to the box"]
"""How a stored action becomes the environment's."""


class Distribution(Protocol):
    """How a network's outputs are a distribution over actions.

    Actions are stored as they were sampled, and log π is of what is stored: of a clipped Gaussian the density
    before clipping, of the others the density in the environment's own units.
    """

    name: str
    stored_shape: tuple[int, ...]
    """Of one stored action: () or (K,)."""
    transform: Transform
    noise_period: int
    """Steps for which a rollout keeps one action's noise."""

    @property
    def stored_dtype(self) -> type[np.generic]:
        """int64 of choices, float32 of a Box's numbers."""
        ...

    def parameters_of(self, network: nn.Module, observation: Tensor) -> Any:
        """The network's outputs on [B, D], with their shapes checked."""
        ...

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """What `sample` needs for n actions, float64."""
        ...

    def sample(self, parameters: Any, noise: Tensor) -> Tensor:
        """Stored actions [B] or [B, K] from noise.

        A choice is −1 where the network's logits are no softmax (see `Categorical.fault`): only the caller knows
        whether the action matters.
        """
        ...

    def mode(self, parameters: Any) -> Tensor:
        """The stored actions [B] or [B, K] that a greedy policy takes; −1 as in `sample`."""
        ...

    def log_prob(self, parameters: Any, action: Tensor) -> Tensor:
        """log π(a|s) [B]."""
        ...

    def entropy(self, parameters: Any) -> Tensor:
        """H(π(·|s)) [B], in nats."""
        ...

    def kl(self, old: Any, new: Any) -> Tensor:
        """KL(old ‖ new) = E_old[log old(a|s) − log new(a|s)] [B], in nats."""
        ...

    def in_units(self, action: Array) -> Array:
        """Stored actions in the environment's units; counting from `start`, and clipping, are still to come."""
        ...
