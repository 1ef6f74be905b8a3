"""Finite Markov decision processes, as Gymnasium environments and as compiled environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numba
import numpy as np
from gymnasium import spaces

from policygrad.envs.kernel import Kernel, uniform
from policygrad.types import F32, F64, Array, check_shape


@dataclass(frozen=True)
class FiniteMDP:
    """A Markov decision process with S states, A actions and episodes of at most `horizon` steps.

    Raises:
        ValueError: a table does not have the shape given below, or its entries are not probabilities.
    """

    transition: F64
    """[S, A, S] float64: p(s'|s, a)."""
    reward: F64
    """[S, A, S] float64: reward of the step from s to s' by action a."""
    start: F64
    """[S] float64: probability that an episode begins in each state."""
    terminal: tuple[int, ...]
    """States that terminate an episode when it reaches them."""
    horizon: int
    """Number of steps after which an episode is truncated."""
    looks: tuple[int, ...] | None = None
    """[S]: observation in each state, counted from 0; states may share one. None means the state itself is observed."""
    choices: tuple[int, ...] | None = None
    """Number of alternatives of each choice, if an action is several choices at once (a MultiDiscrete space). Their
    combinations are the A actions, in the order of `np.ndindex(choices)`."""

    def __post_init__(self) -> None:
        S, A = self.transition.shape[:2]
        check_shape("transition", self.transition, (S, A, S))
        check_shape("reward", self.reward, (S, A, S))
        check_shape("start", self.start, (S,))
        if not (np.allclose(self.transition.sum(-1), 1) and np.isclose(self.start.sum(), 1)):
            raise ValueError("transition and start must sum to 1 over their last axis")
        if self.transition.min() < 0 or self.start.min() < 0:
            raise ValueError("transition and start must contain probabilities; none of them may be negative")
        if any(not 0 <= s < S for s in self.terminal):
            raise ValueError(f"terminal is {self.terminal}; expected states from 0 to {S - 1}")
        if self.looks is not None and (len(self.looks) != S or min(self.looks) < 0):
            raise ValueError(
                f"looks is {self.looks}; expected an observation (0 or more) for each of {S} states"
            )
        if self.choices is not None and (min(self.choices, default=0) < 1 or np.prod(self.choices) != A):
            raise ValueError(
                f"choices is {self.choices}; expected numbers of alternatives whose product is {A}, the number of "
                "actions"
            )

    @property
    def observations(self) -> tuple[int, ...]:
        """[S]: observation in each state, also where `looks` is None."""
        return tuple(range(len(self.start))) if self.looks is None else self.looks

    @property
    def observation_space(self) -> spaces.Discrete:
        """Discrete space of the observations."""
        return spaces.Discrete(max(self.observations) + 1)

    @property
    def action_space(self) -> spaces.Discrete | spaces.MultiDiscrete:
        """Discrete space of the A actions, or a MultiDiscrete of `choices`."""
        return (
            spaces.Discrete(self.transition.shape[1])
            if self.choices is None
            else spaces.MultiDiscrete(list(self.choices))
        )


class FiniteEnv(gym.Env[Any, Any]):
    """A `FiniteMDP` as a Gymnasium environment."""

    def __init__(self, mdp: FiniteMDP) -> None:
        self.mdp = mdp
        self.observation_space = mdp.observation_space
        self.action_space = mdp.action_space
        self._looks = mdp.observations
        self._state = 0
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._state = self._draw(self.mdp.start)
        self._steps = 0
        return self._looks[self._state], {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Take one step."""
        if self.mdp.choices is not None:
            action = np.ravel_multi_index(tuple(action), self.mdp.choices)
        before, self._steps = self._state, self._steps + 1
        self._state = self._draw(self.mdp.transition[before, action])
        terminated = self._state in self.mdp.terminal
        truncated = not terminated and self._steps >= self.mdp.horizon
        reward = float(self.mdp.reward[before, action, self._state])
        return self._looks[self._state], reward, terminated, truncated, {}

    def _draw(self, probabilities: F64) -> int:
        return int(np.searchsorted(_cumulative(probabilities), self.np_random.random(), side="right"))


def kernel(mdp: FiniteMDP, name: str) -> Kernel:
    """Return a `FiniteMDP` as a compiled environment.

    All of these environments share the same machine code, because the tables are part of the state. The state
    contains, one after the other, `s, S, A` and the flattened tables, each in C order:
    `start` [S] and `transition` [S, A, S], both cumulative over the last axis, `reward` [S, A, S],
    `terminal` [S] as 0 or 1, `observations` [S], and the number of alternatives of each choice.
    """
    S, A = mdp.transition.shape[:2]
    tables = (
        np.array([0, S, A]),
        _cumulative(mdp.start),
        _cumulative(mdp.transition),
        mdp.reward,
        np.isin(np.arange(S), mdp.terminal),
        np.array(mdp.observations),
        np.array((A,) if mdp.choices is None else mdp.choices),
    )
    return Kernel(
        name=name,
        observation_space=mdp.observation_space,
        action_space=mdp.action_space,
        state=np.concatenate([table.ravel() for table in tables], dtype=np.float64),
        max_steps=mdp.horizon,
        reset=_reset,
        step=_step,
        observe=_observe,
    )


def _cumulative(probabilities: F64) -> F64:
    """Return Σ_{i ≤ j} p_i over the last axis. It ends at exactly 1, so no draw from [0, 1) exceeds the last state."""
    total = np.cumsum(probabilities, -1)
    return total / total[..., -1:]


@numba.njit(error_model="numpy", boundscheck=True)
def _draw(state: F64, table: int, rng: Array) -> int:
    """Return the first index where the cumulative probabilities starting at `table` exceed a uniform number."""
    number = uniform(rng, 0.0, 1.0)
    index = 0
    while state[table + index] <= number:
        index += 1
    return index


def _reset(state: F64, rng: Array) -> None:
    state[0] = _draw(state, 3, rng)


def _step(state: F64, action: F64, rng: Array) -> tuple[float, bool]:
    S, A = int(state[1]), int(state[2])
    alternatives = 3 + 3 * S + 2 * S * A * S
    combined = 0
    for k in range(len(action)):
        combined = combined * int(state[alternatives + k]) + int(action[k])
    return draw_next(state, combined, rng)


@numba.njit(error_model="numpy", boundscheck=True)
def draw_next(state: F64, action: int, rng: Array) -> tuple[float, bool]:
    """Draw and write the next state of a kernel's state; return (reward, terminated)."""
    before, S, A = int(state[0]), int(state[1]), int(state[2])
    row = (before * A + action) * S
    transition = 3 + S
    reward = transition + S * A * S
    terminal = reward + S * A * S
    after = _draw(state, transition + row, rng)
    state[0] = after
    return state[reward + row + after], state[terminal + after] != 0


def _observe(state: F64, observation: F32) -> None:
    current, S, A = int(state[0]), int(state[1]), int(state[2])
    looks = 3 + 2 * S + 2 * S * A * S
    observation[0] = state[looks + current]
