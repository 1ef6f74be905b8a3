"""Gymnasium vector environments, whatever their autoreset mode, as one thing: true successors, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from policygrad.seeding import EpisodeSeeds
from policygrad.spaces import Space, action_size, observation_size
from policygrad.types import F64, Array, Bool


class Environments:
    """N environments stepped together. An episode's last step gives the state it ended in, in every mode.

    After an environment's episode has ended its rows mean nothing until the next `reset`, which starts all of
    them afresh from new seeds: no row of Gymnasium's own resets is ever read.

    Args:
        vector: the environments.
        name: for messages.
        owned: whether `close` closes them.

    Raises:
        ValueError: the spaces are not supported, or the autoreset mode is not said.
    """

    def __init__(self, vector: VectorEnv[Any, Any, Any], name: str, *, owned: bool) -> None:
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
        self.observation_space: Space = vector.single_observation_space
        self.action_space: Space = vector.single_action_space
        observation_size(self.observation_space)
        action_size(self.action_space)
        self._owned = owned
        self._takes_seed_list = isinstance(vector.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        self._actions_dtype = self.action_space.dtype

    def reset(self, seeds: EpisodeSeeds) -> Array:
        """Start an episode in every environment, each from a seed of its own; observations [N, *shape]."""
        taken = seeds.take(self.num_envs)
        seed: Any = taken if self._takes_seed_list else taken[0]
        return self.vector.reset(seed=seed)[0]

    def step(self, actions: Array) -> tuple[Array, F64, Bool, Bool]:
        """One step of all: (next observations [N, *shape], reward [N], terminated [N], truncated [N])."""
        observation, reward, terminated, truncated, info = self.vector.step(
            actions.astype(self._actions_dtype, copy=False)
        )
        # some vector environments hand out, and go on writing, their own arrays
        reward = np.array(reward, np.float64)
        terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
        done = terminated | truncated
        if done.any():
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                if "final_obs" not in info:
                    raise ValueError(
                        f"{self.name} resets in the same step, but its info has no 'final_obs': an episode's last "
                        "observation is lost. Leave out wrappers that change the info, or use another mode"
                    )
                observation = np.array(observation)
                for i in np.flatnonzero(done):
                    observation[i] = info["final_obs"][i]
            elif self.autoreset_mode is AutoresetMode.DISABLED:
                observation = np.array(observation)
                self.vector.reset(options={"reset_mask": done})
        return observation, reward, terminated, truncated

    @property
    def reward_threshold(self) -> float | None:
        """The mean return at which the environment's authors call it solved, where they say so."""
        spec = self.vector.spec or getattr(getattr(self.vector, "envs", [None])[0], "spec", None)
        return spec.reward_threshold if spec is not None else None

    def close(self) -> None:
        """Close the environments, if they were made here rather than given."""
        if self._owned:
            self.vector.close()
