"""N compiled environments as a Gymnasium `VectorEnv`."""

# pyright: basic
# the arguments of compiled functions are typed by the Numba signatures above them

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numba import types

from policygrad._support.compiling import announce_compilation, compiled_when_called, inner
from policygrad._support.function_pointers import ADDRESS
from policygrad._support.state import copy_into, unpack
from policygrad.envs.kernel import Kernel, observe_at, reset_at, seed_episode, step_at
from policygrad.errors import EnvironmentFault, NonFiniteError
from policygrad.spaces import choices_of, is_choice
from policygrad.types import F32, F64, Array, Bool, State

KERNEL: Any = types.UniTuple(ADDRESS, 3)
"""Addresses of reset, step and observe."""
WHERE: Any = types.int64[::1]
"""[3]: the function that was called last (an index of `FUNCTIONS`), the environment, and the step of its episode."""
FUNCTIONS = ("reset", "step", "observe")
FINE, BAD_OBSERVATION, BAD_REWARD = 0, 1, 2


@inner
def begin(kernel, state, rng, observation, where, n):
    """Reset environment n and return FINE or BAD_OBSERVATION."""
    where[0], where[1], where[2] = 0, n, 0
    reset_at(kernel[0])(state, rng)
    return look(kernel, state, observation, where)


@inner
def look(kernel, state, observation, where):
    """Write what the policy sees and return FINE, or BAD_OBSERVATION if an entry is not finite or was not written."""
    where[0] = 2
    for d in range(observation.size):
        observation[d] = np.nan
    observe_at(kernel[2])(state, observation)
    total = np.float32(0)
    for d in range(observation.size):
        total += observation[d] * np.float32(0)
    return FINE if total == np.float32(0) else BAD_OBSERVATION


@inner
def advance(kernel, state, action, rng, observation, where, n, elapsed):
    """Take step `elapsed` (from 1) of the episode of environment n and return (status, reward, terminated)."""
    where[0], where[1], where[2] = 1, n, elapsed
    reward, terminated = step_at(kernel[1])(state, action, rng)
    if not abs(reward) < np.inf:
        return BAD_REWARD, reward, terminated
    return look(kernel, state, observation, where), reward, terminated


_STATES: Any = (types.float64[:, ::1], types.uint64[:, ::1], types.int64[::1])
_SHOWN: Any = types.float32[:, ::1]
_RESET_ALL: Any = (KERNEL, types.int64[::1], *_STATES, _SHOWN, WHERE)


@compiled_when_called
def reset_all(kernel, seeds, states, rngs, elapsed, observations, where):
    """Begin an episode in every environment, each from its seed [N], and return FINE or BAD_OBSERVATION."""
    for n in range(len(states)):
        seed_episode(rngs[n], seeds[n])
        ending = begin(kernel, states[n], rngs[n], observations[n], where, n)
        elapsed[n] = 0
        if ending != FINE:
            return ending
    return FINE


@compiled_when_called
def _step_all(
    kernel,
    states,
    rngs,
    elapsed,
    max_steps,
    over,
    actions,
    observations,
    rewards,
    terminated,
    truncated,
    where,
):
    for n in range(len(states)):
        if over[n]:
            ending = begin(kernel, states[n], rngs[n], observations[n], where, n)
            elapsed[n], rewards[n], terminated[n], truncated[n] = 0, 0.0, False, False
        else:
            elapsed[n] += 1
            ending, rewards[n], terminated[n] = advance(
                kernel, states[n], actions[n], rngs[n], observations[n], where, n, elapsed[n]
            )
            truncated[n] = elapsed[n] >= max_steps
        over[n] = terminated[n] or truncated[n]
        if ending != FINE:
            return ending
    return FINE


_STATE = ("states", "rngs", "elapsed", "observations", "over")


class KernelVectorEnv(VectorEnv[Any, Any, Any]):
    """Steps N environments of one `Kernel` in one compiled call. Its autoreset mode is Gymnasium's next-step mode.

    Args:
        kernel: the environment.
        num_envs: number of environments.

    Raises:
        TypeError: Numba cannot compile the kernel's functions.
    """

    def __init__(self, kernel: Kernel, num_envs: int = 1) -> None:
        self.kernel = kernel
        self.num_envs = num_envs
        with announce_compilation(unless=kernel.is_compiled):
            self.addresses = kernel.addresses
            reset_all.compile(_RESET_ALL)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = kernel.observation_space
        self.single_action_space = kernel.action_space
        self.observation_space = batch_space(kernel.observation_space, num_envs)
        self.action_space = batch_space(kernel.action_space, num_envs)
        self.states: F64 = np.tile(kernel.state, (num_envs, 1))
        self.rngs = np.zeros((num_envs, 1), np.uint64)
        self.elapsed = np.zeros(num_envs, np.int64)
        self.observations: F32 = np.zeros((num_envs, kernel.observation_numbers), np.float32)
        """[N, numbers]: current observation of each environment, as `observe` writes it."""
        self.over: Bool = np.ones(num_envs, np.bool_)
        """[N]: True where the episode has ended, so that the next step is a reset."""
        self._began = False

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode in every environment; an integer seeds environment n with seed + n."""
        if seed is None:
            drawn = self.np_random.integers(2**31, size=self.num_envs)
        elif isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
            drawn = int(seed) + np.arange(self.num_envs)
        else:
            if len(seed) != self.num_envs:
                raise ValueError(f"expected a seed for each of {self.num_envs} environments; got {len(seed)}")
            fresh = self.np_random.integers(2**31, size=self.num_envs)
            drawn = [int(fresh[n]) if one is None else one for n, one in enumerate(seed)]
        seeds = np.asarray(drawn, np.int64)
        self.call(reset_all, self.addresses, seeds, self.states, self.rngs, self.elapsed, self.observations)
        self.over[:] = False
        self._began = True
        return self.shown(), {}

    def step(self, actions: Array) -> tuple[Array, F64, Bool, Bool, dict[str, Any]]:
        """Step all environments; where an episode has ended, begin the next one instead, with a reward of 0.

        Raises:
            gymnasium.error.ResetNeeded: `reset` has not been called yet.
            ValueError: the actions do not have shape [N] or [N, *shape], or a choice is not in the action space.
        """
        if not self._began:
            raise gym.error.ResetNeeded(f"{self.kernel.name}: call reset before step")
        actions = np.asarray(actions)
        expected = (self.num_envs, *(self.single_action_space.shape or ()))
        if actions.shape != expected:
            raise ValueError(f"{self.kernel.name}: actions have shape {actions.shape}; expected {expected}")
        columns = np.ascontiguousarray(actions.reshape(self.num_envs, -1), np.float64)
        chosen = self.single_action_space
        if is_choice(chosen):
            sizes, starts = choices_of(chosen)
            if not ((starts <= columns) & (columns < starts + sizes)).all():
                raise ValueError(f"{self.kernel.name}: one of the actions {actions} is not in {chosen}")
        rewards = np.empty(self.num_envs)
        terminated, truncated = np.empty(self.num_envs, np.bool_), np.empty(self.num_envs, np.bool_)
        self.call(
            _step_all, self.addresses, self.states, self.rngs, self.elapsed, self.kernel.max_steps, self.over,
            columns, self.observations, rewards, terminated, truncated,
        )  # fmt: skip
        return self.shown(), rewards, terminated, truncated, {}

    def state(self) -> State:
        """Return the state of all environments."""
        return {name: getattr(self, name).copy() for name in _STATE}

    def restore(self, state: State) -> None:
        """Restore a state that `state` returned."""
        for name, saved in zip(_STATE, unpack(state, *_STATE), strict=True):
            copy_into(getattr(self, name), saved, f"{self.kernel.name} {name}")
        self._began = True

    def call(self, function: Any, *arguments: Any) -> None:
        """Call a compiled function whose last argument is `where` and which returns FINE or an error code.

        Raises:
            EnvironmentFault: a function of the kernel raised; the message names it, the environment and the step.
            NonFiniteError: an observation or a reward is NaN or infinite.
        """
        where = np.full(3, -1, np.int64)
        with named_faults(self.kernel.name, where):
            ending = function(*arguments, where)
        self.check(ending, where)

    def check(self, ending: int, where: Array) -> None:
        """Raise NonFiniteError unless `ending` is FINE."""
        if ending == FINE:
            return
        place = f"{self.kernel.name}: {FUNCTIONS[where[0]]} of environment {where[1]} at step {where[2]}"
        if ending == BAD_REWARD:
            raise NonFiniteError(f"{place} returned a reward that is NaN or infinite")
        raise NonFiniteError(
            f"{place} wrote a NaN or an infinity, or left an entry unwritten: {self.observations[where[1]]}. "
            f"The state is {self.states[where[1]]}"
        )

    def shown(self) -> Array:
        """Return a copy of the current observations [N, *shape], in the form of their space."""
        return self.in_own_form(self.observations)

    def in_own_form(self, numbers: F32) -> Array:
        """Return a copy of observations [..., numbers], as `observe` writes them, in the form of their space."""
        if isinstance(self.single_observation_space, gym.spaces.Discrete):
            return numbers[..., 0].astype(np.int64)
        return numbers.reshape(*numbers.shape[:-1], *(self.single_observation_space.shape or ())).copy()


@contextmanager
def named_faults(name: str, where: Array) -> Generator[None]:
    """Turn an exception of a kernel's function into an EnvironmentFault with the function, environment and step."""
    try:
        yield
    except Exception as error:
        if where[0] < 0:
            raise
        raise EnvironmentFault(
            f"{name}: {FUNCTIONS[where[0]]} of environment {where[1]} raised {type(error).__name__} at step "
            f"{where[2]} of its episode: {error}"
        ) from error
