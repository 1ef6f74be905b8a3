"""The two action distributions in torch: softmax over choices, and independent Gaussians.

Each reads what a network put out, and samples from noise that numpy drew, so that every engine takes the
same action from the same stream.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from policygrad.policies.networks import DiscretePolicy
from policygrad.types import F64

LOG_2PI = math.log(2 * math.pi)


class Distribution(Protocol):
    """How a network's outputs are a distribution over actions."""

    action_dim: int

    def parameters_of(self, network: nn.Module, observation: Tensor) -> Any:
        """The network's outputs on [B, D], with their shapes checked."""
        ...

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """What `sample` needs for n actions, float64."""
        ...

    def sample(self, parameters: Any, noise: Tensor) -> Tensor:
        """Actions [B] or [B, K] from noise."""
        ...

    def mode(self, parameters: Any) -> Tensor:
        """The most probable actions [B] or [B, K]."""
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


class Categorical:
    """Softmax over `action_dim` logits [B, action_dim]; actions [B] int64."""

    def __init__(self, action_dim: int) -> None:
        self.action_dim = action_dim

    def parameters_of(self, network: nn.Module, observation: Tensor) -> Tensor:
        """log π(·|s) [B, action_dim] of a `DiscretePolicy`, or of any module that gives logits."""
        logits = network.logits(observation) if isinstance(network, DiscretePolicy) else network(observation)
        expected = (len(observation), self.action_dim)
        if not isinstance(logits, Tensor) or logits.shape != expected:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the policy network gave {shape}; expected logits of shape {expected}")
        return torch.log_softmax(logits, -1)

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Uniforms [n] in [0, 1)."""
        return rng.random(n)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Inverse of the cumulative distribution at the noise."""
        cumulative = parameters.exp().cumsum(-1)
        action = (cumulative <= noise.to(parameters.dtype)[:, None]).sum(-1)
        return action.clamp_(max=self.action_dim - 1)

    def mode(self, parameters: Tensor) -> Tensor:
        """argmax, the first of equals."""
        return parameters.argmax(-1)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """The chosen entries."""
        return parameters.gather(-1, action[:, None]).squeeze(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """−Σ p log p."""
        return -(parameters.exp() * parameters).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """Σ p (log p − log p')."""
        return (old.exp() * (old - new)).sum(-1)


class Gaussian:
    """Independent normals over `action_dim` dimensions, from (mean [B, K], std [B, K] or [K])."""

    def __init__(self, action_dim: int) -> None:
        self.action_dim = action_dim

    def parameters_of(self, network: nn.Module, observation: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log std), both [B, K], of any module that gives (mean, std)."""
        outputs: Any = network(observation)
        shape = (len(observation), self.action_dim)
        if not (isinstance(outputs, tuple) and len(outputs) == 2):  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError(f"the policy network gave {type(outputs).__name__}; expected (mean, std)")
        mean: Tensor = outputs[0]
        std: Tensor = outputs[1]
        if mean.shape != shape or std.shape not in (shape, shape[1:]):
            raise ValueError(
                f"the policy network gave mean {tuple(mean.shape)} and std {tuple(std.shape)}; "
                f"expected mean {shape} and std {shape} or {shape[1:]}"
            )
        return mean, std.log().expand(shape)

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Standard normals [n, K]."""
        return rng.standard_normal((n, self.action_dim))

    def sample(self, parameters: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
        """Mean plus std times noise."""
        mean, log_std = parameters
        return mean + log_std.exp() * noise.to(mean.dtype)

    def mode(self, parameters: tuple[Tensor, Tensor]) -> Tensor:
        """The mean."""
        return parameters[0]

    def log_prob(self, parameters: tuple[Tensor, Tensor], action: Tensor) -> Tensor:
        """Σ_k −½((a−μ)/σ)² − log σ − ½ log 2π."""
        mean, log_std = parameters
        z = (action - mean) * torch.exp(-log_std)
        return (-0.5 * z * z - log_std - 0.5 * LOG_2PI).sum(-1)

    def entropy(self, parameters: tuple[Tensor, Tensor]) -> Tensor:
        """Σ_k log σ + ½ log 2πe: differential, so it may be negative."""
        return (parameters[1] + 0.5 * (LOG_2PI + 1)).sum(-1)

    def kl(self, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> Tensor:
        """Σ_k ½ (σ²/σ'² − 1) − log σ/σ' + ½ ((μ−μ')/σ')², the first two without cancellation."""
        wider = 2 * (old[1] - new[1])
        z = (old[0] - new[0]) * torch.exp(-new[1])
        return 0.5 * (torch.expm1(wider) - wider + z * z).sum(-1)
