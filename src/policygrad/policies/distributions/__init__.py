"""Distributions over actions, in torch, one per file. A distribution defines what a network's outputs mean.

Samples are computed from noise that NumPy draws, so that all engines take the same actions from the same random stream.
`engines.fused.heads` contains the same formulas in machine code.
"""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
from torch import nn

from policygrad._support.checks import check_choice
from policygrad.policies.distributions.beta import Beta
from policygrad.policies.distributions.categorical import Categorical
from policygrad.policies.distributions.distribution import Distribution, Transform
from policygrad.policies.distributions.gaussian import Gaussian, SquashedGaussian
from policygrad.policies.distributions.gsde import GSDE
from policygrad.policies.distributions.units import Units
from policygrad.policies.networks import (
    DiscretePolicy,
    GaussianPolicy,
    GSDEPolicy,
    PerceptronPolicy,
)
from policygrad.spaces import LARGEST_BOUND, Space, bounds_of, choices_of, is_choice

DistributionName = Literal["auto", "gaussian", "squashed", "beta", "gsde"]

BOXED: dict[str, type[Distribution]] = {kind.name: kind for kind in (Gaussian, SquashedGaussian, Beta, GSDE)}
"""The distributions of actions in a Box, by their names in `Network`."""


def distribution_for(
    wanted: DistributionName | Distribution,
    network: nn.Module,
    space: Space,
    environment_name: str,
    scale_actions: bool = True,
) -> Distribution:
    """Return the distribution over the actions of a space that a network's outputs parameterize.

    With `scale_actions`, the actions of a Gaussian or gSDE are in units of the box: see `Units`.

    Raises:
        ValueError: the name is not a `DistributionName`, or the name, the network and the space do not fit together.
    """
    if isinstance(wanted, Distribution):
        return wanted
    check_choice("distribution", wanted, DistributionName)
    own = next(
        (d.name for d in BOXED.values() if d.network_kind and isinstance(network, d.network_kind)), None
    )
    if is_choice(space):
        if isinstance(network, GaussianPolicy) or own is not None:
            raise ValueError(
                f"{environment_name} has discrete actions; {type(network).__name__} needs a Box. Use DiscretePolicy."
            )
        if wanted != "auto":
            raise ValueError(
                f"{environment_name} has discrete actions, whose distribution is a softmax; distribution={wanted!r} "
                "needs a Box. Leave it out."
            )
        return Categorical(choices_of(space)[0], single=space.shape == ())
    if isinstance(network, DiscretePolicy):
        raise ValueError(
            f"{environment_name} has continuous actions; DiscretePolicy needs discrete ones. Use GaussianPolicy."
        )
    name = wanted if wanted != "auto" else own or "gaussian"
    kind = BOXED[name].network_kind
    if name != (own or name) or (kind is not None and isinstance(network, GaussianPolicy)):
        raise ValueError(
            f"distribution={name!r} does not fit a {type(network).__name__}. Leave the network out, and a suitable one "
            "is created."
        )
    low, high = bounds_of(space)
    units = Units(low, high, scaled=scale_actions)
    if name == "gaussian":
        return Gaussian(units)
    if name == "gsde":
        if not isinstance(network, GSDEPolicy):
            raise ValueError(f"distribution='gsde' needs a GSDEPolicy; got {type(network).__name__}")
        return GSDE(network, units)
    if not (np.abs([low, high]) < LARGEST_BOUND).all() or not (low < high).all():
        raise ValueError(
            f"distribution={name!r} needs a Box with finite bounds and low < high; {environment_name} has {space}. "
            "Use 'gaussian', which clips actions to the box."
        )
    return SquashedGaussian(low, high) if name == "squashed" else Beta(low, high)


def is_own(distribution: Distribution) -> bool:
    """Return True for a custom distribution, including subclasses of this library's, which may compute anything."""
    return not vars(type(distribution)).get("has_machine_code")


def network_kind_for(name: DistributionName) -> type[PerceptronPolicy]:
    """Return the class of the network that is created for a distribution of actions in a Box."""
    kind = BOXED["gaussian" if name == "auto" else name].network_kind
    return GaussianPolicy if kind is None else cast("type[PerceptronPolicy]", kind)


def settings_of(name: DistributionName) -> tuple[str, ...]:
    """Return the fields of `Network` that this distribution uses and others do not; `auto` is the Gaussian."""
    return BOXED["gaussian" if name == "auto" else name].network_settings


__all__ = [
    "BOXED",
    "GSDE",
    "Beta",
    "Categorical",
    "Distribution",
    "DistributionName",
    "Gaussian",
    "SquashedGaussian",
    "Transform",
    "Units",
    "distribution_for",
    "is_own",
    "network_kind_for",
    "settings_of",
]
