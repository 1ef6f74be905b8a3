"""Reward shaping: a reward to learn from in place of the environment's. Reported returns use the original one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import Any, TypeAlias

import numpy as np
from numba import types

from policygrad._support.compiling import compiled_when_called
from policygrad._support.function_pointers import address_of, function_at
from policygrad.errors import NonFiniteError
from policygrad.types import F32, F64, Array, Bool, check_shape

Shaping: TypeAlias = Callable[[F64, Array, Array, Bool, Bool], Array]
"""shaping(reward, observation, next_observation, terminated, truncated) -> shaped reward

All arguments are arrays over many steps: rewards and flags [...], observations [..., *shape] in the environment's
own form. `elementwise` turns a function of a single step into a shaping function. So does `train` with a function of
four arguments, (reward, state, next_state, done) -> float.
"""


POTENTIAL: Any = types.float64(types.float64[::1])
"""Machine code of a potential: observation [D] -> Φ."""
_potential_at = function_at(POTENTIAL)


class CompiledPotential:
    """A potential Φ in machine code, which can be used as a decorator.

    Runs whose potential is compiled stay in machine code, with compiled environments. It may be used with others too.

    Args:
        function: Φ of one observation: [D] float64 -> float, written for Numba's nopython mode. The observation has the
            numbers of a Box in order, or the index of a Discrete space. Every index is checked.

    Raises:
        TypeError: Numba cannot compile the function; this is raised when it is first used.
    """

    def __init__(self, function: Callable[[Any], float]) -> None:
        self.function = function
        update_wrapper(self, function)

    @property
    def address(self) -> int:
        """Address of the machine code in this process."""
        return address_of(self.function, POTENTIAL, exact=True)

    def __call__(self, observation: Array) -> F64:
        """Return Φ of observations [..., D]: [...] float64. For a Discrete space, D is 1."""
        rows = np.ascontiguousarray(observation, np.float64)
        rows, found = rows.reshape(-1, rows.shape[-1]), np.empty(rows.shape[:-1])
        _write_potential(self.address, rows, found.reshape(-1))
        return found


@compiled_when_called
def _write_potential(potential: int, observation: F64, found: F64) -> None:
    for i in range(len(found)):
        found[i] = _potential_at(potential)(observation[i])


@compiled_when_called
def shape_by_potential(
    potential: int,
    gamma: float,
    reward: F64,
    observation: F32,
    next_observation: F32,
    terminated: Bool,
    valid: Bool,
    work: F64,
    shaped: F64,
) -> bool:
    """Write the rewards [T, N] of `PotentialShaping`, 0 in rows that are not valid; return whether all are finite.

    Args:
        potential: address of a compiled potential.
        gamma: discount.
        reward, terminated, valid: [T, N]: see `Rollout`.
        observation, next_observation: [T, N, D] float32.
        work: [D] float64: workspace.
        shaped: [T, N] float64, which receives the rewards.
    """
    finite = True
    for t in range(reward.shape[0]):
        for n in range(reward.shape[1]):
            shaped[t, n] = 0.0
            if valid[t, n]:
                there = 0.0
                for d in range(len(work)):
                    work[d] = observation[t, n, d]
                here = _potential_at(potential)(work)
                if not terminated[t, n]:
                    for d in range(len(work)):
                        work[d] = next_observation[t, n, d]
                    there = _potential_at(potential)(work)
                shaped[t, n] = reward[t, n] + gamma * there - here
                finite = finite and np.isfinite(shaped[t, n])
    return finite


@dataclass(frozen=True)
class PotentialShaping:
    """Potential-based shaping: the reward becomes r + γΦ(s′) − Φ(s), with Φ = 0 where an episode terminates.

    This is the only form of shaping that leaves the optimal policy unchanged in every environment (Ng, Harada &
    Russell 1999, theorem 1). γ must be the discount of the algorithm; training fills it in if `gamma` is None.

    At a time limit Φ(s′) is kept, because the last state is like any other.
    """

    potential: Callable[[Array], Array] | CompiledPotential
    """Φ: observations [..., *shape] -> [...], or a `CompiledPotential`."""
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
        if isinstance(self.potential, CompiledPotential):
            shape = *reward.shape, math.prod(observation.shape[reward.ndim :])
            observation, next_observation = observation.reshape(shape), next_observation.reshape(shape)
        here = np.asarray(self.potential(observation), np.float64)
        there = np.asarray(self.potential(next_observation), np.float64)
        check_shape("potential(observation)", here, reward.shape)
        return reward + self.gamma * np.where(terminated, 0.0, there) - here


def compiled_potential(shaping: Shaping | None) -> CompiledPotential | None:
    """Return the potential of a shaping by a compiled potential; None for any other shaping."""
    potential = shaping.potential if isinstance(shaping, PotentialShaping) else None
    return potential if isinstance(potential, CompiledPotential) else None


def elementwise(function: Callable[..., float]) -> Shaping:
    """Return a shaping from a function of one step: (reward, state, next_state, terminated, truncated) -> float.

    Python calls the function once per step, which is slow. Use it for functions that contain an `if`.
    """

    def shaping(
        reward: F64, observation: Array, next_observation: Array, terminated: Bool, truncated: Bool
    ) -> Array:
        shaped = np.empty_like(reward)
        for i in np.ndindex(reward.shape):
            ends = bool(terminated[i]), bool(truncated[i])
            shaped[i] = function(float(reward[i]), observation[i], next_observation[i], *ends)
        return shaped

    return shaping


def as_shaping(function: Callable[..., Any]) -> Shaping:
    """Return a shaping of many steps, also from a function (reward, state, next_state, done) -> float of one step."""
    if _accepts(function, 5) or not _accepts(function, 4):
        return function

    def step(reward: float, state: Any, next_state: Any, terminated: bool, truncated: bool) -> float:
        return function(reward, state, next_state, terminated or truncated)

    shaping = elementwise(step)
    # a `__wrapped__` would show the four arguments of the function
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(shaping, name, getattr(function, name, None))
    return shaping


def _accepts(function: Callable[..., Any], count: int) -> bool:
    """Return True if a function can be called with so many positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


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
