"""What a compiled environment is: three functions for Numba, on a state of float64 numbers.

    def reset(state, rng):                begin an episode: write the state
    def step(state, action, rng):         one step: write the next state; return (reward, terminated)
    def observe(state, observation):      write what the policy sees

`state` is float64 [S], `action` float64 [K] (each number of a Discrete, MultiDiscrete or MultiBinary is a choice,
counted as the space counts), `observation` float32 [D] (for Discrete observations its one number is the index).
`rng` is the randomness of this one episode: hand it to `uniform` or `normal`. They run millions of times a second
inside the training loop, which is not compiled anew for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from gymnasium import spaces
from numba import types

from policygrad._support.checks import whole
from policygrad._support.function_pointers import address_of, function_at
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
        ValueError: the spaces or the state are not as said here.
    """

    name: str
    """For messages and run folders."""
    observation_space: Space
    """A Box of float32, or a Discrete."""
    action_space: Space
    """A Box of float32, a Discrete, a MultiDiscrete or a MultiBinary."""
    state: F64
    """[S] float64: what the state holds before the first reset. Constants of the dynamics may stand in it."""
    max_steps: int
    """The time limit: after so many steps an episode is truncated."""
    reset: Callable[..., Any]
    step: Callable[..., Any]
    observe: Callable[..., Any]
    reward_threshold: float | None = None
    """The mean return that counts as solved."""

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
                raise ValueError(
                    f"{self.name}: {kind}_space is {space}; expected a Box of float32 or a Discrete"
                )

    @property
    def addresses(self) -> tuple[int, int, int]:
        """Where (reset, step, observe) lie as machine code, in this process; compiled when first asked for.

        In these three functions every index is checked. A helper with a `numba.njit` of its own has to ask for
        that itself, by `boundscheck=True`.

        Raises:
            TypeError: Numba cannot compile one of them.
        """
        functions = ((self.reset, RESET), (self.step, STEP), (self.observe, OBSERVE))
        return tuple(address_of(function, signature, exact=True) for function, signature in functions)  # type: ignore[return-value]

    @property
    def observation_numbers(self) -> int:
        """How many float32 `observe` writes."""
        return _numbers(self.observation_space)


def _numbers(space: Space) -> int:
    return 1 if isinstance(space, spaces.Discrete) else math.prod(space.shape or ())


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, odd."""


@numba.njit(inline="always", error_model="numpy")
def _next(rng: Array) -> np.uint64:
    """The next 64 bits: SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), whose state is one counter."""
    rng[0] += _GOLDEN
    z = rng[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(inline="always", error_model="numpy")
def seed_episode(rng: Array, seed: int) -> None:
    """Begin an episode's stream: mixed, so that neighbouring seeds start far apart."""
    rng[0] = np.uint64(seed)
    rng[0] = _next(rng)


@numba.njit(inline="always", error_model="numpy")
def uniform(rng: Array, low: float, high: float) -> float:
    """A float64 in [low, high); in compiled code only, or from Python with a uint64 array [1]."""
    return low + (high - low) * (types.float64(_next(rng) >> np.uint64(11)) * 2.0**-53)


@numba.njit(inline="always", error_model="numpy")
def normal(rng: Array) -> float:
    """A standard normal float64 (Box & Muller 1958, one of the two)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(rng, 0.0, 1.0)))
    return radius * math.cos(2.0 * math.pi * uniform(rng, 0.0, 1.0))
