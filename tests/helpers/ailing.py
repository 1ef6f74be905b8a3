"""Environments that are made to have an ailment, and the means to diagnose and to treat a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import policygrad as pg
from policygrad.doctor import Finding
from policygrad.envs.kernel import normal, uniform
from policygrad.envs.textbook import FiniteEnv, FiniteMDP, kernel

SMALL_PPO = pg.PPO(horizon=32, minibatch_size=64, epochs=4, learning_rate=0.003)
"""With 8 environments, 256 samples per update."""


def corridor(length: int, limit: int, *, pays: float = 1.0) -> pg.Kernel:
    """A corridor with a reward at its end only; action 1 leads there and action 0 leads back."""
    state = np.arange(length + 1)
    following = np.stack([np.maximum(state - 1, 0), np.minimum(state + 1, length)], axis=1)
    transition = np.eye(length + 1)[following]
    reward = np.zeros_like(transition)
    reward[:length, :, length] = pays
    return kernel(FiniteMDP(transition, reward, np.eye(length + 1)[0], (length,), limit), "corridor")


def matching(
    *, pays: float = 1.0, offset: float = 0.0, swing: float = 0.0, noise: float = 0.0, steps: int = 20
) -> pg.Kernel:
    """The right action is the last bit of the state, 0 to 3, and pays `pays`; the wrong one pays 0.

    All rewards are raised by `offset`. `swing` is added in states 2 and 3 and subtracted in 0 and 1, which alternate.
    `noise` is added by chance, and subtracted in the next step. Both thus cancel over an episode, up to its ends.
    """
    transition, reward = np.zeros((8, 2, 8)), np.zeros((8, 2, 8))
    hidden = np.arange(8) // 4
    for state in range(8):
        look = state % 4
        for bit in range(2):
            transition[state, :, [2 * (1 - look // 2) + bit, 4 + 2 * (1 - look // 2) + bit]] = 0.25
        reward[state] = offset + swing * (2 * (look // 2) - 1) + 2 * noise * (hidden - hidden[state])
        reward[state, look % 2] += pays
    looks = (0, 1, 2, 3) * 2
    return kernel(FiniteMDP(transition, reward, np.full(8, 1 / 8), (), steps, looks=looks), "matching")


def cut_short(steps: int = 20, *, offset: float = 1.0, pays: float = 0.1) -> pg.Kernel:
    """`matching` that is terminated after some steps, which the observation does not count."""
    states = 4
    S = states * steps + 1
    transition, reward = np.zeros((S, 2, S)), np.zeros((S, 2, S))
    for t in range(steps):
        for s in range(states):
            here = t * states + s
            if t + 1 < steps:
                transition[here, :, (t + 1) * states : (t + 2) * states] = 1 / states
            else:
                transition[here, :, S - 1] = 1
            reward[here] = offset
            reward[here, s % 2] += pays
    transition[S - 1, :, S - 1] = 1
    start = np.zeros(S)
    start[:states] = 1 / states
    looks = (*(tuple(range(states)) * steps), 0)
    return kernel(FiniteMDP(transition, reward, start, (S - 1,), 10 * steps, looks=looks), "cut short")


def pit(*, steps: int) -> pg.Kernel:
    """Action 1 goes on to a field that pays 1 per step; action 0 falls into a pit that nothing leads out of."""
    size = 4
    transition, reward = np.zeros((size + 1, 2, size + 1)), np.zeros((size + 1, 2, size + 1))
    for s in range(size):
        transition[s, 0, size] = 1
        transition[s, 1, min(s + 1, size - 1)] = 1
    transition[size, :, size] = 1
    reward[:, :, size - 1] = 1
    return kernel(FiniteMDP(transition, reward, np.eye(size + 1)[0], (), steps), "pit")


def delayed(delay: int) -> pg.Kernel:
    """The first action decides: action 0 pays 0.1 at once, and action 1 pays 1 after `delay` steps."""
    S = 2 * delay + 2
    transition, reward = np.zeros((S, 2, S)), np.zeros((S, 2, S))
    end = S - 1
    transition[0, 0, 1] = transition[0, 1, 1 + delay] = 1
    for i in range(delay):
        for way in range(2):
            here = 1 + way * delay + i
            transition[here, :, here + 1 if i + 1 < delay else end] = 1
    reward[0, 0, 1] = 0.1
    reward[2 * delay, :, end] = 1
    transition[end, :, end] = 1
    return kernel(FiniteMDP(transition, reward, np.eye(S)[0], (end,), 2 * delay), "delayed")


class Recall(FiniteEnv):
    """The first observation shows which action the last one, two steps later, pays for."""

    def __init__(self) -> None:
        # (signal, step) -> what is seen: the signal at first, and then only the step
        transition, reward = np.zeros((7, 2, 7)), np.zeros((7, 2, 7))
        for signal in range(2):
            for step in range(3):
                here = 3 * signal + step
                transition[here, :, here + 1 if step < 2 else 6] = 1
            reward[3 * signal + 2, signal, 6] = 1
        transition[6, :, 6] = 1
        start = np.array([0.5, 0, 0, 0.5, 0, 0, 0])
        super().__init__(FiniteMDP(transition, reward, start, (6,), 10, looks=(0, 2, 3, 1, 2, 3, 4)))


def constant(steps: int = 20) -> pg.Kernel:
    """`matching` that pays 0.5 for each action."""
    return matching(pays=0.0, offset=0.5, steps=steps)


class Unseeded(FiniteEnv):
    """`matching` that draws its states from a generator of its own, which the seed does not reach."""

    def __init__(self, *, repaired: bool = False) -> None:
        transition, reward = np.full((4, 2, 4), 0.25), np.zeros((4, 2, 4))
        reward[np.arange(4), np.arange(4) % 2] = 1
        super().__init__(FiniteMDP(transition, reward, np.full(4, 0.25), (), 20))
        self._repaired, self._own = repaired, np.random.default_rng()

    def _draw(self, probabilities: Any) -> int:
        rng = self.np_random if self._repaired else self._own
        return int(rng.choice(len(probabilities), p=probabilities))


class Blind(gym.Env[Any, Any]):
    """`matching` whose observation is always 0; it is the state if repaired."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, *, repaired: bool = False) -> None:
        self._repaired, self._state, self._steps = repaired, 1, 0

    def _look(self) -> np.ndarray:
        self._state = int(self.np_random.choice([-1, 1]))
        return np.array([self._state if self._repaired else 0.0], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        return self._look(), {}

    def step(self, action: int) -> Any:
        self._steps += 1
        reward = float((action == 1) == (self._state == 1))
        return self._look(), reward, False, self._steps >= 20, {}


class NoSpeeds(gym.ObservationWrapper[Any, Any, Any]):
    """CartPole without the speeds of the cart and the pole."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def observation(self, observation: Any) -> Any:
        return observation[[0, 2]]


def _reset_sign(state: Any, rng: Any) -> None:
    state[0] = 1.0 if uniform(rng, 0.0, 1.0) < 0.5 else -1.0
    state[1] = uniform(rng, -1.0, 1.0)


def _step_sign(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    wanted = 1.0 if state[0] * (abs(state[1]) + 0.5) > 0 else 0.0
    state[0] = 1.0 if uniform(rng, 0.0, 1.0) < 0.5 else -1.0
    state[1] = uniform(rng, -1.0, 1.0)
    return 1.0 if action[0] == wanted else 0.0, False


def _observe_sign(state: Any, observation: Any) -> None:
    observation[0] = state[2] * state[0] * (abs(state[1]) + 0.5) + state[3]
    observation[1] = state[1]


def sign(*, scale: float = 1.0, offset: float = 0.0) -> pg.Kernel:
    """The right action is the sign of the first number of the observation, which has this scale and this offset."""
    return pg.Kernel(
        "sign", spaces.Box(-np.inf, np.inf, (2,), np.float32), spaces.Discrete(2),
        np.array([1.0, 0.0, scale, offset]), 20, _reset_sign, _step_sign, _observe_sign,
    )  # fmt: skip


def _reset_aim(state: Any, rng: Any) -> None:
    state[0] = uniform(rng, -0.5, 0.5)
    state[4] = 0.0


def _step_aim(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    reward = math.exp(-abs(action[0] / state[1] - state[0]) / state[2])
    state[0] = uniform(rng, -0.5, 0.5)
    before = state[4]
    state[4] = state[3] * normal(rng)
    return reward + state[4] - before, False


def _observe_aim(state: Any, observation: Any) -> None:
    observation[0] = state[0]


def aim(*, box: float = 1.0, width: float = 0.3, noise: float = 0.0, steps: int = 20) -> pg.Kernel:
    """The action should be the observation times half the width of the box, `box`; `width` is the tolerance.

    Noise with a standard deviation of `noise` is added to each reward, and subtracted from the next one.
    """
    return pg.Kernel(
        "aim", spaces.Box(-1, 1, (1,), np.float32), spaces.Box(-box, box, (1,), np.float32),
        np.array([0.0, box, width, noise, 0.0]), steps, _reset_aim, _step_aim, _observe_aim,
    )  # fmt: skip


def trained(env: Any, algorithm: Any = SMALL_PPO, **settings: Any) -> pg.Run:
    """Train without choosing the best policy, which takes time, and without warnings about findings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return pg.train(env, algorithm, select=False, **settings)


def names_of(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings]


def treated(
    remedy: Mapping[str, Any], algorithm: Any = SMALL_PPO, **settings: Any
) -> tuple[Any, dict[str, Any]]:
    """The algorithm and the settings of a run with a remedy applied."""
    parts = {
        "network": settings.get("network", pg.Network()),
        "normalization": settings.get("normalization", pg.Normalization()),
    }
    for name, value in remedy.items():
        if name in {field.name for field in fields(algorithm)}:
            algorithm = replace(algorithm, **{name: value})
            continue
        for part, given in parts.items():
            if name in {field.name for field in fields(given)}:
                parts[part] = replace(given, **{name: value})
                break
        else:
            settings[name] = value
    return algorithm, {**settings, **parts}
