"""The softmax policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from policygrad.policies.mlp import MLP, Activation, Initialisation
from policygrad.policies.networks.perceptron import PerceptronPolicy, standard
from policygrad.policies.networks.shape import widths


@standard
class DiscretePolicy(PerceptronPolicy):
    """Softmax policy: π(a|s) ∝ exp(network(s)_a) over `action_dim` actions.

    For several choices at once (MultiDiscrete, MultiBinary) its logits are those of all of them, one after the
    other; only `Policy`, which knows the space, can tell them apart, so there `forward` and `get_action` say
    nothing.

    Args:
        state_dim: D, numbers in an observation.
        action_dim: how many actions there are; of several choices the sum.
        hidden_dim: width of the hidden layers, or one width for each of them.
        depth: how many hidden layers, where `hidden_dim` is one number.
        activation, init, rng: see `MLP`.
        gain: factor on the last layer under `orthogonal`.
    """

    def __init__(
        self,
        state_dim: int,
        action_dim: int,
        hidden_dim: int | Sequence[int] = 128,
        *,
        depth: int = 2,
        activation: Activation = "relu",
        init: Initialisation = "uniform",
        gain: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (state_dim, *widths(hidden_dim, depth), action_dim)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.action_dim = self.network.sizes[-1]

    def logits(self, state: Tensor) -> Tensor:
        """Unnormalised log-probabilities [..., action_dim]."""
        return self.network(state)

    def forward(self, state: Tensor) -> Tensor:
        """Probabilities π(·|s) [..., action_dim] of states [..., state_dim]."""
        return torch.softmax(self.logits(state), dim=-1)

    def get_action(self, state: Tensor | np.ndarray) -> tuple[int, Tensor]:
        """Sample an action for one state [state_dim] or [1, state_dim]: (action, log π(action|s)).

        The log-probability keeps its graph, with the state's leading shape. Draws from torch's global
        generator.
        """
        state = torch.as_tensor(state, dtype=torch.float32, device=next(self.parameters()).device)
        distribution = torch.distributions.Categorical(logits=self.logits(state))
        action = distribution.sample()
        return int(action.item()), distribution.log_prob(action)
