"""Environments of EnvPool, which steps them in its own C++ threads (needs the extra `envpool`)."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from policygrad.envs.quiet import without_warnings
from policygrad.spaces import Space, is_choice
from policygrad.types import Array


@cache
def pool_ids() -> frozenset[str]:
    """Return the ids that EnvPool supports, or none if it is not installed."""
    if find_spec("envpool") is None:
        return frozenset()
    import envpool  # pyright: ignore[reportMissingImports]

    return frozenset(envpool.list_all_envs())


def same_limit(name: str) -> bool:
    """Return whether EnvPool's time limit for an id equals Gymnasium's; with another limit it is another task.

    An id that Gymnasium does not know counts as equal.
    """
    import envpool  # pyright: ignore[reportMissingImports]

    known = gym.registry.get(name)
    with without_warnings():
        limit: int = envpool.make_spec(name).config.max_episode_steps
    return known is None or known.max_episode_steps == limit


class EnvPoolVectorEnv(VectorEnv[Any, Any, Any]):
    """N environments of EnvPool as a Gymnasium `VectorEnv`.

    Only the first reset seeds them. EnvPool cannot reseed its environments, so later episodes continue each
    environment's own random stream.

    Args:
        name: an id from `pool_ids`.
        num_envs: number of environments.
        threads: number of EnvPool's threads; one per core by default.
        max_episode_steps: time limit that replaces the environment's own.
    """

    def __init__(
        self, name: str, num_envs: int, threads: int | None = None, max_episode_steps: int | None = None
    ) -> None:
        import envpool  # pyright: ignore[reportMissingImports]

        self._limit: dict[str, int] = (
            {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
        )

        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        with without_warnings():
            spec: Any = envpool.make_spec(name, num_envs=num_envs, **self._limit)
            self.max_episode_steps: int = spec.config.max_episode_steps
            self.single_observation_space: Space = spec.gymnasium_observation_space
            self.single_action_space: Space = _as_gymnasium(spec.gymnasium_action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.spec = gym.registry.get(name)
        self._name = name
        self._threads = threads or min(num_envs, os.cpu_count() or 1)
        self._pool: Any = None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode in every environment; only the first call uses the seeds."""
        if self._pool is None:
            import envpool  # pyright: ignore[reportMissingImports]

            if not isinstance(seed, list):
                super().reset(seed=seed)
                seed = [int(one) for one in self.np_random.integers(2**31, size=self.num_envs)]
            with without_warnings():
                self._pool = envpool.make_gymnasium(
                    self._name, num_envs=self.num_envs, seed=seed, num_threads=self._threads, **self._limit
                )
                return self._pool.reset()
        observation, info = self._pool.reset()
        return observation, info

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Step all environments."""
        dtype = np.int32 if is_choice(self.single_action_space) else np.float64
        return self._pool.step(np.asarray(actions, dtype))

    def close_extras(self, **kwargs: Any) -> None:
        """Release the pool, which ends its threads."""
        self._pool = None


def _as_gymnasium(space: Space) -> Space:
    """Return a float64 Box as float32: MuJoCo actions are float32 in Gymnasium and float64 in EnvPool."""
    if isinstance(space, spaces.Box) and space.dtype == np.float64:
        return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32))
    return space
