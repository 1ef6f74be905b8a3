"""Playing a policy in a single environment, with a picture after every step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from policygrad._support.checks import is_finite, whole
from policygrad._support.threads import single_thread
from policygrad.envs import KERNELS, Environments, EnvLike, EnvOptions, Kernel, KernelEnv, make
from policygrad.envs.quiet import without_warnings
from policygrad.envs.registry import find
from policygrad.evaluation import Evaluation, check_policy, run_episodes
from policygrad.policies import Policy, evaluation_mode
from policygrad.types import Array
from policygrad.watching.chart import Chart

Show: TypeAlias = Callable[[Callable[[], Array], float], None]
"""Called with a function that draws the current picture, [H, W, 3] uint8, and with the pictures per second."""
DEFAULT_FPS = 30.0
"""Pictures per second of environments that do not say it."""


def play(
    policy: Policy,
    env: EnvLike,
    show: Show,
    *,
    episodes: int = 1,
    greedy: bool | None = None,
    seed: int = 0,
    options: EnvOptions,
    mode: str = "rgb_array",
    say: Callable[[str], None] = lambda message: None,
) -> Evaluation:
    """Run whole episodes in one environment, showing its picture at the start and after every step.

    Args:
        policy, env, seed: as in `evaluate`.
        show: called with each picture.
        episodes: number of episodes, 1 or more.
        greedy: take the most probable action instead of a sampled one; None takes what `policy.greedy` says.
        options: how the environment is opened.
        mode: the render mode in which it is opened. With `human`, Gymnasium's environments show themselves in a
            window, and `show` is not called for them.
        say: called with a message if the environment cannot draw itself, so that its observations are drawn.

    Returns:
        The returns of the episodes.

    Raises:
        ValueError: it is a vector environment, its spaces differ from the policy's, or
            `episodes` is below 1.
    """
    check_policy(policy)
    episodes = whole("episodes", episodes, at_least=1)
    environments = _opened(env, show, options, mode, say)
    try:
        policy.check_spaces(environments.observation_space, environments.action_space, environments.name)
        with single_thread(), evaluation_mode(policy):
            acts_greedily = policy.greedy if greedy is None else greedy
            return run_episodes(policy, environments, episodes, acts_greedily, seed)
    finally:
        environments.close()


def at_pace(show: Show, fps: float | None) -> Show:
    """Return a function that shows pictures at a pace, or at the environment's own pace if that is None.

    Raises:
        ValueError: the pace is not a positive number.
    """
    if fps is None:
        return show
    if not (is_finite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number; got {fps!r}")
    pace = float(fps)
    return lambda picture, _: show(picture, pace)


def _opened(
    env: EnvLike, show: Show, options: EnvOptions, mode: str, say: Callable[[str], None]
) -> Environments:
    """Open a single environment that shows its pictures."""

    def filmed(inner: gym.Env[Any, Any]) -> _Filmed:
        return _Filmed(inner, show, say)

    found = find(env) if isinstance(env, str) else env
    if isinstance(found, str) and found in KERNELS and not options.needs_python:
        found = KERNELS[found] if options.backend in ("auto", "compiled") else found
    options = replace(options, backend="auto", vectorize="sync", wrap=(*options.wrap, filmed))
    if isinstance(found, Kernel):
        kernel = found.limited_to(options.max_episode_steps)
        drawn = "rgb_array" if kernel.render is not None else None
        return make(lambda: KernelEnv(kernel, drawn), 1, replace(options, max_episode_steps=None))
    if isinstance(found, str):
        # given with its module, which registers it
        return _asked_to_draw(env, replace(options, backend="gymnasium"), mode)
    if isinstance(found, gym.Env | VectorEnv):
        return make(_single(found), 1, options)

    @wraps(found)
    def single(**arguments: Any) -> Any:
        return _single(found(**arguments))

    return _asked_to_draw(single, options, mode) if _takes_render_mode(found) else make(single, 1, options)


def _single(env: Any) -> Any:
    """Return the environment; raise ValueError if it is a vector environment."""
    if isinstance(env, VectorEnv):
        raise ValueError(
            f"{type(env).__name__} is a vector environment; watching needs a single one. Pass a function that creates "
            "a single environment"
        )
    return env


def _asked_to_draw(env: EnvLike, options: EnvOptions, mode: str) -> Environments:
    """Open an environment in the render mode, or without one if the code that makes it does not accept it."""
    asked = replace(options, env_kwargs={"render_mode": mode, **options.env_kwargs})
    try:
        # Gymnasium warns if the environment does not list the mode
        with without_warnings():
            return make(env, 1, asked)
    except ValueError:
        # if the render mode is not the reason, this raises the same error again
        return make(env, 1, options)


def _takes_render_mode(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False
    return "render_mode" in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )


class _Filmed(gym.Wrapper[Any, Any, Any, Any]):
    """Shows the picture of an environment after each reset and step.

    Args:
        env: the environment.
        show: called with each picture.
        say: called with a message if the observations are drawn in place of the environment.
    """

    def __init__(self, env: gym.Env[Any, Any], show: Show, say: Callable[[str], None]) -> None:
        super().__init__(env)
        self._show, self._say = show, say
        self._shows_itself = env.render_mode == "human"
        self._fps = float(env.metadata.get("render_fps") or DEFAULT_FPS)
        spec = env.spec
        self._name = type(env.unwrapped).__name__ if spec is None else spec.id
        self._chart: Chart | None = None
        if env.render_mode is None:
            modes = env.metadata.get("render_modes") or []
            reason = "it has no render mode rgb_array"
            if "rgb_array" in modes:
                reason = "it was made without render_mode='rgb_array'"
            self._draw_observations(reason)

    def reset(self, **options: Any) -> Any:
        """Begin an episode, and show its first picture."""
        with self._missing_packages_named():
            observation, info = self.env.reset(**options)
        if self._chart is not None:
            self._chart.begin(observation)
        if not self._shows_itself:
            self._show(lambda: self._picture(observation), self._fps)
        return observation, info

    def step(self, action: Any) -> Any:
        """Take a step, and show the picture after it."""
        result = self.env.step(action)
        if self._chart is not None:
            self._chart.add(result[0])
        if not self._shows_itself:
            self._show(lambda: self._picture(result[0]), self._fps)
        return result

    @contextmanager
    def _missing_packages_named(self) -> Generator[None]:
        """Say which package is missing, if an environment that shows itself in a window says so."""
        try:
            yield
        except gym.error.DependencyNotInstalled as error:
            raise ValueError(f"{self._name} cannot open its window: {error}") from error

    def _picture(self, observation: Any) -> Array:
        if self._chart is None:
            try:
                return _as_picture(self.env.render())
            except Exception as error:
                # what it needs may be missing: a package, a display, a graphics driver
                hint = (
                    "" if "OpenGL" not in str(error) else ". MUJOCO_GL=egl may draw MuJoCo without a display"
                )
                self._draw_observations(f"render raised {type(error).__name__}: {error}{hint}").begin(
                    observation
                )
        assert self._chart is not None
        return self._chart.pixels()

    def _draw_observations(self, reason: str) -> Chart:
        self._say(f"{self._name} cannot draw itself, so its observations are drawn: {reason}")
        self._chart = Chart(self.env.observation_space, self._name)
        return self._chart


def _as_picture(drawn: Any) -> Array:
    """Return what `render` has returned as [H, W, 3] uint8; a list of pictures stands for its last one."""
    if isinstance(drawn, list) and drawn:
        drawn = drawn[-1]
    picture = np.asarray(drawn)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise ValueError(
            f"it returned shape {picture.shape} and dtype {picture.dtype}; expected [H, W, 3] uint8"
        )
    return picture[..., :3]
