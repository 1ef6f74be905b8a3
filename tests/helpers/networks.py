"""Small networks with every action distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from policygrad.policies import BetaPolicy, DiscretePolicy, GaussianPolicy, GSDEPolicy, Policy, ValueNetwork

D, WIDTH = 5, 24
BOX = spaces.Box(-np.inf, np.inf, (D,))
WIDE = spaces.Box(np.array([-1, -3], np.float32), np.array([1, 5], np.float32))
HEADS = (
    "categorical", "gaussian", "choices", "gaussian per state", "squashed", "squashed per state", "beta", "gsde",
)  # fmt: skip


def networks(
    head: str, activation: str = "tanh", depth: int = 2, seed: int = 0, width: int = WIDTH
) -> tuple[Policy, ValueNetwork]:
    """Return a policy with this head and a value network, for observations of D numbers."""
    shape: dict[str, Any] = {"depth": depth, "activation": activation, "rng": np.random.default_rng(seed)}
    if head == "categorical":
        policy = Policy(DiscretePolicy(D, 3, width, **shape), BOX, spaces.Discrete(3))
    elif head == "choices":
        policy = Policy(DiscretePolicy(D, 9, width, **shape), BOX, spaces.MultiDiscrete([2, 4, 3]))
    elif head == "beta":
        policy = Policy(BetaPolicy(D, 2, width, **shape), BOX, WIDE)
    elif head == "gsde":
        # each σ_jk is 1/√L: with larger ones a small step of the features moves the KL by more than its curvature says
        features = width if depth else D
        log_std = 0.5 * float(np.log(min(D, features) / features))
        policy = Policy(GSDEPolicy(D, 2, width, log_std=log_std, **shape), BOX, WIDE)
    else:
        network = GaussianPolicy(D, 2, width, state_dependent_std="per state" in head, **shape)
        policy = Policy(network, BOX, WIDE, distribution="squashed" if "squashed" in head else "gaussian")
    return policy, ValueNetwork(D, width, **shape)


class CustomNetwork(nn.Module):
    """A user's network: logits of three actions, from layers that the fused engine does not have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.LayerNorm(D), nn.Linear(D, 16), nn.GELU(), nn.Linear(16, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)
