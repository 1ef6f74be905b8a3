"""What a distribution over actions is to the rest of the library."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from policygrad.types import F64, Array, Inputs

Transform = Literal["add start", "clip to the box", "tanh into the box", "scale to the box"]
"""How a stored action becomes the environment's."""


class Distribution:
    """How a network's outputs are a distribution over actions; the base of one of your own.

    Actions are stored as they were sampled, and log π is of what is stored: of a clipped Gaussian the density
    before clipping, of the others the density in the environment's own units.

    A subclass sets `name` and `stored_shape`, and implements `parameters_of`, `draw_noise`, `sample`, `mode`,
    `log_prob` and `entropy`; NPG and TRPO need `kl` as well. All of them compute with torch, so that automatic
    differentiation finds the gradients. `Policy(network, observation_space, action_space, distribution=...)` takes an
    instance.
    """

    name: str
    stored_shape: tuple[int, ...]
    """Of one stored action: () or (K,)."""
    stored_dtype: type[np.generic] = np.float32
    """int64 of choices, float32 of a Box's numbers."""
    transform: Transform = "clip to the box"
    noise_period: int = 1
    """Steps for which a rollout keeps one action's noise."""
    units: Any = None
    """`Units` of stored actions, where `in_units` is middle + half · action; else None."""
    has_machine_code: ClassVar[bool] = False
    """Whether the fused engine has a head for exactly this class."""
    network_kind: ClassVar[type[nn.Module] | None] = None
    """The class of network whose outputs are these parameters; None leaves it open."""
    network_settings: ClassVar[tuple[str, ...]] = ()
    """Fields of `Network` that are for some distributions only, this one among them."""

    def parameters_of(self, network: nn.Module, inputs: Inputs) -> Any:
        """The network's outputs on B rows, tensors, with their shapes checked: a tensor, or a tuple of tensors."""
        raise NotImplementedError

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """What `sample` needs for n actions, float64."""
        raise NotImplementedError

    def sample(self, parameters: Any, noise: Tensor) -> Tensor:
        """Stored actions [B] or [B, K] from noise.

        A choice is −1 where the network's logits are no softmax (see `Categorical.fault`): only the caller knows
        whether the action matters.
        """
        raise NotImplementedError

    def mode(self, parameters: Any) -> Tensor:
        """The stored actions [B] or [B, K] that a greedy policy takes; −1 as in `sample`."""
        raise NotImplementedError

    def log_prob(self, parameters: Any, action: Tensor) -> Tensor:
        """log π(a|s) [B]."""
        raise NotImplementedError

    def entropy(self, parameters: Any) -> Tensor:
        """H(π(·|s)) [B], in nats."""
        raise NotImplementedError

    def kl(self, old: Any, new: Any) -> Tensor:
        """KL(old ‖ new) = E_old[log old(a|s) − log new(a|s)] [B], in nats."""
        raise TypeError(
            f"the distribution {self.name!r} has no kl(old, new), which the natural gradient and TRPO need: write it, "
            "or take another algorithm"
        )

    def in_units(self, action: Array) -> Array:
        """Stored actions in the environment's units; counting from `start`, and clipping, are still to come."""
        return action if self.units is None else self.units(action)

    def metrics(self, network: nn.Module, action: Array) -> dict[str, float]:
        """Metrics of a rollout's stored actions [B, K] and of the network; each name has to be registered."""
        return {}

    def features_of(self, network: nn.Module) -> list[str]:
        """What a policy file lists as used, beside the distribution's name."""
        return []

    def fault_of(self, network: nn.Module, inputs: Inputs) -> str | None:
        """Why no action can be chosen for B rows, in words; None if that is not it."""
        return None
