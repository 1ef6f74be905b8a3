"""The networks: on a perceptron the softmax, Gaussian, Beta and gSDE policies, and the value V(s)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor, nn

from policygrad.checks import is_number
from policygrad.policies.flat import flat_parameters
from policygrad.policies.mlp import MLP, Activation, Initialisation, is_plain


class DiscretePolicy(nn.Module):
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
        sizes = (state_dim, *_widths(hidden_dim, depth), action_dim)
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
        state = torch.as_tensor(state, dtype=torch.float32)
        distribution = torch.distributions.Categorical(logits=self.logits(state))
        action = distribution.sample()
        return int(action.item()), distribution.log_prob(action)


class GaussianPolicy(nn.Module):
    """Gaussian policy: a ~ N(network(s), σ²), independent over `action_dim` dimensions, σ the same in every state.

    The log standard deviation stays within `log_std_bounds`: `forward` clamps it, and the engines project it
    back after each step (beyond a clamp its gradient would be 0 and it could never return).

    With `state_dependent_std` the network puts out 2K numbers, means and then r, and there is no parameter of
    its own: log σ = m + h tanh(r/h), m the middle of the bounds and h half their width. In the middle its slope
    is 1, and it is 0 nowhere.

    Args:
        state_dim: D, numbers in an observation.
        action_dim: K, numbers in an action.
        hidden_dim, depth, activation, init, gain, rng: see `DiscretePolicy`.
        log_std: where the log standard deviation begins.
        log_std_bounds: (lowest, highest).
        state_dependent_std: whether σ is an output of the network.
    """

    log_std: nn.Parameter
    """[K]; None with `state_dependent_std`."""

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
        state_dependent_std: bool = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        outputs = 2 * action_dim if state_dependent_std else action_dim
        sizes = (state_dim, *_widths(hidden_dim, depth), outputs)
        check_log_std(log_std, log_std_bounds, inside=state_dependent_std)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.action_dim = int(action_dim)
        self.log_std_bounds = log_std_bounds
        self.state_dependent_std = state_dependent_std
        if state_dependent_std:
            self.register_parameter("log_std", None)
            middle, half = middle_and_half(log_std_bounds)
            last: Any = self.network[-1]
            with torch.no_grad():
                last.bias[action_dim:] = half * math.atanh((log_std - middle) / half)
        else:
            self.log_std = nn.Parameter(torch.full((action_dim,), log_std))
        # log_std is registered on this module and so comes first in parameters(): [log_std | network]
        flat_parameters(self)

    @property
    def limits(self) -> tuple[float, float]:
        """What `project` keeps the parameters `log_std` between."""
        return self.log_std_bounds

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """(mean [..., action_dim], std [action_dim]) for states [..., state_dim]; std [..., K] if state-dependent."""
        if not self.state_dependent_std:
            return self.network(state), self.log_std.clamp(*self.log_std_bounds).exp()
        mean, raw = self.network(state).chunk(2, -1)
        middle, half = middle_and_half(self.log_std_bounds)
        return mean, torch.exp(middle + half * torch.tanh(raw / half))

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
        if not self.state_dependent_std:
            self.log_std.clamp_(*self.limits)


class BetaPolicy(nn.Module):
    """Beta policy on (0, 1): α = 1 + softplus(r), β = 1 + softplus(r'), both from the network, so one-peaked.

    Chou, Maturana & Scherer 2017, "Improving stochastic policy gradients in continuous control with deep
    reinforcement learning using the Beta distribution", section 4. Arguments as in `DiscretePolicy`, with
    `action_dim` K numbers in an action.
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
        sizes = (state_dim, *_widths(hidden_dim, depth), 2 * action_dim)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.action_dim = int(action_dim)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """(α, β), both [..., action_dim] and at least 1, for states [..., state_dim]."""
        alpha, beta = (1 + nn.functional.softplus(self.network(state))).chunk(2, -1)
        return alpha, beta


class GSDEPolicy(nn.Module):
    """Generalised state-dependent exploration: a = network(s) + φ(s)ᵀE with E_jk = σ_jk ε_jk, ε ~ N(0, 1).

    Raffin, Kober & Stulp 2021, "Smooth exploration for robotic reinforcement learning", section 3: φ(s) [L] is
    what the last hidden layer puts out (the observation, where there is none), and E is held for `sde_period`
    steps. As in the authors' implementation no gradient flows from the noise into φ (`learn_features=False`).

    Args:
        state_dim, action_dim, hidden_dim, depth, activation, init, gain, rng: see `GaussianPolicy`.
        log_std: log of the noise's size where ‖φ‖² = min(D, L), which is about what observations of unit variance
            give through fresh layers that are orthogonal; each log σ_jk begins at this less ½ log min(D, L).
        log_std_bounds: (lowest, highest), likewise.
        sde_period: steps for which a rollout holds E.
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
        sde_period: int = 4,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (state_dim, *_widths(hidden_dim, depth), action_dim)
        check_log_std(log_std, log_std_bounds)
        check_period(sde_period)
        self.network = MLP(sizes, activation, init, gain, rng)
        self.action_dim, self.features = self.network.sizes[-1], self.network.sizes[-2]
        self.log_std_bounds = log_std_bounds
        self.sde_period = sde_period
        self.typical_norm = math.sqrt(min(state_dim, self.features))
        share = math.log(self.typical_norm)
        self.limits = (log_std_bounds[0] - share, log_std_bounds[1] - share)
        self.log_std = nn.Parameter(torch.full((self.features, self.action_dim), log_std - share))
        flat_parameters(self)

    def typical_std(self) -> float:
        """The noise's mean standard deviation where ‖φ‖² is what `log_std` supposes, in units of the action."""
        return self.typical_norm * float(self.log_std.detach().exp().mean())

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(mean [..., action_dim], φ [..., L] without its graph, σ [L, action_dim]) for states [..., state_dim]."""
        features = state
        for layer in list(self.network)[:-1]:
            features = layer(features)
        return self.network[-1](features), features.detach(), self.log_std.clamp(*self.limits).exp()

    @torch.no_grad()
    def project(self) -> None:
        """Bring log σ back within its bounds."""
        self.log_std.clamp_(*self.limits)


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


StandardPolicy: TypeAlias = DiscretePolicy | GaussianPolicy | BetaPolicy | GSDEPolicy


def is_standard(module: nn.Module) -> bool:
    """Whether it is one of the classes above and nothing was changed in it: then its sizes say all of it."""
    standard = type(module) in (*get_args(StandardPolicy), ValueNetwork)
    return standard and is_plain(getattr(module, "network", None))


def middle_and_half(bounds: tuple[float, float]) -> tuple[float, float]:
    """The middle of an interval, and half its width."""
    return (bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2


def check_log_std(log_std: float, bounds: Any, *, inside: bool = False) -> None:
    """Raise ValueError unless a log standard deviation lies within its bounds; `inside`, strictly."""
    if not (isinstance(bounds, Sequence) and len(bounds) == 2 and all(map(is_number, bounds))):
        raise ValueError(f"log_std_bounds must be two numbers, (lowest, highest); got {bounds!r}")
    if not bounds[0] < bounds[1]:
        raise ValueError(f"log_std_bounds must be (lowest, highest); got {bounds}")
    if not bounds[0] <= log_std <= bounds[1]:
        raise ValueError(f"log_std {log_std} is outside its bounds {bounds}")
    if inside and log_std in bounds:
        raise ValueError(
            f"log_std {log_std} is one of its bounds {bounds}; a state-dependent one must begin between them"
        )


def check_period(period: int) -> None:
    """Raise ValueError unless gSDE's noise is held for at least a step."""
    if period < 1:
        raise ValueError(f"sde_period must be 1 or more; got {period}")


def _widths(hidden_dim: int | Sequence[int], depth: int) -> tuple[int, ...]:
    if isinstance(hidden_dim, Sequence):
        return tuple(hidden_dim)
    return (operator.index(hidden_dim),) * depth
