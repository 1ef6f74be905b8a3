"""Distributions over actions, in torch: what a network's outputs mean, a file each.

Each reads what a network put out, and samples from noise that numpy drew, so that every engine takes the
same action from the same stream. The same formulas in machine code stand in `engines.fused.heads`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import nn

from policygrad.checks import check_choice
from policygrad.policies.distributions.beta import Beta
from policygrad.policies.distributions.categorical import Categorical
from policygrad.policies.distributions.gaussian import Gaussian, SquashedGaussian, Units
from policygrad.policies.distributions.gsde import GSDE
from policygrad.policies.distributions.protocol import Distribution, Transform
from policygrad.policies.networks import (
    BetaPolicy,
    DiscretePolicy,
    GaussianPolicy,
    GSDEPolicy,
)
from policygrad.spaces import LARGEST_BOUND, Space, bounds_of, choices_of, is_choice

DistributionName = Literal["auto", "gaussian", "squashed", "beta", "gsde"]

OF_NETWORK = {BetaPolicy: "beta", GSDEPolicy: "gsde"}
"""What the network says by itself; a `GaussianPolicy`, and any module of one's own, leaves it open."""


def distribution_for(
    name: DistributionName,
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
    check_choice("distribution", name, DistributionName)
    own = next((own for kind, own in OF_NETWORK.items() if isinstance(network, kind)), None)
    if is_choice(space):
        if isinstance(network, GaussianPolicy) or own is not None:
            raise ValueError(
                f"{environment_name} has discrete actions; {type(network).__name__} needs a Box: use DiscretePolicy"
            )
        if name != "auto":
            raise ValueError(
                f"{environment_name} has discrete actions, which are softmax; distribution={name!r} is of a Box: "
                "leave it out"
            )
        return Categorical(choices_of(space)[0], single=space.shape == ())
    if isinstance(network, DiscretePolicy):
        raise ValueError(
            f"{environment_name} has continuous actions; DiscretePolicy needs Discrete: use GaussianPolicy"
        )
    wanted = name if name != "auto" else own or "gaussian"
    if wanted != (own or wanted) or (wanted in OF_NETWORK.values() and isinstance(network, GaussianPolicy)):
        raise ValueError(
            f"distribution={wanted!r} does not go with a {type(network).__name__}: leave the network out, and the "
            "right one is made"
        )
    low, high = bounds_of(space)
    units = Units(low, high, scaled=scale_actions)
    if wanted == "gaussian":
        return Gaussian(units)
    if wanted == "gsde":
        if not isinstance(network, GSDEPolicy):
            raise ValueError(f"distribution='gsde' needs a GSDEPolicy; got a {type(network).__name__}")
        return GSDE(network, units)
    if not (np.abs([low, high]) < LARGEST_BOUND).all() or not (low < high).all():
        raise ValueError(
            f"distribution={wanted!r} needs a Box with finite bounds, each low below its high; {environment_name} has "
            f"{space}: use 'gaussian', which clips"
        )
    return SquashedGaussian(low, high) if wanted == "squashed" else Beta(low, high)


__all__ = [
    "GSDE",
    "Beta",
    "Categorical",
    "Distribution",
    "Gaussian",
    "SquashedGaussian",
    "Transform",
    "Units",
    "distribution_for",
]
