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
        x = np.ascontiguousarray(x, np.float32 if x.dtype == np.float32 else np.float64)
        moments = self.arrays()
        if not add_rows(x, *moments, np.empty((2, x.shape[1]))):
            raise NonFiniteError(
                "the running variance is not finite; the largest observation or return has magnitude "
                f"{np.abs(x).max():g}. Scale observations and rewards down in the environment, or turn off "
                "normalize_observations or normalize_rewards."
            )
        self._set(*moments)

    def combine(self, count: F64, mean: F64, squares: F64) -> None:
        """Add numbers of which only the moments are known, as `arrays` returns them."""
        if not count[0]:
            return
        before, old_mean, old_squares = self.arrays()
        total, difference = before + count, mean - old_mean
        new_squares = old_squares + (squares + difference**2 * (before * count / total))
        self._set(total, old_mean + difference * (count / total), new_squares)

    def _set(self, *moments: F64) -> None:
        for tensor, numbers in zip((self.count, self.mean, self.squares), moments, strict=True):
            tensor.copy_(torch.from_numpy(numbers).reshape(tensor.shape))

    def arrays(self) -> tuple[F64, F64, F64]:
        """Return copies of (count [1], mean [size], squares [size]) for compiled code."""
        count, mean, squares = (
            np.array(moment.numpy(force=True), np.float64).reshape(-1)
            for moment in (self.count, self.mean, self.squares)
        )
        return count, mean, squares

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
        running = np.empty(reward.shape)
        continue_returns(reward, done, gamma, so_far, running)
        self.moments.add(running[valid][:, None])

    def deviation(self) -> float:
        """Return the standard deviation that rewards are divided by."""
        return float(np.sqrt(self.moments.variance()[0] + SMALLEST_VARIANCE))


@compiled_when_called
def add_rows(x: Array, count: F64, mean: F64, squares: F64, work: F64) -> bool:
    """Add the rows of x [B, size] to `Moments`; return False, without a change, if a variance would not be finite.

    Args:
        x: [B, size] float32 or float64, with at least one row.
        count, mean, squares: the moments, [1], [size] and [size]. They are updated in place.
        work: [2, size] float64: workspace.
    """
    B, size = x.shape
    before, total = count[0], count[0] + B
    work[:] = 0.0
    for i in range(B):
        for d in range(size):
            work[0, d] += np.float64(x[i, d])
    for d in range(size):
        work[0, d] /= B
    for i in range(B):
        for d in range(size):
            work[1, d] += (np.float64(x[i, d]) - work[0, d]) ** 2
    for d in range(size):
        difference = work[0, d] - mean[d]
        work[1, d] = squares[d] + (work[1, d] + difference**2 * (before * B / total))
        if not np.isfinite(work[1, d]):
            return False
    for d in range(size):
        mean[d] += (work[0, d] - mean[d]) * (B / total)
        squares[d] = work[1, d]
    count[0] = total
    return True


@compiled_when_called
def write_normalizer(count: F64, mean: F64, squares: F64, shift: F64, scale: F64) -> None:
    """Write (shift, scale), [size] each, of the normalizer x ↦ (x − shift) · scale of `Moments`."""
    for d in range(len(mean)):
        shift[d] = mean[d]
        scale[d] = 1 / np.sqrt(squares[d] / max(count[0], 1.0) + SMALLEST_VARIANCE)


@compiled_when_called
def scale_rewards(reward: F64, count: F64, squares: F64, limit: float, scaled: F64) -> None:
    """Write rewards divided by the deviation of returns with these `Moments`, clipped to ± `limit`."""
    deviation = np.sqrt(squares[0] / max(count[0], 1.0) + SMALLEST_VARIANCE)
    for t in range(reward.shape[0]):
        for n in range(reward.shape[1]):
            scaled[t, n] = min(max(reward[t, n] / deviation, -limit), limit)


@compiled_when_called
def continue_returns(reward: F64, done: Bool, gamma: float, so_far: F64, running: F64) -> None:
    """Write R_t = r_t + γ R_{t−1} of T × N steps; `so_far` [N] is R before the first step, and is updated in place."""
    T, N = reward.shape
    for t in range(T):
        for n in range(N):
            so_far[n] = reward[t, n] + gamma * so_far[n]
            running[t, n] = so_far[n]
            if done[t, n]:
                so_far[n] = 0.0
