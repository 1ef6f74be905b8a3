"""Reward shaping: a reward to learn from in place of the environment's. Reported returns use the original one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from policygrad.errors import NonFiniteError
from policygrad.types import F64, Array, Bool, check_shape

Shaping: TypeAlias = Callable[[F64, Array, Array, Bool, Bool], Array]
"""shaping(reward, observation, next_observation, terminated, truncated) -> shaped reward

All arguments are arrays over many steps: rewards and flags [...], observations [..., *shape] in the environment's
own form. `elementwise` turns a function of a single step into a shaping function.
"""


@dataclass(frozen=True)
class PotentialShaping:
    """Potential-based shaping: the reward becomes r + γΦ(s′) − Φ(s), with Φ = 0 where an episode terminates.

    This is the only form of shaping that leaves the optimal policy unchanged in every environment (Ng, Harada &
    Russell 1999, theorem 1). γ must be the discount of the algorithm; training fills it in if `gamma` is None.

    At a time limit Φ(s′) is kept, because the last state is like any other.
    """

    potential: Callable[[Array], Array]
    """Φ: observations [..., *shape] -> [...]."""
    gamma: float | None = None

    def with_gamma(self, gamma: float) -> PotentialShaping:
        """Return a copy with `gamma` filled in if it was None; raise ValueError if it has another value."""
        if self.gamma not in (None, gamma):
            raise ValueError(
                f"PotentialShaping has gamma {self.gamma}, but the algorithm has gamma {gamma}. Different discounts "
                "would change the optimal policy. Leave gamma out to use the algorithm's"
            )
        return replace(self, gamma=gamma)

    def __call__(
        self, reward: F64, observation: Array, next_observation: Array, terminated: Bool, truncated: Bool
    ) -> F64:
        """Return the shaped reward [...] float64; see `Shaping`."""
        if self.gamma is None:
            raise ValueError("PotentialShaping.gamma is not set; pass the algorithm's discount")
        here = np.asarray(self.potential(observation), np.float64)
        there = np.asarray(self.potential(next_observation), np.float64)
        check_shape("potential(observation)", here, reward.shape)
        return reward + self.gamma * np.where(terminated, 0.0, there) - here


def elementwise(function: Callable[..., float]) -> Shaping:
    """Return a shaping from a function of one step: (reward, state, next_state, terminated, truncated) -> float.

    Python calls the function once per step, which is slow. Use it for functions that contain an `if`.
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
    """Return the shaped reward after checking it.

    Raises:
        ValueError: the function returned an array of the wrong shape, or does not work on arrays.
        NonFiniteError: the function returned a NaN or an infinity.
    """
    reward: F64 = columns[0]
    try:
        shaped = np.asarray(shaping(*columns), np.float64)
    except ValueError as error:
        if "truth value of an array" not in str(error):
            raise
        raise ValueError(
            "the shaping function works on a single step, but it receives arrays of many steps. Replace `if` by "
            "numpy.where, or wrap the function in policygrad.elementwise"
        ) from error
    check_shape("the shaped reward", shaped, reward.shape)
    if not np.isfinite(shaped).all():
        first = np.argwhere(~np.isfinite(shaped))[0]
        given = ", ".join(str(np.asarray(column)[tuple(first)]) for column in columns)
        raise NonFiniteError(f"the shaped reward is not finite for ({given})")
    return shaped
