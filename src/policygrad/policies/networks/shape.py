"""Helpers for the networks' arguments: widths of layers and bounds of a log standard deviation."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from policygrad._support.checks import is_finite


def middle_and_half(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the middle of an interval and half its width."""
    return (bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2


def check_log_std(log_std: float, bounds: Any, *, inside: bool = False) -> None:
    """Raise ValueError unless a log standard deviation is within its bounds, strictly if `inside` is True."""
    if not (isinstance(bounds, Sequence) and len(bounds) == 2 and all(map(is_finite, bounds))):
        raise ValueError(f"log_std_bounds must be two finite numbers, (lowest, highest); got {bounds!r}")
    if not bounds[0] < bounds[1]:
        raise ValueError(f"log_std_bounds must be (lowest, highest) with lowest < highest; got {bounds}")
    if not bounds[0] <= log_std <= bounds[1]:
        raise ValueError(f"log_std {log_std} is outside its bounds {bounds}")
    if inside and log_std in bounds:
        raise ValueError(
            f"log_std {log_std} is one of its bounds {bounds}; a state-dependent log_std must start between them"
        )


def widths(hidden_dim: int | Sequence[int], depth: int) -> tuple[int, ...]:
    """Return the widths of the hidden layers: `hidden_dim` itself, or the single width repeated `depth` times."""
    if isinstance(hidden_dim, Sequence):
        return tuple(hidden_dim)
    return (operator.index(hidden_dim),) * depth


def within(x: Tensor, low: float, high: float) -> Tensor:
    """Return x clamped to [low, high], with gradient 1 at the bounds as well as between them.

    From version 2.14, torch's own clamp has gradient 0 at the bounds, so a log standard deviation that reached a bound
    could never leave it.

    >>> x = torch.tensor([-0.5, 0.25, 0.0], requires_grad=True)
    >>> within(x, -0.25, 0.25).sum().backward()
    >>> x.grad
    tensor([0., 1., 1.])
    """
    return torch.where(x < low, low, torch.where(x > high, high, x))
