"""Compiled environments: three functions for Numba that act on a state of float64 numbers.

    def reset(state, rng):                begin an episode: write the state
    def step(state, action, rng):         take one step: write the next state; return (reward, terminated)
    def observe(state, observation):      write what the policy sees

`state` is float64 [S]. `action` is float64 [K]; in a Discrete, MultiDiscrete or MultiBinary space, each number is a
choice in the space's own numbering. `observation` is float32 [D]; in a Discrete space, its only number is the index.
`rng` is the random stream of a single episode: pass it to `uniform` or `normal`. The functions run millions of times
per second inside the training loop, which does not have to be recompiled for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from gymnasium import spaces
from numba import types

from policygrad._support.checks import whole
from policygrad._support.function_pointers import address_of, function_at, is_compiled
from policygrad.spaces import CHOICES, Space, check_action_space
from policygrad.types import F64, Array

STATE: Any = types.float64[::1]
RNG: Any = types.uint64[::1]
RESET: Any = types.void(STATE, RNG)
STEP: Any = types.Tuple((types.float64, types.boolean))(STATE, types.float64[::1], RNG)
OBSERVE: Any = types.void(STATE, types.float32[::1])

reset_at: Any = function_at(RESET)
step_at: Any = function_at(STEP)
observe_at: Any = function_at(OBSERVE)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled environment.

    Raises:
        ValueError: the spaces or the state are not as described below.
    """

    name: str
    """Name in messages and run folders."""
    observation_space: Space
    """A Box of float32, or a Discrete."""
    action_space: Space
    """A Box of float32, a Discrete, a MultiDiscrete or a MultiBinary."""
    state: F64
    """[S] float64: the state before the first reset. It may also contain constants of the dynamics."""
    max_steps: int
    """Time limit: number of steps after which an episode is truncated."""
    reset: Callable[..., Any]
    step: Callable[..., Any]
    observe: Callable[..., Any]
    reward_threshold: float | None = None
    """Mean return at which the environment counts as solved."""
    render: Callable[[F64], Array] | None = None
    """Draws the state [S] as [H, W, 3] uint8, to watch a policy; need not be compiled. Without it, the observations
    are drawn."""
    render_fps: float = 30.0
    """Number of pictures per second at which the environment is shown."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_steps", whole(f"{self.name}: max_steps", self.max_steps, at_least=1))
        state = np.array(self.state, np.float64)
        if state.ndim != 1:
            raise ValueError(f"{self.name}: state has shape {state.shape}; expected one axis [S]")
        object.__setattr__(self, "state", state)
        check_action_space(self.action_space)
        for kind, space, wanted in (
            ("observation", self.observation_space, spaces.Discrete),
            ("action", self.action_space, CHOICES),
        ):
            if not (
                isinstance(space, wanted) or (isinstance(space, spaces.Box) and space.dtype == np.float32)
            ):
                allowed = "Discrete" if kind == "observation" else "Discrete, MultiDiscrete or MultiBinary"
                raise ValueError(
                    f"{self.name}: {kind}_space is {space}; expected a Box of float32, or {allowed}"
                )

    def limited_to(self, max_steps: int | None) -> Kernel:
        """Return a copy with another time limit, or this kernel if that is None."""
        return self if max_steps is None else replace(self, max_steps=max_steps)

    @property
    def addresses(self) -> tuple[int, int, int]:
        """Addresses of the machine code of (reset, step, observe) in this process; compiled on first access.

        Numba checks every index in these three functions. A helper with its own `numba.njit` needs
        `boundscheck=True` to be checked too.

        Raises:
            TypeError: Numba cannot compile one of them.
        """
        return tuple(address_of(*function, exact=True) for function in self._functions)  # type: ignore[return-value]

    @property
    def is_compiled(self) -> bool:
        """True if the addresses are known in this process."""
        return all(is_compiled(*function, exact=True) for function in self._functions)

    @property
    def _functions(self) -> tuple[tuple[Callable[..., Any], Any], ...]:
        return (self.reset, RESET), (self.step, STEP), (self.observe, OBSERVE)

    @property
    def observation_numbers(self) -> int:
        """Number of float32 values that `observe` writes."""
        return _numbers(self.observation_space)


def _numbers(space: Space) -> int:
    return 1 if isinstance(space, spaces.Discrete) else math.prod(space.shape or ())


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio, as an odd integer."""


@numba.njit(inline="always", error_model="numpy")
def _next(rng: Array) -> np.uint64:
    """Return the next 64 bits of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), whose state is one counter."""
    rng[0] += _GOLDEN
    z = rng[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(inline="always", error_model="numpy")
def seed_episode(rng: Array, seed: int) -> None:
    """Begin the random stream of an episode; the seed is mixed so that neighboring seeds start far apart."""
    rng[0] = np.uint64(seed)
    rng[0] = _next(rng)


@numba.njit(inline="always", error_model="numpy")
def uniform(rng: Array, low: float, high: float) -> float:
    """Return a uniform float64 in [low, high); call it in compiled code, or from Python with a uint64 array [1]."""
    return low + (high - low) * (types.float64(_next(rng) >> np.uint64(11)) * 2.0**-53)


@numba.njit(inline="always", error_model="numpy")
def normal(rng: Array) -> float:
    """Return a standard normal float64 (Box & Muller 1958; only one of the two numbers is used)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(rng, 0.0, 1.0)))
    return radius * math.cos(2.0 * math.pi * uniform(rng, 0.0, 1.0))
