"""Running statistics: observations brought to one scale, and rewards to that of their discounted sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from policygrad._support.checks import Positive, check_fields, check_in_effect
from policygrad._support.compiling import compiled_when_called
from policygrad._support.isolation import in_ordinary_torch
from policygrad.errors import NonFiniteError
from policygrad.types import F64, Array, Bool

SMALLEST_VARIANCE = 1e-8
"""Added to variances: what never changes stays where it is."""


@dataclass(frozen=True)
class Normalization:
    """What is normalised by running statistics. They are part of the policy, and of its file."""

    normalize_observations: bool = False
    """See observations as (x − mean) / deviation, of all that were seen before this update began."""
    clip_observations: Positive = 10.0
    """Then clipped to plus and minus this."""
    normalize_rewards: bool = False
    """Learn from rewards divided by the deviation of the running discounted return; nothing is subtracted."""
    clip_rewards: Positive = 10.0
    """Then clipped to plus and minus this."""

    def __post_init__(self) -> None:
        check_fields(self)
        for what in ("observations", "rewards"):
            normalized = getattr(self, f"normalize_{what}")
            check_in_effect(self, f"clip_{what}", f"normalize_{what}=True", normalized)


class Moments(nn.Module):
    """Mean and variance of `size` numbers over all that was seen: float64, in any number of parts.

    Chan, Golub & LeVeque 1983, eq. 2.1: the parts' moments are combined, so nothing is lost to cancellation.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    @in_ordinary_torch
    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64, device="cpu"))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64, device="cpu"))
        # the sum of squared distances from the mean
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64, device="cpu"))

    def add(self, x: Array) -> None:
        """Take in the rows of [B, size].

        Raises:
            NonFiniteError: a number is NaN, or so large that the variance is not finite; nothing was taken in.
        """
        if not len(x):
            return
        x = x.astype(np.float64)
        before = float(self.count)
        total = before + len(x)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = x.mean(0)
            apart = mean - self.mean.numpy(force=True)
            more = ((x - mean) ** 2).sum(0) + apart**2 * (before * len(x) / total)
            squares = self.squares.numpy(force=True) + more
        if not np.isfinite(squares).all():
            raise NonFiniteError(
                f"the running variance is not finite, from observations or returns up to {np.abs(x).max():g} in size: "
                "scale them down in the environment, or switch off normalize_observations or normalize_rewards"
            )
        self.squares.copy_(torch.from_numpy(squares))
        self.mean += torch.from_numpy(apart * (len(x) / total)).to(self.mean.device)
        self.count.fill_(total)

    def variance(self) -> F64:
        """[size]; zeros before anything was seen."""
        return self.squares.numpy(force=True) / max(float(self.count), 1.0)


class RewardScale(nn.Module):
    """The deviation of R_t = r_t + γ R_{t−1}, an episode's return discounted backwards, over all steps seen.

    Engstrom et al. 2020, algorithm 1. R begins anew after every end, a truncation too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moments = Moments(1)

    def add(self, reward: F64, done: Bool, valid: Bool, gamma: float, so_far: F64) -> None:
        """Take in T × N steps; `so_far` is R [N] before the first of them, and is brought up to the last."""
        running = np.empty_like(reward)
        _run(reward, done, gamma, so_far, running)
        self.moments.add(running[valid][:, None])

    def deviation(self) -> float:
        """What to divide rewards by."""
        return float(np.sqrt(self.moments.variance()[0] + SMALLEST_VARIANCE))


@compiled_when_called
def _run(reward: F64, done: Bool, gamma: float, so_far: F64, running: F64) -> None:
    T, N = reward.shape
    for t in range(T):
        for n in range(N):
            so_far[n] = reward[t, n] + gamma * so_far[n]
            running[t, n] = so_far[n]
            if done[t, n]:
                so_far[n] = 0.0
