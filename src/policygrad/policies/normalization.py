"""Running statistics that standardize observations and scale rewards by the deviation of their discounted sum."""

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
"""Added to each variance, so that a number that never changes is not divided by 0."""


@dataclass(frozen=True)
class Normalization:
    """What is normalized by running statistics. The statistics are part of the policy and of its file."""

    normalize_observations: bool = False
    """Replace observations by (x − mean) / deviation, with the statistics of all observations before this update."""
    clip_observations: Positive = 10.0
    """Limit c where normalized observations are clipped to [−c, c]."""
    normalize_rewards: bool = False
    """Learn from rewards divided by the deviation of the running discounted return; no mean is subtracted."""
    clip_rewards: Positive = 10.0
    """Limit c where normalized rewards are clipped to [−c, c]."""

    def __post_init__(self) -> None:
        check_fields(self)
        for what in ("observations", "rewards"):
            normalized = getattr(self, f"normalize_{what}")
            check_in_effect(self, f"clip_{what}", f"normalize_{what}=True", normalized)


class Moments(nn.Module):
    """Accumulates the mean and variance of `size` numbers in float64, from batches of any size.

    The moments of the batches are combined by eq. 2.1 of Chan, Golub & LeVeque 1983, which avoids cancellation.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    @in_ordinary_torch
    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64, device="cpu"))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64, device="cpu"))
        # the sum of squared deviations from the mean
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64, device="cpu"))

    def add(self, x: Array) -> None:
        """Update the moments with the rows of x [B, size].

        Raises:
            NonFiniteError: a number is NaN, or so large that the variance is not finite. The moments are unchanged.
        """
        if not len(x):
            return
        x = x.astype(np.float64)
        before = float(self.count)
        total = before + len(x)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = x.mean(0)
            difference = mean - self.mean.numpy(force=True)
            increase = ((x - mean) ** 2).sum(0) + difference**2 * (before * len(x) / total)
            squares = self.squares.numpy(force=True) + increase
        if not np.isfinite(squares).all():
            raise NonFiniteError(
                "the running variance is not finite; the largest observation or return has magnitude "
                f"{np.abs(x).max():g}. Scale observations and rewards down in the environment, or turn off "
                "normalize_observations or normalize_rewards."
            )
        self.squares.copy_(torch.from_numpy(squares))
        self.mean += torch.from_numpy(difference * (len(x) / total)).to(self.mean.device)
        self.count.fill_(total)

    def variance(self) -> F64:
        """Return the variance [size]; zeros before the first update."""
        return self.squares.numpy(force=True) / max(float(self.count), 1.0)


class RewardScale(nn.Module):
    """Tracks the standard deviation over all steps of R_t = r_t + γ R_{t−1}, the return discounted backward in time.

    This is algorithm 1 of Engstrom et al. 2020. R restarts at 0 after each episode, including truncated ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moments = Moments(1)

    def add(self, reward: F64, done: Bool, valid: Bool, gamma: float, so_far: F64) -> None:
        """Update the statistics with T × N steps; `so_far` is R [N] before the first step and is updated in place."""
        running = np.empty_like(reward)
        _run(reward, done, gamma, so_far, running)
        self.moments.add(running[valid][:, None])

    def deviation(self) -> float:
        """Return the standard deviation that rewards are divided by."""
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
