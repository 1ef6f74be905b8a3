"""Which distribution a network's outputs are, as compiled code sees it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad.engines.signatures import SIZES
from policygrad.pointers import ADDRESS, scipy_address
from policygrad.policies import GaussianPolicy, Policy
from policygrad.policies.distributions import GSDE, Beta, Categorical, SquashedGaussian
from policygrad.policies.networks import middle_and_half
from policygrad.types import I64

CHOICES, GAUSSIAN, SQUASHED, BETA, STATE_NOISE = 0, 1, 2, 3, 4


class Head(NamedTuple):
    """A distribution over actions; one array alone, for each costs every call 0.3 µs."""

    kind: int
    sizes: I64
    """[K]: the alternatives of each choice; empty of the others."""
    greedy: bool = False
    """`sample` gives the mode."""
    per_state: bool = False
    """A Gaussian's log σ stand beside its means, as `middle` + `half` · tanh(output / `half`)."""
    middle: float = 0.0
    half: float = 1.0
    log_volume: float = 0.0
    """Of the map from what is stored to the box: Σ log((high − low)/2) of tanh, Σ log(high − low) of a Beta."""
    inverse: int = 0
    """Where SciPy's `betaincinv` lies."""


HEAD: Any = types.NamedTuple(
    [
        types.int64, SIZES, types.boolean, types.boolean,
        types.float64, types.float64, types.float64, ADDRESS,
    ],
    Head,
)  # fmt: skip


def head_of(policy: Policy) -> Head:
    """The head for a policy's distribution."""
    distribution, network = policy.distribution, policy.network
    none = np.zeros(0, np.int64)
    if isinstance(distribution, Categorical):
        return Head(CHOICES, np.array(distribution.sizes, np.int64))
    if isinstance(distribution, Beta):
        inverse = scipy_address("betaincinv")
        return Head(BETA, none, log_volume=distribution.log_volume, inverse=inverse)
    if isinstance(distribution, GSDE):
        return Head(STATE_NOISE, none)
    assert isinstance(network, GaussianPolicy)
    head = Head(GAUSSIAN, none, per_state=network.state_dependent_std)
    if isinstance(distribution, SquashedGaussian):
        head = head._replace(kind=SQUASHED, log_volume=distribution.log_volume)
    if network.state_dependent_std:
        middle, half = middle_and_half(network.log_std_bounds)
        head = head._replace(middle=middle, half=half)
    return head
