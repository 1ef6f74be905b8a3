"""The gradients stored in a module's parameters, as one flat vector."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from policygrad.types import F32


def flat_gradient(module: nn.Module | None) -> F32:
    """Return all gradients in `parameters()` order, with zeros where there is none; empty without a module."""
    if module is None:
        return np.zeros(0, np.float32)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    return torch.cat([p.reshape(-1) for p in parts]).numpy(force=True)


def set_gradient(module: nn.Module | None, gradient: torch.Tensor) -> None:
    """Store a flat gradient in the parameters, in `parameters()` order; it must be empty without a module."""
    parameters = list(module.parameters()) if module is not None else []
    parts = gradient.split([p.numel() for p in parameters])
    for p, part in zip(parameters, parts, strict=True):
        p.grad = part.reshape(p.shape).clone()
