"""The gradients stored in a module's parameters, as one flat vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def flat_gradient(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return all gradients [P] in the order of the parameters, with zeros where there is none."""
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return (
        torch.cat([p.reshape(-1) for p in parts])
        if parts
        else torch.zeros(0, dtype=torch.float32, device="cpu")
    )


def set_gradient(parameters: Sequence[nn.Parameter], gradient: Tensor) -> None:
    """Store a flat gradient [P] in the parameters, in their order."""
    for p, part in zip(parameters, gradient.split([p.numel() for p in parameters]), strict=True):
        p.grad = part.reshape(p.shape).clone()


def clear_gradient(parameters: Sequence[nn.Parameter]) -> None:
    """Remove the gradients, so that parameters that the next loss does not depend on have none."""
    for p in parameters:
        p.grad = None
