"""Construction of an experiment's networks: custom ones, or those that `Network` describes."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from policygrad._support.checks import (
    Count,
    Finite,
    Positive,
    check_fields,
    check_in_effect,
    check_is_a,
    whole,
)
from policygrad._support.lookup import name_of_object
from policygrad.policies.distributions import BOXED, DistributionName, network_kind_for, settings_of
from policygrad.policies.mlp import MLP, Activation, Initialization
from policygrad.policies.modes import evaluation_mode
from policygrad.policies.networks import (
    DiscretePolicy,
    ValueNetwork,
    check_log_std,
    is_standard,
)
from policygrad.policies.normalization import Normalization
from policygrad.policies.policy import NO_NORMALIZATION, Policy
from policygrad.policies.shared_trunk import SharedValueNetwork
from policygrad.spaces import Space, action_size, is_choice, is_image, observation_size, observed_part
from policygrad.types import Inputs


@dataclass(frozen=True)
class Network:
    """Architecture and initialization of the policy network and, unless `shared`, of a separate value network."""

    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer; without hidden layers, the outputs are linear in the observation."""
    activation: Activation = "tanh"
    """Activation between the layers."""
    init: Initialization = "orthogonal"
    """Initialization: `orthogonal` (gain √2, biases 0), or `uniform` in ±1/√fan_in including biases, as in torch."""
    shared: bool = False
    """Compute V(s) by one linear layer on the policy's hidden layers, instead of a separate network."""
    scale_observations: bool = False
    """Map the finite bounds of a Box of observations to [−1, 1]."""
    policy_gain: Positive = 0.01
    """Gain of the policy's last layer if `orthogonal`; a small gain makes the initial policy almost indifferent."""
    distribution: DistributionName = "auto"
    """Distribution of actions in a Box: `gaussian` is clipped to the box, `squashed` is mapped into the box by tanh,
    `beta` is on the box, and `gsde` is clipped and keeps its noise for several steps. For a Box, `auto` is `gaussian`.
    Discrete actions always use a softmax and require `auto`."""
    scale_actions: bool = True
    """Let a Gaussian or gSDE policy act in units of a finite box: 0 is its middle, and 1 is half its width.
    The policy then explores a box of any size. Intervals without finite bounds are not scaled."""
    log_std: Finite = 0.0
    """Initial log standard deviation of a Gaussian policy; 0 is a standard deviation of one unit."""
    log_std_bounds: tuple[float, float] = (-5.0, 2.0)
    """Lowest and highest log standard deviation."""
    state_dependent_std: bool = False
    """Make the standard deviation of a `gaussian` or `squashed` policy an output of the network, not a parameter."""
    sde_period: Count = 4
    """Number of steps for which gSDE's noise is kept."""

    def __post_init__(self) -> None:
        hidden: Any = self.hidden
        if isinstance(hidden, str) or not isinstance(hidden, Sequence):
            raise ValueError(f"hidden must list the width of each layer, as in (64, 64); got {hidden!r}")
        widths = tuple(whole("a width in hidden", width, at_least=1) for width in hidden)
        object.__setattr__(self, "hidden", widths)
        check_fields(self)
        for name in ("sde_period", "scale_actions", "state_dependent_std"):
            # log_std is not checked, because presets set it for whichever distribution the user chooses
            kinds = " or ".join(repr(kind.name) for kind in BOXED.values() if name in kind.network_settings)
            check_in_effect(self, name, f"distribution={kinds}", name in settings_of(self.distribution))
        check_in_effect(self, "policy_gain", "init='orthogonal'", self.init == "orthogonal")
        check_log_std(self.log_std, self.log_std_bounds, inside=self.state_dependent_std)


def make_policy(
    observation_space: Space,
    action_space: Space,
    network: Network,
    rng: np.random.Generator,
    *,
    normalization: Normalization = NO_NORMALIZATION,
    given: nn.Module | Callable[..., nn.Module] | None = None,
    environment_name: str = "the environment",
) -> Policy:
    """Return a policy for these spaces: a softmax for choices, and `network.distribution` for a Box.

    Args:
        observation_space, action_space: the spaces of the environment.
        network: the settings of the network. For a custom network, only `scale_observations`, `scale_actions` and
            `distribution` apply.
        rng: generator for the initial weights.
        normalization: the running statistics that the policy keeps.
        given: a custom policy: a `Policy`, which is returned unchanged; a module to use as the network; or a function
            or class that makes such a module (see `made_by`).
        environment_name: used in error messages.

    Raises:
        ValueError: the spaces are not supported, or `given` is for other spaces.
    """
    if isinstance(given, Policy) and normalization not in (NO_NORMALIZATION, given.normalization):
        raise ValueError(
            f"the given policy has {given.normalization}, but {normalization} was requested. Leave the latter out."
        )
    if given is not None:
        numbers = observation_size(observed_part(observation_space)[0]), action_size(action_space)
        given = made_by(given, "policy", numbers, rng)
    if isinstance(given, Policy):
        given.check_spaces(observation_space, action_space, environment_name)
        return given
    if given is None:
        _warn_of_images(observation_space)
        given = _network_for(observation_space, action_space, network, rng, environment_name)
    policy = Policy(
        given,
        observation_space,
        action_space,
        distribution=network.distribution,
        scale_observations=network.scale_observations,
        scale_actions=network.scale_actions,
        normalization=normalization,
        environment_name=environment_name,
    )
    if not is_standard(policy.network):
        _try_out(policy, "policy", policy.observation_size, policy.device)
    return policy


def _try_out(module: nn.Module, name: str, numbers: int, device: torch.device) -> None:
    """Call a custom network once, and raise ValueError if it does not accept observations of this size."""
    with torch.no_grad(), evaluation_mode(module):
        try:
            seen: Any = torch.zeros((2, numbers), dtype=torch.float32, device=device)
            module(Inputs(seen) if isinstance(module, Policy) else seen)
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"the {name} network does not accept observations of shape [B, {numbers}]: {error}"
            ) from error


_torch_generator = threading.Lock()


def made_by(
    given: nn.Module | Callable[..., nn.Module], name: str, numbers: tuple[int, ...], rng: np.random.Generator
) -> nn.Module:
    """Return the given module, or the module that the given function or class makes.

    A function or class is called with as many of the numbers as it accepts. The seed of the run determines the weights:
    torch's global generator is seeded from `rng` during the call, and restored after it.

    Args:
        given: a module, a function or a class.
        name: `policy` or `value`, used in messages.
        numbers: (state_dim, action_dim), or (state_dim,) for a value network.
        rng: generator for the seed of the weights.

    Raises:
        TypeError: the function or class does not return a module, or requires more arguments.
    """
    if isinstance(given, nn.Module):
        return given
    if not callable(given):  # pyright: ignore[reportUnnecessaryComparison]
        raise TypeError(
            f"{name} must be a torch module, or a function or class that makes one; got {given!r}"
        )
    parameters = inspect.signature(given).parameters
    positional = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    # a parameter with a default is passed only if its name shows that it is one of the numbers
    accepted = [p for p in positional if p.default is p.empty or p.name in ("state_dim", "action_dim")]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    arguments = numbers if takes_any else numbers[: len(accepted)]
    if len(accepted) > len(numbers):
        raise TypeError(
            f"{name}={name_of_object(given)} requires the arguments {', '.join(p.name for p in accepted)}, but it is "
            f"called with {' and '.join(('state_dim', 'action_dim')[: len(numbers)])}. Give the others a default."
        )
    # locked, because the whole process shares torch's global generator
    with _torch_generator, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        made: Any = given(*arguments)
    check_is_a(nn.Module, f"the result of {name}", made)
    return made.to(torch.float32) if torch.get_default_dtype() != torch.float32 else made


def _warn_of_images(observation_space: Space) -> None:
    if is_image(observation_space):
        warnings.warn(
            f"the observations are images of shape {observation_space.shape}. An MLP treats them as "
            f"{observation_size(observation_space):,} unrelated numbers and hardly learns from them. Pass networks "
            "with convolutions (policy=..., value=...), or let the environment return its state, as obs_type='ram' "
            "does for Atari.",
            stacklevel=2,
        )


def _network_for(
    observation_space: Space,
    action_space: Space,
    network: Network,
    rng: np.random.Generator,
    environment_name: str,
) -> nn.Module:
    size, numbers = observation_size(observed_part(observation_space)[0]), action_size(action_space)
    shape: dict[str, Any] = _shape(network, rng) | {"gain": network.policy_gain}
    if is_choice(action_space):
        for name in ("log_std", "log_std_bounds", "scale_actions"):
            check_in_effect(
                network, name, f"actions in a Box, but those of {environment_name} are discrete", False
            )
        if network.state_dependent_std:
            raise ValueError(
                f"{environment_name} has discrete actions, which have no standard deviation. Leave "
                "state_dependent_std out."
            )
        return DiscretePolicy(size, numbers, network.hidden, **shape)
    settings = (name for name in settings_of(network.distribution) if name != "scale_actions")
    shape |= {name: getattr(network, name) for name in settings}
    kind: Any = network_kind_for(network.distribution)
    return kind(size, numbers, network.hidden, **shape)


def make_value(
    policy: Policy,
    network: Network,
    rng: np.random.Generator,
    *,
    given: nn.Module | Callable[..., nn.Module] | None,
    wanted: bool,
    sees_action: bool = False,
) -> nn.Module | None:
    """Return a network for V(s), or for Q(s, a) if it also sees the action, on the policy's device.

    Returns:
        The network, or None if none is wanted.

    Raises:
        ValueError: a network is given but none is wanted, it is for other observations, V(s) is to share the policy's
            layers, or Q(s, a) is requested for actions that are not Discrete.
    """
    if not wanted:
        if given is not None:
            raise ValueError(
                "a value network was given, but the algorithm learns no V(s) with these settings. Leave the network "
                "out. (REINFORCE learns V(s) with baseline='value'.)"
            )
        return None
    size = policy.observation_size
    if network.shared:
        if given is not None:
            raise ValueError(
                "shared=True computes V(s) from the policy's hidden layers, so no value network can be given. "
                "Leave one of them out."
            )
        perceptron = getattr(policy.network, "network", None)
        if sees_action or not isinstance(perceptron, MLP):
            raise ValueError(
                "shared=True works only for V(s) and the policy networks of this library. Leave it out for a critic "
                "Q(s, a) or a network of your own."
            )
        return SharedValueNetwork(perceptron, network.init, rng).to(policy.device)
    if sees_action:
        if policy.num_choices is None:
            raise ValueError(
                "a critic Q(s, a) needs Discrete actions. Use critic='v' for other action spaces."
            )
        size += policy.num_choices
    if given is not None:
        value = made_by(given, "value", (size,), rng).to(policy.device)
        if isinstance(value, nn.Sequential):
            _try_out(value, "value", size, policy.device)
    else:
        value = ValueNetwork(size, network.hidden, **_shape(network, rng))
    if isinstance(value, ValueNetwork) and value.network.sizes[0] != size:
        raise ValueError(
            f"the ValueNetwork has state_dim {value.network.sizes[0]}, but its inputs have {size} numbers"
        )
    return value.to(policy.device)


def _shape(network: Network, rng: np.random.Generator) -> dict[str, Any]:
    return {"activation": network.activation, "init": network.init, "rng": rng}
