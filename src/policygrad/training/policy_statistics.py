"""The running statistics of a policy as one vector, which the compiled loop updates and copies."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from policygrad.policies import Policy
from policygrad.training.memory import Statistics
from policygrad.types import F64

NORMALIZER = ("observation_shift", "observation_scale")
OF_OBSERVATIONS = tuple(f"observation_moments.{name}" for name in ("count", "mean", "squares"))
OF_RETURNS = tuple(f"reward_scale.moments.{name}" for name in ("count", "mean", "squares"))


class PolicyStatistics:
    """Copies the normalizer and the running statistics of a policy to a vector and back.

    Without running statistics, the vector is empty.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._constant = policy.snapshot().buffers
        changing = policy.observation_moments is not None or policy.reward_scale is not None
        names = (*NORMALIZER, *OF_OBSERVATIONS, *OF_RETURNS) if changing else ()
        names = tuple(name for name in names if name in self._constant)
        bounds = np.cumsum([0, *(self._constant[name].numel() for name in names)]).tolist()
        self._parts = {name: slice(*bounds[i : i + 2]) for i, name in enumerate(names)}
        self.all: F64 = np.zeros(bounds[-1])
        """[Q]: the buffers, one after another."""

    def load(self) -> None:
        """Copy the policy's statistics to the vector."""
        buffers = dict(self._policy.named_buffers())
        for name, part in self._parts.items():
            self.all[part] = buffers[name].numpy(force=True).reshape(-1)

    def store(self) -> None:
        """Copy the vector to the policy's statistics."""
        if self._parts:
            buffers = dict(self._policy.named_buffers())
            for name, tensor in self.buffers(self.all).items():
                buffers[name].copy_(tensor)
            shift, scale = (self.all[self._parts[name]].copy() for name in NORMALIZER)
            self._policy.set_normalizer(shift, scale)

    def buffers(self, numbers: F64) -> dict[str, Tensor]:
        """Return all buffers of a snapshot of the policy whose statistics are these numbers [Q]."""
        changed = {
            name: torch.from_numpy(numbers[part].copy()).reshape(self._constant[name].shape)
            for name, part in self._parts.items()
        }
        return self._constant | changed

    def views(self, shift: F64, scale: F64, returns: F64) -> Statistics:
        """Return the fields that compiled code uses; `shift` and `scale` [D] are the normalizer if it never changes."""
        parts = {name: self.all[part] for name, part in self._parts.items()}
        samples, mean, squares, reward_samples, reward_mean, reward_squares = (
            parts.get(name, np.zeros(0)) for name in (*OF_OBSERVATIONS, *OF_RETURNS)
        )
        return Statistics(
            self.all,
            parts.get(NORMALIZER[0], shift),
            parts.get(NORMALIZER[1], scale),
            samples,
            mean,
            squares,
            reward_samples,
            reward_mean,
            reward_squares,
            returns,
        )
