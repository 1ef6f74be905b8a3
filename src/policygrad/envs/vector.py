"""Gymnasium vector environments, whatever their autoreset mode, as one thing: true successors, row by row."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit

from policygrad._support.seeding import EpisodeSeeds
from policygrad._support.state import unpack
from policygrad.envs.contract import errors_are_warnings
from policygrad.envs.kernel_vector import KernelVectorEnv
from policygrad.envs.pool import EnvPoolVectorEnv
from policygrad.errors import EnvironmentFault
from policygrad.spaces import (
    Space,
    action_size,
    flatten_all,
    flatten_one,
    is_composite,
    observation_size,
    observed_part,
)
from policygrad.types import F64, Array, Bool, State


class Environments:
    """N environments stepped together. An episode's last step gives the state it ended in, in every mode.

    `current` is what each shows now, after the reset that follows an end. Where `resetting`, the next step is
    Gymnasium's own reset and no transition: what it returns for that environment is no sample.

    Args:
        vector: the environments.
        name: for messages.
        owned: whether `close` closes them.
        shown: what networks see of a Dict or a Tuple where `vector` shows it flattened already.
        say: is told what is left out of the observations.
        like: one of the environments, where they are in other processes.

    Raises:
        ValueError: the spaces are not supported, or the autoreset mode is not said.
    """

    def __init__(
        self,
        vector: VectorEnv[Any, Any, Any],
        name: str,
        *,
        owned: bool,
        shown: Space | None = None,
        say: Callable[[str], None] = lambda message: None,
        like: gym.Env[Any, Any] | None = None,
    ) -> None:
        mode = vector.metadata.get("autoreset_mode")
        try:
            self.autoreset_mode = AutoresetMode(mode)
        except ValueError:
            raise ValueError(
                f"{name}: metadata['autoreset_mode'] is {mode!r}; expected one of "
                f"{[m.value for m in AutoresetMode]}: without it nobody can tell an episode's last "
                "observation from the next one's first"
            ) from None
        self.vector = vector
        self.name = name
        self.num_envs = vector.num_envs
        self.observation_space: Space = vector.single_observation_space if shown is None else shown
        self._flattens = False
        if shown is None:
            self.observation_space, left_out = observed_part(self.observation_space)
            self._flattens = is_composite(self.observation_space)
            if left_out:
                say(f"{name}: not seen of its observations: {', '.join(left_out)}")
        self._like = like
        self.action_space: Space = vector.single_action_space
        observation_size(self.observation_space)
        action_size(self.action_space)
        self.current: Array | None = None
        self.resetting: Bool = np.zeros(self.num_envs, np.bool_)
        self._owned = owned
        listed = SyncVectorEnv | AsyncVectorEnv | KernelVectorEnv | EnvPoolVectorEnv
        self._takes_seed_list = isinstance(vector.unwrapped, listed)
        self._actions_dtype = self.action_space.dtype
        self._steps = 0

    @property
    def resets_by_seed(self) -> bool:
        """Whether an episode's beginning is its seed's alone; EnvPool's are of streams that cannot be set again."""
        return not isinstance(self.vector.unwrapped, EnvPoolVectorEnv)

    def reset(self, seeds: EpisodeSeeds) -> Array:
        """Start an episode in every environment, each from a seed of its own; observations [N, *shape].

        EnvPool's are seeded once, when they are made; here they start their next episodes.
        """
        taken = seeds.take(self.num_envs)
        seed: Any = taken if self._takes_seed_list else taken[0]
        self._steps = 0
        with told(self.name, "reset", 0):
            observation = self._flat(self.vector.reset(seed=seed)[0])
        self.current, self.resetting = observation, np.zeros(self.num_envs, np.bool_)
        return observation

    def step(self, actions: Array) -> tuple[Array, F64, Bool, Bool]:
        """One step of all: (next observations [N, *shape], reward [N], terminated [N], truncated [N])."""
        self._steps += 1
        with told(self.name, "step", self._steps):
            observation, reward, terminated, truncated, info = self.vector.step(
                actions.astype(self._actions_dtype, copy=False)
            )
        observation = self._flat(observation)
        # some vector environments hand out, and go on writing, their own arrays
        reward = np.array(self._column("reward", reward, "biuf"), np.float64)
        terminated = np.array(self._column("terminated", terminated, "b"))
        truncated = np.array(self._column("truncated", truncated, "b"))
        done = terminated | truncated
        self.current, self.resetting = observation, done
        if done.any() and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            self.resetting = np.zeros(self.num_envs, np.bool_)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                if "final_obs" not in info:
                    raise ValueError(
                        f"{self.name} resets in the same step, but its info has no 'final_obs': an episode's last "
                        "observation is lost. Leave out wrappers that change the info, or use another mode"
                    )
                observation = np.array(observation)
                for i in np.flatnonzero(done):
                    final = info["final_obs"][i]
                    observation[i] = flatten_one(self.observation_space, final) if self._flattens else final
            else:
                observation = np.array(observation)
                self.current = self._flat(self.vector.reset(options={"reset_mask": done})[0])
        return observation, reward, terminated, truncated

    def _column(self, what: str, column: Any, kinds: str) -> Array:
        """One entry per environment, [N], of these kinds of dtype; EnvironmentFault for anything else."""
        array = np.asarray(column)
        if array.shape != (self.num_envs,) or array.dtype.kind not in kinds:
            expected = "bools" if kinds == "b" else "numbers"
            raise EnvironmentFault(
                f"{self.name}: step {self._steps} gave {what} of shape {array.shape} and dtype {array.dtype}; expected "
                f"{expected} of shape ({self.num_envs},)"
            )
        return array

    def _flat(self, observation: Any) -> Array:
        return flatten_all(self.observation_space, observation) if self._flattens else observation

    def state(self) -> State | None:
        """Where the episodes under way stand; None where that cannot be saved, or none has begun."""
        if not isinstance(self.vector, KernelVectorEnv) or self.current is None:
            return None
        return {"vector": self.vector.state(), "resetting": self.resetting.copy()}

    def restore(self, state: State | None) -> None:
        """Go on with those episodes; without a state with new ones."""
        if state is None:
            self.current = None
            return
        assert isinstance(self.vector, KernelVectorEnv), "only these have a state"
        vector, self.resetting = unpack(state, "vector", "resetting")
        self.vector.restore(vector)
        self.current = self.vector.shown()

    @property
    def reward_threshold(self) -> float | None:
        """The mean return at which the environment's authors call it solved, where they say so."""
        if isinstance(self.vector, KernelVectorEnv):
            return self.vector.kernel.reward_threshold
        spec = self._spec
        return spec.reward_threshold if spec is not None else None

    @property
    def max_episode_steps(self) -> int | None:
        """The environment's own time limit in steps; None where it has none, or does not say."""
        if isinstance(self.vector, KernelVectorEnv):
            return self.vector.kernel.max_steps
        if isinstance(self.vector, EnvPoolVectorEnv):
            return self.vector.max_episode_steps
        inner: Any = self._like
        while isinstance(inner, gym.Wrapper):
            if isinstance(inner, TimeLimit):
                return inner._max_episode_steps  # pyright: ignore[reportPrivateUsage]
            inner = inner.env
        return None if self._spec is None else self._spec.max_episode_steps

    @property
    def _spec(self) -> Any:
        first = getattr(self.vector, "envs", [self._like])[0]
        return self.vector.spec or getattr(first, "spec", None)

    def close(self) -> None:
        """Close the environments, if they were made here rather than given."""
        if self._owned:
            with errors_are_warnings(f"closing {self.name}"):
                self.vector.close()


@contextmanager
def told(name: str, function: str, step: int) -> Generator[None]:
    """Let an exception of an environment say in which environment, function and step it was raised."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "add_note"):  # Python 3.11
            error.add_note(  # pyright: ignore[reportAttributeAccessIssue]
                f"raised by {name} in {function}, {step} steps after it was last reset by policygrad"
            )
        raise
