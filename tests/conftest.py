"""What many tests use: small networks and batches, and environments that misbehave in one known way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from tensorboardX.proto.event_pb2 import Event

from policygrad.policies import Policy
from policygrad.runs.run import Run
from policygrad.types import Array, Inputs, Rollout

# the tests have a process on every core: torch's threads of each would wait for one another's turn
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def global_randomness_is_left_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing in the library draws from global generators, but where a test says that it is meant to."""
    before = _global_states()
    yield
    if "draws_globally" not in request.keywords:
        assert _global_states() == before


@pytest.fixture(autouse=True, scope="session")
def files_of_simulators_go_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MuJoCo writes its warnings to a file in the working directory, which must not be the checkout."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("working directory"))
    yield
    os.chdir(before)


STEP_COLUMNS = (
    "observation", "next_observation", "action", "reward", "original_reward", "terminated", "truncated", "valid",
)  # fmt: skip
"""What a rollout has of each step, [T, N, ...] each."""


def with_observations(rollout: Rollout, observation: np.ndarray, next_observation: np.ndarray) -> Rollout:
    """The rollout with other observations, [T, N, D] each."""
    names = ("action", "reward", "original_reward", "terminated", "truncated", "valid")
    rest = {name: getattr(rollout, name) for name in names}
    return Rollout.from_pairs(observation=observation, next_observation=next_observation, **rest)


def _global_states() -> tuple[object, ...]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return kind, keys.tobytes(), *rest, torch.get_rng_state().numpy().tobytes()


def rows_of(run: Run) -> list[dict[str, float]]:
    """The history of a run as a row per update, without what was not logged in it."""
    history = run.history
    return [
        {name: float(column[i]) for name, column in history.items() if not np.isnan(column[i])}
        for i in range(len(history["steps"]))
    ]


def choosing(policy: Policy) -> Callable[[Inputs, np.ndarray], Array]:
    """The policy acting by itself, as an engine's `act`."""
    return lambda inputs, noise: policy.choose(Inputs(inputs.observation), noise)


class Countdown(gym.Env):
    """Episode n lasts `lengths[n]` steps; the observation counts them, the reward is 1 + the step's index.

    Made so that every number in a rollout says where it belongs.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, lengths: list[int], *, truncate: bool = False, reuse_array: bool = False) -> None:
        self.lengths, self.truncate, self.reuse_array = lengths, truncate, reuse_array
        self.episode, self.t = -1, 0
        self.seeds: list[int | None] = []
        self._shared = np.zeros(2, np.float32)

    def _observation(self) -> np.ndarray:
        values = np.array([self.episode, self.t], np.float32)
        if not self.reuse_array:
            return values
        self._shared[:] = values
        return self._shared

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.episode, self.t = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action: int):
        self.t += 1
        over = self.t >= self.lengths[self.episode % len(self.lengths)]
        ends = (False, over) if self.truncate else (over, False)
        return self._observation(), float(self.t), *ends, {}


def rollout_of(rewards: list[list[float]], *, truncated: bool = False, D: int = 2, seed: int = 0) -> Rollout:
    """A rollout of whole episodes with these rewards, one list a column, and random observations."""
    rng = np.random.default_rng(seed)
    T, N = max(map(len, rewards)), len(rewards)
    reward, valid, last = np.zeros((T, N)), np.zeros((T, N), bool), np.zeros((T, N), bool)
    for n, column in enumerate(rewards):
        reward[: len(column), n] = column
        valid[: len(column), n] = True
        last[len(column) - 1, n] = True
    observation = rng.standard_normal((T + 1, N, D)).astype(np.float32)
    return Rollout.from_pairs(
        observation=observation[:-1],
        action=rng.integers(0, 2, (T, N)),
        reward=reward,
        original_reward=reward,
        next_observation=observation[1:],
        terminated=last & (not truncated),
        truncated=last & truncated,
        valid=valid,
    )


def events_of(file: Path) -> list[Event]:
    """The events in a file of TensorBoard's: records of a length, its checksum, the event, its checksum."""
    data, position, events = file.read_bytes(), 0, []
    while position < len(data):
        length = int.from_bytes(data[position : position + 8], "little")
        events.append(Event.FromString(data[position + 12 : position + 12 + length]))
        position += 16 + length
    return events
