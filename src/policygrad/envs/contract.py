"""Checks that Python environments follow Gymnasium's API; the first violation raises an EnvironmentFault.

Checked environments return observations as arrays (those of a Dict or a Tuple are flattened), rewards as floats, and
`terminated` and `truncated` as bools. The environment's `info` is discarded, except values that are to be logged.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from policygrad.envs.ended_info import number_in
from policygrad.errors import EnvironmentFault
from policygrad.spaces import (
    Space,
    check_action_space,
    entry,
    flatten_one,
    is_composite,
    observation_size,
    observed_part,
)
from policygrad.types import Array


def as_reward(reward: Any, where: str) -> float:
    """Return a reward, which is a number or an array of one element, as a float.

    Args:
        reward: the reward.
        where: where the reward came from, for messages.

    Raises:
        EnvironmentFault: the reward is neither; the message says what it is and what to do.
    """
    if isinstance(reward, bool | int | float | np.number | np.bool_):
        return float(reward)
    try:
        array = np.asarray(reward)
    except ValueError:
        array = np.empty((), object)
    if array.dtype.kind not in "biuf":
        raise EnvironmentFault(f"{where}: the reward is {reward!r}; expected a number")
    if array.size == 1:
        return float(array.reshape(()))
    raise EnvironmentFault(
        f"{where}: the reward is {reward!r}, which has {array.size} elements; expected a single number. Combine "
        "several objectives with a wrapper that weights them, such as mo_gymnasium.wrappers.LinearReward"
    )


def as_flag(flag: Any, name: str, where: str) -> bool:
    """Return `terminated` or `truncated` as a bool; raise EnvironmentFault if it is not a scalar bool."""
    if isinstance(flag, bool | np.bool_) or (
        isinstance(flag, np.ndarray) and flag.shape == () and flag.dtype == bool
    ):
        return bool(flag)
    raise EnvironmentFault(
        f"{where}: {name} is {flag!r}, of type {type(flag).__name__}; expected True or False"
    )


@contextmanager
def exits_are_faults(doing: str) -> Generator[None]:
    """Turn `sys.exit` in the block into an EnvironmentFault: an environment must not end the training program."""
    try:
        yield
    except SystemExit as error:
        raise EnvironmentFault(_exited(doing, error)) from error


def _exited(doing: str, error: SystemExit) -> str:
    return f"{doing} called sys.exit({error.code!r}); an environment must raise an exception instead"


@contextmanager
def errors_are_warnings(doing: str) -> Generator[None]:
    """Turn an exception in the block into a warning."""
    try:
        yield
    except (Exception, SystemExit) as error:
        warnings.warn(
            f"{doing} raised {type(error).__name__}: {error}. This does not affect the results",
            RuntimeWarning,
            stacklevel=3,
        )


class Checked(gym.Wrapper[Any, Any, Any, Any]):
    """Wraps an environment and raises an EnvironmentFault when it violates Gymnasium's API.

    Args:
        env: the environment.
        name: its name in messages.

    Raises:
        EnvironmentFault: `reset` does not accept `seed` and `options`, or a space is missing.
        ValueError: a space is not supported.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        for kind in ("observation_space", "action_space"):
            if not isinstance(getattr(env, kind, None), spaces.Space):
                raise EnvironmentFault(
                    f"{name}: {kind} is {getattr(env, kind, None)!r}; expected a gymnasium.spaces.Space. "
                    "Set it in __init__"
                )
        super().__init__(env)
        self.name = name
        self.shown_space, self.left_out = observed_part(env.observation_space)
        """The part of the observation space that networks see, and a list of the entries that they ignore."""
        self._composite = is_composite(self.shown_space)
        size = observation_size(self.shown_space)
        check_action_space(env.action_space)
        if self._composite:
            self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self._discrete = isinstance(env.action_space, spaces.Discrete)
        self._steps = 0
        self.logged_info: tuple[str, ...] = ()
        """Names of the values of `info` that the last step of an episode returns, as floats."""
        parameters = inspect.signature(env.unwrapped.reset).parameters.values()
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
        missing = {"seed", "options"} - {p.name for p in parameters}
        if missing and not takes_any:
            raise EnvironmentFault(
                f"{name}: reset does not accept {' and '.join(sorted(missing))}; declare it as "
                "reset(self, *, seed=None, options=None)"
            )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode and return (observation, {}); the environment's info is discarded."""
        with exits_are_faults(f"{self.name}: reset"):
            result: Any = self.env.reset(seed=seed, options=options)
        self._steps = 0
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):  # pyright: ignore
            raise EnvironmentFault(
                f"{self.name}: reset returned {_described(result)}; expected (observation, dict)"
            )
        return self._observation(result[0], "reset"), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take one step. The environment's info is discarded, except `logged_info` at the end of an episode.

        A Discrete action is passed as a Python int, which every environment accepts.
        """
        self._steps += 1
        try:
            result: Any = self.env.step(int(action) if self._discrete else action)
        except SystemExit as error:
            raise EnvironmentFault(_exited(self._place(), error)) from error
        if not (isinstance(result, tuple) and len(result) == 5):  # pyright: ignore[reportUnknownArgumentType]
            old = ". Environments from before Gym 0.26 return 4 values; convert yours with the package shimmy"
            hint = old if isinstance(result, tuple) and len(result) == 4 else ""  # pyright: ignore
            raise EnvironmentFault(
                f"{self._place()} returned {_described(result)}; expected (observation, reward, terminated, "
                f"truncated, info){hint}"
            )
        observation, reward, terminated, truncated, info = result
        if type(reward) is not float:
            reward = as_reward(reward, self._place())
        if terminated is not False:
            terminated = as_flag(terminated, "terminated", self._place())
        if truncated is not False:
            truncated = as_flag(truncated, "truncated", self._place())
        logged: dict[str, Any] = {}
        if self.logged_info and (terminated or truncated):
            logged = {name: number_in(info, name, self._place()) for name in self.logged_info}
        return self._observation(observation, "step"), reward, terminated, truncated, logged

    def close(self) -> None:
        """Close the environment; an exception becomes a warning, because all results are complete by then."""
        with errors_are_warnings(f"closing {self.name}"):
            self.env.close()

    def _place(self) -> str:
        return f"{self.name}: step {self._steps} of an episode"

    def _observation(self, observation: Any, function: str) -> Array:
        place = self._place() if function == "step" else f"{self.name}: {function}"
        if self._composite:
            self._check_parts(self.shown_space, observation, "the observation", place)
            return flatten_one(self.shown_space, observation)
        self._check_leaf(self.shown_space, observation, "the observation", place)
        return observation

    def _check_parts(self, space: Space, found: Any, what: str, place: str) -> None:
        if isinstance(space, spaces.Dict | spaces.Tuple):
            entries: Any = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
            for key, part in entries:
                inner = f"{what}[{key!r}]"
                try:
                    value = entry(found, str(key))
                except (KeyError, IndexError, TypeError):
                    raise EnvironmentFault(
                        f"{place}: {what} is {_described(found)} and has no entry {key!r}; expected {space}"
                    ) from None
                self._check_parts(part, value, inner, place)
        else:
            self._check_leaf(space, found, what, place)

    def _check_leaf(self, space: Space, found: Any, what: str, place: str) -> None:
        if type(found) is np.ndarray and found.dtype == space.dtype and found.shape == space.shape:
            # fast path for the usual case
            return
        try:
            array = np.asarray(found)
        except ValueError:
            array = np.empty((), object)
        if array.dtype == object or array.dtype.kind in "USV":
            raise EnvironmentFault(f"{place}: {what} is {_described(found)}; expected numbers in {space}")
        shape = space.shape or ()
        if array.shape != shape:
            raise EnvironmentFault(
                f"{place}: {what} has shape {array.shape}; expected {shape}, the shape of its space {space}"
            )
        if space.dtype is not None and not np.can_cast(array.dtype, space.dtype, "same_kind"):
            raise EnvironmentFault(
                f"{place}: {what} has dtype {array.dtype}, which cannot be converted to {space.dtype}, the dtype of "
                f"its space {space}"
            )
        if isinstance(space, spaces.Discrete) and not 0 <= int(array) - int(space.start) < int(space.n):
            raise EnvironmentFault(f"{place}: {what} is {found!r}, which is not in {space}")


def _described(value: Any) -> str:
    """Return a short description of a value: its elements' types, its shape, its repr, or its type."""
    if value is None:
        return "None"
    if isinstance(value, tuple):
        kinds = ", ".join(type(part).__name__ for part in value)  # pyright: ignore
        return f"a tuple of {len(value)} ({kinds})"  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
