"""The networks of an experiment: those given, or made as `Network` says."""

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
from policygrad.policies.mlp import MLP, Activation, Initialisation
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
    """The shape of a perceptron and how its weights begin; used for the policy and, unless shared, again for V(s)."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers; none makes the outputs linear in the observation."""
    activation: Activation = "tanh"
    """Between the layers: tanh or relu."""
    init: Initialisation = "orthogonal"
    """Weights: `orthogonal` (gain √2, biases 0), or `uniform` in ±1/√fan_in with the biases, torch's own."""
    shared: bool = False
    """V(s) has one layer of its own on the policy's hidden ones."""
    scale_observations: bool = False
    """Map a Box's finite bounds to [−1, 1] on the way in."""
    policy_gain: Positive = 0.01
    """Factor on the policy's last layer under `orthogonal`: small, so that the first policy hardly prefers."""
    distribution: DistributionName = "auto"
    """Of actions in a Box: `gaussian` is clipped to the box, `squashed` goes into it by tanh, `beta` lies in it,
    `gsde` is clipped and has noise that is held for some steps; auto is gaussian. Choices are softmax: auto."""
    scale_actions: bool = True
    """A Gaussian or gSDE policy acts in units of a finite box: 0 is its middle, 1 half its width, so that it explores
    the whole box, whatever that is. Intervals without finite bounds stay as they are."""
    log_std: Finite = 0.0
    """Where a Gaussian policy's log standard deviation begins; 0 is a deviation of one unit."""
    log_std_bounds: tuple[float, float] = (-5.0, 2.0)
    """The log standard deviation never leaves these."""
    state_dependent_std: bool = False
    """A Gaussian's (or squashed Gaussian's) standard deviation is an output of the network, not a parameter."""
    sde_period: Count = 4
    """Steps for which gSDE's noise is held."""

    def __post_init__(self) -> None:
        hidden: Any = self.hidden
        if isinstance(hidden, str) or not isinstance(hidden, Sequence):
            raise ValueError(f"hidden must be the width of each layer, as in (64, 64); got {hidden!r}")
        widths = tuple(whole("a width in hidden", width, at_least=1) for width in hidden)
        object.__setattr__(self, "hidden", widths)
        check_fields(self)
        for name in ("sde_period", "scale_actions", "state_dependent_std"):
            # log_std is not among them: presets name it, whatever distribution is asked for
            of = " and ".join(repr(kind.name) for kind in BOXED.values() if name in kind.network_settings)
            check_in_effect(self, name, f"distribution={of}", name in settings_of(self.distribution))
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
    """The policy for these spaces: softmax for choices, and for a Box what `network.distribution` says.

    Args:
        observation_space, action_space: what it is for.
        network: its shape; where one is given only `scale_observations`, `scale_actions` and `distribution` count.
        rng: the initial weights.
        normalization: the running statistics it keeps.
        given: use this instead: a `Policy` as it is, a module to make one of, or what makes a module: see `made_by`.
        environment_name: for error messages.

    Raises:
        ValueError: the spaces are not supported, or the given one is for others.
    """
    if isinstance(given, Policy) and normalization not in (NO_NORMALIZATION, given.normalization):
        raise ValueError(
            f"the policy given keeps {given.normalization}; asked was {normalization}: leave that out"
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
    """Call a network of one's own once; ValueError where it does not take the numbers that it will be shown."""
    with torch.no_grad(), evaluation_mode(module):
        try:
            seen: Any = torch.zeros((2, numbers), dtype=torch.float32, device=device)
            module(Inputs(seen) if isinstance(module, Policy) else seen)
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"the {name} network does not take observations of shape [B, {numbers}]: {error}"
            ) from error


_torch_generator = threading.Lock()


def made_by(
    given: nn.Module | Callable[..., nn.Module], name: str, numbers: tuple[int, ...], rng: np.random.Generator
) -> nn.Module:
    """Return the module that was given, or that a function or a class makes.

    It is called with as many of the numbers as it takes. Its weights are of the run's seed: while it makes them,
    torch's global generator is seeded from `rng`, and then put back.

    Args:
        given: a module, a function or a class.
        name: `policy` or `value`, for messages.
        numbers: (state_dim, action_dim), or (state_dim,) for a value network.
        rng: of the weights.

    Raises:
        TypeError: it makes no module.
    """
    if isinstance(given, nn.Module):
        return given
    if not callable(given):  # pyright: ignore[reportUnnecessaryComparison]
        raise TypeError(
            f"{name} must be a torch module, or a function or class that makes one; got {given!r}"
        )
    parameters = inspect.signature(given).parameters
    positional = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    # those that it has to be given, and those that say by their names that they are meant
    taken = [p for p in positional if p.default is p.empty or p.name in ("state_dim", "action_dim")]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    arguments = numbers if takes_any else numbers[: len(taken)]
    if len(taken) > len(numbers):
        raise TypeError(
            f"{name}={name_of_object(given)} takes {', '.join(p.name for p in taken)}; it is called with "
            f"{' and '.join(('state_dim', 'action_dim')[: len(numbers)])}: give the others a default"
        )
    # one at a time: the generator is the process's
    with _torch_generator, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        made: Any = given(*arguments)
    check_is_a(nn.Module, f"what {name} makes", made)
    return made.to(torch.float32) if torch.get_default_dtype() != torch.float32 else made


def _warn_of_images(observation_space: Space) -> None:
    if is_image(observation_space):
        warnings.warn(
            f"the observations are images of shape {observation_space.shape}: an MLP sees them as "
            f"{observation_size(observation_space):,} numbers without neighbors, and hardly learns from them. Give a "
            "network with convolutions (policy=..., value=...), or let the environment show its state, as "
            "obs_type='ram' does for Atari",
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
                network, name, f"actions in a Box, and those of {environment_name} are discrete", False
            )
        if network.state_dependent_std:
            raise ValueError(
                f"{environment_name} has discrete actions, which have no standard deviation: leave "
                "state_dependent_std out"
            )
        return DiscretePolicy(size, numbers, network.hidden, **shape)
    of_network = (name for name in settings_of(network.distribution) if name != "scale_actions")
    shape |= {name: getattr(network, name) for name in of_network}
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
    """V(s) beside a policy, on its device, or Q(s, a) of one that also sees the action; None where none is wanted.

    Raises:
        ValueError: one is given and none wanted, it is for other observations, or the actions are no choice.
    """
    if not wanted:
        if given is not None:
            raise ValueError("a value network was given, but the algorithm's baseline is not 'value'")
        return None
    size = policy.observation_size
    if network.shared and given is None:
        perceptron = getattr(policy.network, "network", None)
        if sees_action or not isinstance(perceptron, MLP):
            raise ValueError(
                "shared=True is for V(s) and this library's policy networks: leave it out for a critic Q(s, a) and "
                "for networks of your own"
            )
        return SharedValueNetwork(perceptron, network.init, rng).to(policy.device)
    if sees_action:
        if policy.num_choices is None:
            raise ValueError("a critic Q(s, a) is for Discrete actions: with others take critic='v'")
        size += policy.num_choices
    if given is not None:
        value = made_by(given, "value", (size,), rng)
    else:
        value = ValueNetwork(size, network.hidden, **_shape(network, rng))
    if isinstance(value, ValueNetwork) and value.network.sizes[0] != size:
        raise ValueError(
            f"the ValueNetwork has state_dim {value.network.sizes[0]}; it will be shown {size} numbers"
        )
    return value.to(policy.device)


def _shape(network: Network, rng: np.random.Generator) -> dict[str, Any]:
    return {"activation": network.activation, "init": network.init, "rng": rng}
