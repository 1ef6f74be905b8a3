"""Reward shaping: what is learned from instead of the environment's reward. Reports keep to the original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from policygrad.errors import NonFiniteError
from policygrad.types import F64, Array, Bool, check_shape

Shaping: TypeAlias = Callable[[F64, Array, Array, Bool, Bool], Array]
"""shaping(reward, observation, next_observation, terminated, truncated) -> shaped reward

All are arrays over many steps at once: rewards and flags [...], observations [..., *shape] in the
environment's own form. `elementwise` makes one of a function of a single step.
"""


@dataclass(frozen=True)
class PotentialShaping:
    """r + γΦ(s′) − Φ(s), with Φ = 0 where an episode terminates.

    Ng, Harada & Russell 1999, theorem 1: the one form that leaves the optimal policy as it is, in every
    environment. Their discount is the algorithm's: training fills `gamma` in where it is None.

    At a time limit Φ(s′) stands as it is, since the state is like any other.
    """

    potential: Callable[[Array], Array]
    """Φ: observations [..., *shape] -> [...]."""
    gamma: float | None = None

    def with_gamma(self, gamma: float) -> PotentialShaping:
        """The same, with the discount filled in if it was left open; ValueError if it is another."""
        if self.gamma not in (None, gamma):
            raise ValueError(
                f"PotentialShaping has gamma {self.gamma}, the algorithm {gamma}: with another discount the best "
                "policy changes. Leave it open, and the algorithm's is taken"
            )
        return replace(self, gamma=gamma)

    def __call__(
        self, reward: F64, observation: Array, next_observation: Array, terminated: Bool, truncated: Bool
    ) -> F64:
        """The shaped reward [...] float64: see `Shaping`."""
        if self.gamma is None:
            raise ValueError("PotentialShaping.gamma is not set; give the algorithm's discount")
        here = np.asarray(self.potential(observation), np.float64)
        there = np.asarray(self.potential(next_observation), np.float64)
        check_shape("potential(observation)", here, reward.shape)
        return reward + self.gamma * np.where(terminated, 0.0, there) - here


def elementwise(function: Callable[..., float]) -> Shaping:
    """A shaping from a function of one step: (reward, state, next_state, terminated, truncated) -> float.

    It is called once a step from Python: the slow way, for functions with an `if` in them.
    """

    def shaping(reward: F64, observation: Array, next_observation: Array, *flags: Bool) -> Array:
        shaped = np.empty_like(reward)
        for i in np.ndindex(reward.shape):
            shaped[i] = function(
                float(reward[i]), observation[i], next_observation[i], *(bool(f[i]) for f in flags)
            )
        return shaped

    return shaping


def apply_shaping(shaping: Shaping, *columns: Any) -> F64:
    """The shaped reward, checked.

    Raises:
        ValueError: the function gave another shape, or does not work on arrays.
        NonFiniteError: it gave a NaN or an infinity.
    """
    reward: F64 = columns[0]
    try:
        shaped = np.asarray(shaping(*columns), np.float64)
    except ValueError as error:
        if "truth value of an array" not in str(error):
            raise
        raise ValueError(
            "the shaping function works on one step at a time, but gets arrays of many: write `if` as "
            "numpy.where, or wrap the function in policygrad.elementwise"
        ) from error
    check_shape("the shaped reward", shaped, reward.shape)
    if not np.isfinite(shaped).all():
        first = np.argwhere(~np.isfinite(shaped))[0]
        given = ", ".join(str(np.asarray(column)[tuple(first)]) for column in columns)
        raise NonFiniteError(f"the shaped reward is not finite for ({given})")
    return shaped
