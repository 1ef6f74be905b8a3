"""One compiled environment as a Gymnasium `Env`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from policygrad.envs.kernel import Kernel
from policygrad.envs.kernel_vector import KernelVectorEnv
from policygrad.types import Array


class KernelEnv(gym.Env[Any, Any]):
    """A single environment of a `Kernel` as a Gymnasium environment.

    Args:
        kernel: the environment.
        render_mode: "rgb_array" lets `render` return pictures of a kernel that draws itself.

    Raises:
        TypeError: Numba cannot compile the kernel's functions.
        ValueError: the kernel does not draw itself, or `render_mode` is unknown.
    """

    def __init__(self, kernel: Kernel, render_mode: str | None = None) -> None:
        modes = [] if kernel.render is None else ["rgb_array"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(
                f"{kernel.name}: render_mode is {render_mode!r}; expected None"
                + (" or 'rgb_array'" if modes else ", because the Kernel has no render function")
            )
        self.metadata = {"render_modes": modes, "render_fps": kernel.render_fps}
        self.render_mode = render_mode
        self._vector = KernelVectorEnv(kernel, 1)
        self.observation_space = kernel.observation_space
        self.action_space = kernel.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        observation, info = self._vector.reset(seed=[int(self.np_random.integers(2**31))])
        return self._one(observation), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            gymnasium.error.ResetNeeded: the episode has ended, or none has begun.
        """
        if self._vector.over[0]:
            raise gym.error.ResetNeeded(
                f"{self._vector.kernel.name}: the episode has ended; call reset before step"
            )
        observation, reward, terminated, truncated, info = self._vector.step(np.asarray(action)[None])
        return self._one(observation), float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Array | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a picture of the current state, [H, W, 3] uint8; None without a `render_mode`."""
        draw = self._vector.kernel.render
        return None if draw is None or self.render_mode is None else draw(self._vector.states[0].copy())

    def _one(self, observations: Array) -> Any:
        return int(observations[0]) if observations.ndim == 1 else observations[0]
