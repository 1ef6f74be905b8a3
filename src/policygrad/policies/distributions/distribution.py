"""The interface of a distribution over actions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from policygrad.types import F64, Array, Inputs

Transform = Literal["add start", "clip to the box", "tanh into the box", "scale to the box"]
"""How a stored action is converted to the environment's action."""


class Distribution:
    """Turns a network's outputs into a distribution over actions; the base class of custom distributions.

    Actions are stored as they were sampled, and log π refers to the stored action. For a clipped Gaussian it is the
    density before clipping; for the others it is the density in the environment's units.

    A subclass sets `name` and `stored_shape`, and implements `parameters_of`, `draw_noise`, `sample`, `mode`,
    `log_prob` and `entropy`; NPG and TRPO need `kl` as well. The methods compute with torch, so that automatic
    differentiation provides the gradients. Pass an instance to
    `Policy(network, observation_space, action_space, distribution=...)`.
    """

    name: str
    stored_shape: tuple[int, ...]
    """Shape of one stored action: () or (K,)."""
    stored_dtype: type[np.generic] = np.float32
    """Data type of stored actions: int64 for choices, float32 for a Box."""
    transform: Transform = "clip to the box"
    noise_period: int = 1
    """Number of steps for which a rollout keeps the noise of an action."""
    units: Any = None
    """`Units` of stored actions if `in_units` computes middle + half · action; otherwise None."""
    has_machine_code: ClassVar[bool] = False
    """True if the fused engine has a head for exactly this class."""
    network_kind: ClassVar[type[nn.Module] | None] = None
    """Class of the networks that output these parameters; None allows any class."""
    network_settings: ClassVar[tuple[str, ...]] = ()
    """Fields of `Network` that this distribution uses and others do not."""

    def parameters_of(self, network: nn.Module, inputs: Inputs) -> Any:
        """Compute the network's outputs for B rows and check their shapes; return a tensor or a tuple of tensors."""
        raise NotImplementedError

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Draw the random numbers that `sample` needs for n actions, in float64."""
        raise NotImplementedError

    def sample(self, parameters: Any, noise: Tensor) -> Tensor:
        """Return stored actions [B] or [B, K] that are sampled from the noise.

        A choice is −1 if the logits do not define a softmax (see `Categorical.fault`); only the caller knows whether
        that action matters.
        """
        raise NotImplementedError

    def mode(self, parameters: Any) -> Tensor:
        """Return the stored actions [B] or [B, K] of a greedy policy; a choice may be −1 as in `sample`."""
        raise NotImplementedError

    def log_prob(self, parameters: Any, action: Tensor) -> Tensor:
        """Return log π(a|s) [B]."""
        raise NotImplementedError

    def entropy(self, parameters: Any) -> Tensor:
        """Return the entropy H(π(·|s)) [B] in nats."""
        raise NotImplementedError

    def kl(self, old: Any, new: Any) -> Tensor:
        """Return KL(old ‖ new) = E_old[log old(a|s) − log new(a|s)] [B] in nats."""
        raise TypeError(
            f"the distribution {self.name!r} has no kl(old, new), which the natural gradient and TRPO need. Implement "
            "it, or use another algorithm."
        )

    def in_units(self, action: Array) -> Array:
        """Return stored actions in the environment's units, before `start` is added to choices and before clipping."""
        return action if self.units is None else self.units(action)

    def metrics(self, network: nn.Module, action: Array) -> dict[str, float]:
        """Return metrics of a rollout's stored actions [B, K] and of the network. Their names must be registered."""
        return {}

    def features_of(self, network: nn.Module) -> list[str]:
        """Return the features that a policy file lists in addition to the distribution's name."""
        return []

    def fault_of(self, network: nn.Module, inputs: Inputs) -> str | None:
        """Return a message that says why no action can be chosen for B rows, or None if this class knows no reason."""
        return None
