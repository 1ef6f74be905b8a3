"""Softmax over the alternatives of one choice, or of several independent ones at once."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policygrad.policies.distributions.distribution import Distribution, Transform
from policygrad.policies.networks import DiscretePolicy
from policygrad.types import F64, I64, Array, Inputs

LOOKS = 3
"""The first batches of a network's outputs, which are checked for being probabilities rather than logits."""


class Categorical(Distribution):
    """K independent choices between n_1, ..., n_K alternatives, each a softmax over its own logits.

    π(a|s) = Π_k π_k(a_k|s), so log π and H are sums. A logit of −inf masks its alternative: it has probability 0,
    is never chosen, counts for nothing in H and KL (0 log 0 is 0), and has a gradient of 0.

    Args:
        sizes: [K] int64, the n_k.
        single: K is 1 and actions are stored as [B] rather than [B, 1]: a Discrete space.
    """

    name = "softmax"
    stored_dtype = np.int64
    transform: Transform = "add start"
    has_machine_code = True

    def __init__(self, sizes: I64, *, single: bool) -> None:
        self.sizes = [int(n) for n in sizes]
        self.stored_shape = () if single else (len(self.sizes),)
        self._looks = LOOKS

    def parameters_of(self, network: nn.Module, inputs: Inputs) -> Tensor:
        """log π_k(·|s) side by side [B, Σ n_k], of a `DiscretePolicy` or of any module that gives logits."""
        logits = self.logits_of(network, inputs)
        return torch.cat([torch.log_softmax(part, -1) for part in self._choices(logits)], -1)

    def logits_of(self, network: nn.Module, inputs: Inputs) -> Tensor:
        """The network's logits [B, Σ n_k], with their shape checked."""
        observation: Any = inputs.observation
        logits = network.logits(observation) if isinstance(network, DiscretePolicy) else network(observation)
        expected = (len(observation), sum(self.sizes))
        if not isinstance(logits, Tensor) or logits.shape != expected:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the policy network gave {shape}; expected logits of shape {expected}")
        # not while a gradient is recorded, for under vmap no value can be looked at
        if self._looks > 0 and not torch.is_grad_enabled() and type(network) is not DiscretePolicy:
            self._look_for_probabilities(logits, type(network).__name__)
        return logits

    def _look_for_probabilities(self, logits: Tensor, name: str) -> None:
        """Warn once if the first `LOOKS` batches are probabilities."""
        if not len(logits):
            return
        totals = [logits.sum(-1)], [part.sum(-1) for part in self._choices(logits)]
        sums_to_one = any(all(bool(((t - 1).abs() < 1e-4).all()) for t in each) for each in totals)
        # one batch that is not made of them is enough to know
        self._looks = self._looks - 1 if sums_to_one and bool((logits >= 0).all()) else -1
        if self._looks == 0:
            warnings.warn(
                f"the policy network, a {name}, returns rows that are not negative and sum to 1. They look like "
                "probabilities, but a policy network must return logits: as logits, probabilities make a nearly "
                "uniform policy that can hardly learn. Return the logits themselves (of a DiscretePolicy, "
                ".logits(state)) or the logarithm of the probabilities",
                stacklevel=2,
            )

    def fault_of(self, network: nn.Module, inputs: Inputs) -> str | None:
        """Why the logits for B rows give no softmax; None if they do."""
        return self.fault(self.logits_of(network, inputs))

    def fault(self, logits: Tensor) -> str | None:
        """Why logits [B, Σ n_k] give no softmax; None if they do."""
        masked = torch.stack([(part == -torch.inf).all(-1) for part in self._choices(logits)], -1)
        faults = (
            (
                logits.isnan(),
                "a logit of NaN. Usual causes: a learning rate too high, observations that were never scaled, a "
                "network of your own that divides by 0",
            ),
            (
                logits == torch.inf,
                "a logit of +inf: logits must be finite, or −inf for an action that must not be taken",
            ),
            (
                masked,
                "logits that are all −inf, so there is no action to take: leave at least one of each choice finite",
            ),
        )
        for where, words in faults:
            rows = where.any(-1).nonzero()
            if len(rows):
                return f"for observation {int(rows[0])} of {len(logits)} the policy network gave {words}"
        return None

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Uniforms [n] or [n, K] in [0, 1)."""
        return rng.random((n, *self.stored_shape))

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """The inverse of the cumulative distribution at the noise: never an action of probability 0."""
        marks = noise.numpy(force=True).reshape(len(noise), len(self.sizes))
        probability = parameters.detach().cpu().exp().double().numpy()
        actions = np.empty(marks.shape, np.int64)
        first = 0
        for k, size in enumerate(self.sizes):
            actions[:, k] = _chosen(probability[:, first : first + size], marks[:, k])
            first += size
        return torch.from_numpy(actions.reshape(-1, *self.stored_shape)).to(parameters.device)

    def mode(self, parameters: Tensor) -> Tensor:
        """argmax, the first of equals."""
        parts = self._choices(parameters)
        return self._stored([torch.where(part.isnan().any(-1), -1, part.argmax(-1)) for part in parts])

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Σ_k of the chosen entries."""
        chosen = action.reshape(len(action), len(self.sizes))
        first = np.cumsum([0, *self.sizes[:-1]])
        index = chosen + torch.from_numpy(first).to(chosen.device)
        return parameters.gather(-1, index).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Σ_k −Σ p log p."""
        p = parameters.exp()
        # the factor is replaced and not the product: the gradient of 0 · −inf would be NaN
        return -(p * parameters.masked_fill(p == 0, 0.0)).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """Σ_k Σ p (log p − log p')."""
        p = old.exp()
        return (p * (old - new).masked_fill(p == 0, 0.0)).sum(-1)

    def in_units(self, action: Array) -> Array:
        """As they are."""
        return action

    def _choices(self, columns: Tensor) -> tuple[Tensor, ...]:
        return torch.split(columns, self.sizes, -1)

    def _stored(self, actions: list[Tensor]) -> Tensor:
        return torch.stack(actions, -1).reshape(-1, *self.stored_shape)


def _chosen(probability: F64, uniform: F64) -> I64:
    """The first alternative whose cumulative probability exceeds the uniform number times the total, or −1.

    From [B, n] and [B], in float64: rounded to float32, a uniform number just below 1 would be 1 and would select the
    last alternative whatever its probability. One of probability 0 adds nothing, so the sum does not pass the mark
    there.
    """
    cumulative = np.cumsum(probability, -1)
    total = cumulative[:, -1]
    choice = (cumulative > (uniform * total)[:, None]).argmax(-1)
    # the total is NaN where a logit was, or was +inf, or where all were −inf
    choice[~(total > 0)] = -1
    return choice
