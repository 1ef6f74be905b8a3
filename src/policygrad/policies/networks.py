"""The networks: a perceptron, and on it the softmax policy, the Gaussian policy and the value V(s)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from policygrad.policies.flat import flat_parameters

Activation = Literal["relu", "tanh"]
Initialisation = Literal["uniform", "orthogonal"]


@dataclass(frozen=True)
class Network:
    """The shape of a perceptron and how its weights begin; used for the policy and, separately, for V(s)."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers; none makes the outputs linear in the observation."""
    activation: Activation = "tanh"
    """Between the layers: tanh or relu."""
    init: Initialisation = "orthogonal"
    """Weights: `orthogonal` (gain √2, biases 0), or `uniform` in ±1/√fan_in with the biases, torch's own."""
    scale_observations: bool = False
    """Map a Box's finite bounds to [−1, 1] on the way in."""
    policy_gain: float = 0.01
    """Factor on the policy's last layer under `orthogonal`: small, so that the first policy hardly prefers."""
    log_std: float = 0.0
    """Where a Gaussian policy's log standard deviation begins."""
    log_std_bounds: tuple[float, float] = (-5.0, 2.0)
    """The log standard deviation never leaves these."""

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden widths must be 1 or more; got {self.hidden}")
        if self.activation not in ("relu", "tanh"):
            raise ValueError(f"activation must be 'relu' or 'tanh'; got {self.activation!r}")
        if self.init not in ("uniform", "orthogonal"):
            raise ValueError(f"init must be 'uniform' or 'orthogonal'; got {self.init!r}")
        _check_log_std(self.log_std, self.log_std_bounds)


class MLP(nn.Sequential):
    """Linear layers with an activation between them: [..., input_size] -> [..., output_size].

    Args:
        sizes: input, hidden widths, output.
        activation: between the layers.
        init: see `Network.init`.
        gain: factor on the last layer's weights under `orthogonal`.
        rng: where the weights come from; None draws a seed from torch's global generator, as torch's own
            layers do.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation = "relu",
        init: Initialisation = "uniform",
        gain: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng = rng if rng is not None else _generator_from_torch()
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            weight, bias = _initial(init, fan_in, fan_out, gain if last else math.sqrt(2), rng)
            layers.append(_linear(weight, bias))
            if not last:
                layers.append(nn.ReLU() if activation == "relu" else nn.Tanh())
        super().__init__(*layers)
        self.sizes = tuple(int(size) for size in sizes)
        self.activation: Activation = activation
        flat_parameters(self)


class DiscretePolicy(nn.Module):
    """Softmax policy: π(a|s) ∝ exp(network(s)_a) over `action_dim` actions.

    Args:
        state_dim: D, numbers in an observation.
        action_dim: how many actions there are.
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
        sizes = (state_dim, *_widths(hidden_dim, depth), action_dim)
        self.network = MLP(sizes, activation, init, gain, rng)

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
        state = torch.as_tensor(state, dtype=torch.float32)
        distribution = torch.distributions.Categorical(logits=self.logits(state))
        action = distribution.sample()
        return int(action.item()), distribution.log_prob(action)


class GaussianPolicy(nn.Module):
    """Gaussian policy: a ~ N(network(s), σ²), independent over `action_dim` dimensions, σ the same in every state.

    The log standard deviation stays within `log_std_bounds`: `forward` clamps it, and the engines project it
    back after each step (beyond a clamp its gradient would be 0 and it could never return).

    Args:
        state_dim: D, numbers in an observation.
        action_dim: K, numbers in an action.
        hidden_dim, depth, activation, init, gain, rng: see `DiscretePolicy`.
        log_std: where the log standard deviation begins.
        log_std_bounds: (lowest, highest).
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
        log_std: float = 0.0,
        log_std_bounds: tuple[float, float] = (-5.0, 2.0),
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (state_dim, *_widths(hidden_dim, depth), action_dim)
        _check_log_std(log_std, log_std_bounds)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.log_std = nn.Parameter(torch.full((action_dim,), log_std))
        self.log_std_bounds = log_std_bounds
        # log_std is registered on this module and so comes first in parameters(): [log_std | network]
        flat_parameters(self)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """(mean [..., action_dim], std [action_dim]) for states [..., state_dim]."""
        return self.network(state), self.log_std.clamp(*self.log_std_bounds).exp()

    def get_action(self, state: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Sample actions for states [..., state_dim]: (action [..., action_dim], log π(action|s) [...]).

        Draws from torch's global generator.
        """
        mean, std = self(torch.as_tensor(state, dtype=torch.float32))
        distribution = torch.distributions.Normal(mean, std)
        action = distribution.sample()
        return action, distribution.log_prob(action).sum(-1)

    @torch.no_grad()
    def project(self) -> None:
        """Bring the log standard deviation back within its bounds."""
        self.log_std.clamp_(*self.log_std_bounds)


class ValueNetwork(nn.Module):
    """State value V(s): [..., state_dim] -> [...]. Arguments as in `DiscretePolicy`."""

    def __init__(
        self,
        state_dim: int,
        hidden_dim: int | Sequence[int] = 128,
        *,
        depth: int = 2,
        activation: Activation = "relu",
        init: Initialisation = "uniform",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.network = MLP((state_dim, *_widths(hidden_dim, depth), 1), activation, init, 1.0, rng)

    def forward(self, state: Tensor) -> Tensor:
        """V(s) [...] of states [..., state_dim]."""
        return self.network(state).squeeze(-1)


def is_standard(module: nn.Module) -> bool:
    """Whether it is one of the classes above and nothing was changed in it: then its sizes say all of it.

    A subclass may compute anything, and layers may have been added.
    """
    if type(module) not in (DiscretePolicy, GaussianPolicy, ValueNetwork):
        return False
    perceptron: object = getattr(module, "network", None)
    if type(perceptron) is not MLP:
        return False
    activation = nn.ReLU if perceptron.activation == "relu" else nn.Tanh
    expected = [nn.Linear, activation] * (len(perceptron.sizes) - 1)
    shapes = [tuple(m.weight.shape[::-1]) for m in perceptron if isinstance(m, nn.Linear)]
    return [type(m) for m in perceptron] == expected[:-1] and shapes == list(pairwise(perceptron.sizes))


def _check_log_std(log_std: float, bounds: tuple[float, float]) -> None:
    if not bounds[0] <= log_std <= bounds[1]:
        raise ValueError(f"log_std {log_std} is outside its bounds {bounds}")


def _widths(hidden_dim: int | Sequence[int], depth: int) -> tuple[int, ...]:
    if isinstance(hidden_dim, Sequence):
        return tuple(hidden_dim)
    return (operator.index(hidden_dim),) * depth


def _generator_from_torch() -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**62, ()).item()))


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """A layer of these weights; torch's own constructor would draw from its global generator."""
    linear = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(linear)
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(torch.from_numpy(weight).float())
    linear.bias = nn.Parameter(torch.from_numpy(bias).float())
    return linear


def _initial(
    init: Initialisation, fan_in: int, fan_out: int, gain: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [fan_out, fan_in] and bias [fan_out] of one layer.

    Orthogonal: Saxe et al. 2014, https://arxiv.org/abs/1312.6120; the QR factors' signs are fixed so that the
    matrix is uniform over the orthogonal ones.
    """
    if init == "uniform":
        bound = 1 / math.sqrt(fan_in)
        return rng.uniform(-bound, bound, (fan_out, fan_in)), rng.uniform(-bound, bound, fan_out)
    tall = rng.standard_normal((max(fan_in, fan_out), min(fan_in, fan_out)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return gain * (q if fan_out >= fan_in else q.T), np.zeros(fan_out)
