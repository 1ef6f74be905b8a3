"""The base class of this library's policy networks, and their registry."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from policygrad.policies.mlp import MLP

KINDS: dict[str, type[PerceptronPolicy]] = {}
"""The policy networks of this library, by the class name that policy files contain."""


class PerceptronPolicy(nn.Module):
    """A perceptron whose outputs are the parameters of a distribution over actions."""

    network: MLP
    action_dim: int
    """Number of action components; for discrete actions, the number of logits."""
    settings: tuple[str, ...] = ()
    """Arguments of the class that a policy file stores in addition to the sizes and the activation."""

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds of the parameters that precede the perceptron's, if there are any."""
        return 0.0, 0.0

    def project(self) -> None:
        """Clamp the parameters that precede the perceptron's to `limits`, if there are any."""

    def description(self) -> dict[str, Any]:
        """Return the description of the network that a policy file stores."""
        description: dict[str, Any] = {
            "class": type(self).__name__,
            "sizes": list(self.network.sizes),
            "activation": self.network.activation,
            "action_dim": self.action_dim,
        }
        for name in self.settings:
            value = getattr(self, name)
            description[name] = list(value) if isinstance(value, tuple) else value  # pyright: ignore
        return description


Kind = TypeVar("Kind", bound=type[PerceptronPolicy])


def standard(kind: Kind) -> Kind:
    """Class decorator that registers a network of this library, so that policy files can refer to it by name."""
    KINDS[kind.__name__] = kind
    return kind
