"""Distributions over actions, in torch: what a network's outputs mean, a file each.

Each reads what a network put out, and samples from noise that numpy drew, so that every engine takes the
same action from the same stream. The same formulas in machine code stand in `engines.fused.heads`.
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
"""The distributions of actions in a Box, by the names that `Network` knows them by."""


def distribution_for(
    wanted: DistributionName | Distribution,
    network: nn.Module,
    space: Space,
    environment_name: str,
    scale_actions: bool = True,
) -> Distribution:
    """The distribution over actions of this space that a network's outputs are.

    With `scale_actions` a Gaussian's and gSDE's are in units of the box: see `Units`.

    Raises:
        ValueError: the name is not a `DistributionName`, or it, the network and the space do not go together.
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
                f"{environment_name} has discrete actions; {type(network).__name__} needs a Box: use DiscretePolicy"
            )
        if wanted != "auto":
            raise ValueError(
                f"{environment_name} has discrete actions, which are softmax; distribution={wanted!r} is of a Box: "
                "leave it out"
            )
        return Categorical(choices_of(space)[0], single=space.shape == ())
    if isinstance(network, DiscretePolicy):
        raise ValueError(
            f"{environment_name} has continuous actions; DiscretePolicy needs Discrete: use GaussianPolicy"
        )
    name = wanted if wanted != "auto" else own or "gaussian"
    kind = BOXED[name].network_kind
    if name != (own or name) or (kind is not None and isinstance(network, GaussianPolicy)):
        raise ValueError(
            f"distribution={name!r} does not go with a {type(network).__name__}: leave the network out, and the "
            "right one is made"
        )
    low, high = bounds_of(space)
    units = Units(low, high, scaled=scale_actions)
    if name == "gaussian":
        return Gaussian(units)
    if name == "gsde":
        if not isinstance(network, GSDEPolicy):
            raise ValueError(f"distribution='gsde' needs a GSDEPolicy; got a {type(network).__name__}")
        return GSDE(network, units)
    if not (np.abs([low, high]) < LARGEST_BOUND).all() or not (low < high).all():
        raise ValueError(
            f"distribution={name!r} needs a Box with finite bounds, each low below its high; {environment_name} has "
            f"{space}: use 'gaussian', which clips"
        )
    return SquashedGaussian(low, high) if name == "squashed" else Beta(low, high)


def is_own(distribution: Distribution) -> bool:
    """Whether a distribution is none of this library's: a subclass of one of these may compute anything."""
    return not vars(type(distribution)).get("has_machine_code")


def network_kind_for(name: DistributionName) -> type[PerceptronPolicy]:
    """The class of network that is made for a distribution of actions in a Box."""
    kind = BOXED["gaussian" if name == "auto" else name].network_kind
    return GaussianPolicy if kind is None else cast("type[PerceptronPolicy]", kind)


def settings_of(name: DistributionName) -> tuple[str, ...]:
    """The fields of `Network` that are for some distributions only, this one among them; of `auto`, a Gaussian's."""
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
