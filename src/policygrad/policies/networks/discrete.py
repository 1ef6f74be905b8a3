"""The softmax policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from policygrad.policies.mlp import MLP, Activation, Initialization
from policygrad.policies.networks.perceptron import PerceptronPolicy, standard
from policygrad.policies.networks.shape import widths


@standard
class DiscretePolicy(PerceptronPolicy):
    """Softmax policy: π(a|s) ∝ exp(network(s)_a) over `action_dim` actions.

    For several choices at once (MultiDiscrete, MultiBinary), the network's output is the concatenation of the logits of
    all choices. Only `Policy`, which knows the space, can separate them, so the results of `forward` and `get_action`
    are meaningless for such spaces.

    Args:
        state_dim: D, the size of an observation.
        action_dim: the number of actions; for several choices, the total number of alternatives.
        hidden_dim: the width of all hidden layers, or a sequence with the width of each.
        depth: the number of hidden layers if `hidden_dim` is a single number.
        activation, init, rng: see `MLP`.
        gain: factor on the weights of the last layer with `orthogonal` initialization.
    """

    def __init__(
        self,
        state_dim: int,
        action_dim: int,
        hidden_dim: int | Sequence[int] = 128,
        *,
        depth: int = 2,
        activation: Activation = "relu",
        init: Initialization = "uniform",
        gain: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (state_dim, *widths(hidden_dim, depth), action_dim)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.action_dim = self.network.sizes[-1]

    def logits(self, state: Tensor) -> Tensor:
        """Return unnormalized log-probabilities [..., action_dim]."""
        return self.network(state)

    def forward(self, state: Tensor) -> Tensor:
        """Return the probabilities π(·|s) [..., action_dim] for states [..., state_dim]."""
        return torch.softmax(self.logits(state), dim=-1)

    def get_action(self, state: Tensor | np.ndarray) -> tuple[int, Tensor]:
        """Sample an action for one state [state_dim] or [1, state_dim], and return (action, log π(action|s)).

        The log-probability has the state's leading shape and is part of the autograd graph. The sample uses torch's
        global generator.
        """
        state = torch.as_tensor(state, dtype=torch.float32, device=next(self.parameters()).device)
        distribution = torch.distributions.Categorical(logits=self.logits(state))
        action = distribution.sample()
        return int(action.item()), distribution.log_prob(action)
