"""Softmax over the alternatives of one choice, or of several independent choices."""

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
"""Number of batches of outputs, the first ones, that are checked for probabilities in place of logits."""


class Categorical(Distribution):
    """K independent choices among n_1, ..., n_K alternatives, each a softmax over its own logits.

    π(a|s) = Π_k π_k(a_k|s), so log π and H are sums over the choices. A logit of −inf masks its alternative: it has
    probability 0, is never chosen, contributes nothing to H and KL (0 log 0 is 0), and has gradient 0.

    Args:
        sizes: [K] int64, the numbers of alternatives n_k.
        single: True for a Discrete space: K is 1, and actions are stored as [B] rather than [B, 1].
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
        """Return all log π_k(·|s), concatenated [B, Σ n_k], from a `DiscretePolicy` or a module that returns logits."""
        return self.normalized(self.logits_of(network, inputs))

    def normalized(self, logits: Tensor) -> Tensor:
        """Return log π_k(·|s) of all choices [B, Σ n_k] from their logits."""
        if len(self.sizes) == 1:
            return torch.log_softmax(logits, -1)
        return torch.cat([torch.log_softmax(part, -1) for part in self._choices(logits)], -1)

    def logits_of(self, network: nn.Module, inputs: Inputs) -> Tensor:
        """Return the network's logits [B, Σ n_k] after checking their shape."""
        observation: Any = inputs.observation
        logits = network.logits(observation) if isinstance(network, DiscretePolicy) else network(observation)
        expected = (len(observation), sum(self.sizes))
        if not isinstance(logits, Tensor) or logits.shape != expected:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the policy network returned {shape}; expected logits of shape {expected}")
        # not while gradients are recorded, because values cannot be inspected under vmap
        if self._looks > 0 and not torch.is_grad_enabled() and type(network) is not DiscretePolicy:
            self._look_for_probabilities(logits, type(network).__name__)
        return logits

    def _look_for_probabilities(self, logits: Tensor, name: str) -> None:
        """Warn once if the first `LOOKS` batches are probabilities."""
        if not len(logits):
            return
        totals = [logits.sum(-1)], [part.sum(-1) for part in self._choices(logits)]
        sums_to_one = any(all(bool(((t - 1).abs() < 1e-4).all()) for t in each) for each in totals)
        # a single batch of other numbers shows that the outputs are not probabilities
        self._looks = self._looks - 1 if sums_to_one and bool((logits >= 0).all()) else -1
        if self._looks == 0:
            warnings.warn(
                f"the policy network, a {name}, returns rows that are not negative and sum to 1. They look like "
                "probabilities, but a policy network must return logits. Probabilities that are used as logits give a "
                "nearly uniform policy that can hardly learn. Return the logits themselves (.logits(state) of a "
                "DiscretePolicy) or the logarithm of the probabilities.",
                stacklevel=2,
            )

    def fault_of(self, network: nn.Module, inputs: Inputs) -> str | None:
        """Return why the logits for B rows do not define a softmax, or None if they do."""
        return self.fault(self.logits_of(network, inputs))

    def fault(self, logits: Tensor) -> str | None:
        """Return why logits [B, Σ n_k] do not define a softmax, or None if they do."""
        masked = torch.stack([(part == -torch.inf).all(-1) for part in self._choices(logits)], -1)
        faults = (
            (
                logits.isnan(),
                "a logit of NaN. Usual causes are a learning rate that is too high, observations that are not scaled, "
                "and a network of your own that divides by 0.",
            ),
            (
                logits == torch.inf,
                "a logit of +inf. Logits must be finite, or −inf for actions that must not be taken.",
            ),
            (
                masked,
                "logits that are all −inf, so no action can be taken. Each choice needs at least one finite logit.",
            ),
        )
        for where, words in faults:
            rows = where.any(-1).nonzero()
            if len(rows):
                return f"for observation {int(rows[0])} of {len(logits)}, the policy network returned {words}"
        return None

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Draw uniform numbers [n] or [n, K] in [0, 1)."""
        return rng.random((n, *self.stored_shape))

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Return the inverse of the cumulative distribution at the noise. Its probability is never 0."""
        marks = noise.numpy(force=True).reshape(len(noise), len(self.sizes))
        probability = parameters.detach().cpu().exp().double().numpy()
        actions = np.empty(marks.shape, np.int64)
        first = 0
        for k, size in enumerate(self.sizes):
            actions[:, k] = _chosen(probability[:, first : first + size], marks[:, k])
            first += size
        return torch.from_numpy(actions.reshape(-1, *self.stored_shape)).to(parameters.device)

    def mode(self, parameters: Tensor) -> Tensor:
        """Return the argmax of each choice, the first one in case of a tie."""
        parts = self._choices(parameters)
        return self._stored([torch.where(part.isnan().any(-1), -1, part.argmax(-1)) for part in parts])

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Return Σ_k log π_k(a_k|s), the sum of the chosen entries."""
        chosen = action.reshape(len(action), len(self.sizes))
        first = np.cumsum([0, *self.sizes[:-1]])
        index = chosen + torch.from_numpy(first).to(chosen.device)
        return parameters.gather(-1, index).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Return Σ_k −Σ p log p."""
        p = parameters.exp()
        # log p is replaced rather than the product, because the gradient of 0 · −inf would be NaN
        return -(p * parameters.masked_fill(p == 0, 0.0)).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """Return Σ_k Σ p (log p − log p')."""
        p = old.exp()
        return (p * (old - new).masked_fill(p == 0, 0.0)).sum(-1)

    def in_units(self, action: Array) -> Array:
        """Return the choices unchanged."""
        return action

    def _choices(self, columns: Tensor) -> tuple[Tensor, ...]:
        return torch.split(columns, self.sizes, -1)

    def _stored(self, actions: list[Tensor]) -> Tensor:
        return torch.stack(actions, -1).reshape(-1, *self.stored_shape)


def _chosen(probability: F64, uniform: F64) -> I64:
    """Return the first alternative [B] whose cumulative probability exceeds the uniform number times the total, or −1.

    The arguments are [B, n] and [B] float64. Rounded to float32, a uniform number just below 1 would become 1 and
    select the last alternative regardless of its probability. An alternative of probability 0 is never selected,
    because the cumulative probability does not increase there.
    """
    cumulative = np.cumsum(probability, -1)
    total = cumulative[:, -1]
    choice = (cumulative > (uniform * total)[:, None]).argmax(-1)
    # the total is NaN if a logit is NaN or +inf, or if all of them are −inf
    choice[~(total > 0)] = -1
    return choice
