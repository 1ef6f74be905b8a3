"""What this library's policy networks have in common."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from policygrad.policies.mlp import MLP

KINDS: dict[str, type[PerceptronPolicy]] = {}
"""This library's policy networks by name, as policy files have it."""


class PerceptronPolicy(nn.Module):
    """A perceptron whose outputs are the parameters of a distribution over actions."""

    network: MLP
    action_dim: int
    """Numbers in an action; of choices, the number of logits."""
    settings: tuple[str, ...] = ()
    """Arguments of the class that a policy file keeps, beside sizes and activation."""

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds of the parameters that come before the perceptron's own, where there are any."""
        return 0.0, 0.0

    def project(self) -> None:
        """Bring those parameters back within their bounds."""

    def description(self) -> dict[str, Any]:
        """Return what a policy file says of the network."""
        found: dict[str, Any] = {
            "class": type(self).__name__,
            "sizes": list(self.network.sizes),
            "activation": self.network.activation,
            "action_dim": self.action_dim,
        }
        for name in self.settings:
            value = getattr(self, name)
            found[name] = list(value) if isinstance(value, tuple) else value  # pyright: ignore
        return found


Kind = TypeVar("Kind", bound=type[PerceptronPolicy])


def standard(kind: Kind) -> Kind:
    """Class decorator for a network of this library's own: policy files know it by its name."""
    KINDS[kind.__name__] = kind
    return kind
