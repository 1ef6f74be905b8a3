"""One interface to Gymnasium's vector environments that returns true successors in every autoreset mode."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit

from policygrad._support.seeding import EpisodeSeeds
from policygrad._support.state import unpack
from policygrad.envs.contract import errors_are_warnings
from policygrad.envs.ended_info import EndedInfo
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
    """Steps N environments together. In every autoreset mode, an episode's last step returns its final observation.

    `current` contains the current observation of each environment, after the reset that follows an episode's end.
    Where `resetting` is True, the next step only resets the environment, as in Gymnasium's next-step mode. What that
    step returns for the environment is not a sample.

    Args:
        vector: the environments.
        name: their name in messages.
        owned: True if `close` closes the environments.
        shown: the space of a Dict or a Tuple that networks see, if `vector` already returns it flattened.
        say: called with a message that lists the ignored entries of the observation.
        like: an environment of the same kind, which tells the time limit where `vector` does not.

    Raises:
        ValueError: a space is not supported, or the autoreset mode is not declared.
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
                f"{[m.value for m in AutoresetMode]}. Set it to the mode that the environment implements: without it, "
                "an episode's last observation cannot be distinguished from the first one of the next episode"
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
                say(f"{name}: networks ignore these entries of the observation: {', '.join(left_out)}")
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
        self.ended_info: EndedInfo | None = None
        """Values of `info` that are to be logged; None if there are none."""

    def log_info(self, names: Sequence[str]) -> None:
        """From now on, average these values of `info` over the episodes that end, in `ended_info`.

        Raises:
            ValueError: the environments are compiled, so they have no info; or a name is taken by another metric.
        """
        if isinstance(self.vector, KernelVectorEnv):
            raise ValueError(
                f"log_info={tuple(names)}: {self.name} is compiled, and compiled environments have no info. Use "
                "backend='gymnasium' (--backend gymnasium) if it is an id of Gymnasium, or leave log_info out"
            )
        self.ended_info = EndedInfo(names, self.name)
        if self._like is not None and isinstance(self.vector, SyncVectorEnv | AsyncVectorEnv):
            # its environments are `Checked`, and discard everything else
            self.vector.set_attr("logged_info", [tuple(names)] * self.num_envs)

    @property
    def resets_by_seed(self) -> bool:
        """True if the seed alone determines how an episode begins; EnvPool's random streams cannot be reseeded."""
        return not isinstance(self.vector.unwrapped, EnvPoolVectorEnv)

    def reset(self, seeds: EpisodeSeeds) -> Array:
        """Start an episode in every environment, each from its own seed, and return the observations [N, *shape].

        EnvPool's environments are seeded only once, when they are created. Later calls start their next episodes.
        """
        taken = seeds.take(self.num_envs)
        seed: Any = taken if self._takes_seed_list else taken[0]
        self._steps = 0
        with noting_where(self.name, "reset", 0):
            observation = self._flat(self.vector.reset(seed=seed)[0])
        self.current, self.resetting = observation, np.zeros(self.num_envs, np.bool_)
        return observation

    def step(self, actions: Array) -> tuple[Array, F64, Bool, Bool]:
        """Step all environments; return (next observations [N, *shape], reward [N], terminated [N], truncated [N])."""
        self._steps += 1
        with noting_where(self.name, "step", self._steps):
            observation, reward, terminated, truncated, info = self.vector.step(
                actions.astype(self._actions_dtype, copy=False)
            )
        observation = self._flat(observation)
        # copied, because some vector environments return internal arrays that they later overwrite
        reward = np.array(self._column("reward", reward, "biuf"), np.float64)
        terminated = np.array(self._column("terminated", terminated, "b"))
        truncated = np.array(self._column("truncated", truncated, "b"))
        done = terminated | truncated
        self.current, self.resetting = observation, done
        if self.ended_info is not None:
            ended = "final_info" if self.autoreset_mode is AutoresetMode.SAME_STEP else None
            self.ended_info.latest = info if ended is None else info.get(ended, {})
        if done.any() and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            self.resetting = np.zeros(self.num_envs, np.bool_)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                if "final_obs" not in info:
                    raise ValueError(
                        f"{self.name} has the autoreset mode {self.autoreset_mode.value}, but its info has no "
                        "'final_obs', so the last observation of an episode is lost. Remove wrappers that change the "
                        "info, or use another autoreset mode"
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
        """Return a column as an array [N]; raise EnvironmentFault unless its dtype is of one of these kinds."""
        array = np.asarray(column)
        if array.shape != (self.num_envs,) or array.dtype.kind not in kinds:
            expected = "bools" if kinds == "b" else "numbers"
            raise EnvironmentFault(
                f"{self.name}: step {self._steps}: {what} has shape {array.shape} and dtype {array.dtype}; expected "
                f"{expected} of shape ({self.num_envs},)"
            )
        return array

    def _flat(self, observation: Any) -> Array:
        return flatten_all(self.observation_space, observation) if self._flattens else observation

    def state(self) -> State | None:
        """Return the state of the episodes in progress; None if it cannot be saved or no episode has begun."""
        if not isinstance(self.vector, KernelVectorEnv) or self.current is None:
            return None
        return {"vector": self.vector.state(), "resetting": self.resetting.copy()}

    def restore(self, state: State | None) -> None:
        """Continue the episodes of a state; without one, forget the current episodes so that new ones begin."""
        if state is None:
            self.current = None
            return
        assert isinstance(self.vector, KernelVectorEnv), "only compiled environments have a state"
        vector, self.resetting = unpack(state, "vector", "resetting")
        self.vector.restore(vector)
        self.current = self.vector.shown()

    @property
    def reward_threshold(self) -> float | None:
        """Mean return at which the environment's authors consider it solved; None if they do not specify one."""
        if isinstance(self.vector, KernelVectorEnv):
            return self.vector.kernel.reward_threshold
        spec = self._spec
        return spec.reward_threshold if spec is not None else None

    @property
    def max_episode_steps(self) -> int | None:
        """The environment's own time limit in steps; None if it has none or does not declare it."""
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
        """Close the environments if they were created here; leave those that were passed in open."""
        if self._owned:
            with errors_are_warnings(f"closing {self.name}"):
                self.vector.close()


@contextmanager
def noting_where(name: str, function: str, step: int) -> Generator[None]:
    """Add a note to an exception that says in which environment, function and step it was raised."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "add_note"):  # from Python 3.11 on
            error.add_note(  # pyright: ignore[reportAttributeAccessIssue]
                f"raised by {name} in {function}, {step} steps after policygrad last reset it"
            )
        raise
