"""Softmax over the alternatives of one choice, or of several independent ones at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from policygrad.policies.distributions.protocol import Transform
from policygrad.policies.networks import DiscretePolicy
from policygrad.types import F64, I64, Array


class Categorical:
    """K independent choices between n_1, ..., n_K alternatives, each a softmax over its own logits.

    π(a|s) = Π_k π_k(a_k|s), so log π and H are sums.

    Args:
        sizes: [K] int64, the n_k.
        single: K is 1 and actions are stored as [B] rather than [B, 1]: a Discrete space.
    """

    name = "softmax"
    stored_dtype = np.int64
    transform: Transform = "add start"
    noise_period = 1

    def __init__(self, sizes: I64, *, single: bool) -> None:
        self.sizes = [int(n) for n in sizes]
        self.stored_shape = () if single else (len(self.sizes),)

    def parameters_of(self, network: nn.Module, observation: Tensor) -> Tensor:
        """log π_k(·|s) side by side [B, Σ n_k], of a `DiscretePolicy` or of any module that gives logits."""
        logits = network.logits(observation) if isinstance(network, DiscretePolicy) else network(observation)
        expected = (len(observation), sum(self.sizes))
        if not isinstance(logits, Tensor) or logits.shape != expected:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the policy network gave {shape}; expected logits of shape {expected}")
        return torch.cat([torch.log_softmax(part, -1) for part in self._choices(logits)], -1)

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Uniforms [n] or [n, K] in [0, 1)."""
        return rng.random((n, *self.stored_shape))

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """The inverse of the cumulative distribution at the noise: never an action of probability 0."""
        marks = noise.cpu().reshape(len(noise), len(self.sizes))
        parts = self._choices(parameters.detach().cpu())
        actions = [_chosen(part.exp().double(), marks[:, k, None]) for k, part in enumerate(parts)]
        return self._stored(actions).to(parameters.device)

    def mode(self, parameters: Tensor) -> Tensor:
        """argmax, the first of equals."""
        return self._stored([part.argmax(-1) for part in self._choices(parameters)])

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Σ_k of the chosen entries."""
        chosen = action.reshape(len(action), len(self.sizes))
        first = np.cumsum([0, *self.sizes[:-1]])
        index = chosen + torch.from_numpy(first).to(chosen.device)
        return parameters.gather(-1, index).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Σ_k −Σ p log p."""
        return -(parameters.exp() * parameters).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """Σ_k Σ p (log p − log p')."""
        return (old.exp() * (old - new)).sum(-1)

    def in_units(self, action: Array) -> Array:
        """As they are."""
        return action

    def _choices(self, columns: Tensor) -> tuple[Tensor, ...]:
        return torch.split(columns, self.sizes, -1)

    def _stored(self, actions: list[Tensor]) -> Tensor:
        return torch.stack(actions, -1).reshape(-1, *self.stored_shape)


def _chosen(probability: Tensor, uniform: Tensor) -> Tensor:
    """The first alternative [B] whose cumulative probability exceeds the uniform number times the total.

    Both arguments are float64, [B, n] and [B, 1]: rounded to float32, a uniform number just below 1 would be 1 and
    would select the last alternative whatever its probability.
    """
    # an alternative of probability 0 has no cumulative probability, so nothing selects it
    cumulative = torch.where(probability > 0, probability.cumsum(-1), 0.0)
    total = cumulative.amax(-1, keepdim=True)
    return (cumulative > uniform * total).byte().argmax(-1)
