"""Rollouts and batches of random observations, with actions from a policy."""

from __future__ import annotations

from typing import Any

import numpy as np

from policygrad.policies import Policy
from policygrad.types import Batch, Inputs, Rollout
from tests.helpers.networks import D

B = 600  # not a multiple of the number of rows that the fused engine processes at once
STEP_COLUMNS = (
    "observation", "next_observation", "action", "reward", "original_reward", "terminated", "truncated", "valid",
)  # fmt: skip
"""What a rollout holds for each step, as arrays [T, N, ...]."""


def rollout_of(
    rewards: list[list[float]], *, truncated: bool = False, observation_size: int = 2, seed: int = 0
) -> Rollout:
    """Return whole episodes with these rewards, one list per column, and random observations."""
    rng = np.random.default_rng(seed)
    T, N = max(map(len, rewards)), len(rewards)
    reward, valid, last = np.zeros((T, N)), np.zeros((T, N), bool), np.zeros((T, N), bool)
    for n, column in enumerate(rewards):
        reward[: len(column), n] = column
        valid[: len(column), n] = True
        last[len(column) - 1, n] = True
    observation = rng.standard_normal((T + 1, N, observation_size)).astype(np.float32)
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


def with_observations(rollout: Rollout, observation: np.ndarray, next_observation: np.ndarray) -> Rollout:
    """Return the rollout with other observations, [T, N, D] each."""
    names = ("action", "reward", "original_reward", "terminated", "truncated", "valid")
    rest = {name: getattr(rollout, name) for name in names}
    return Rollout.from_pairs(observation=observation, next_observation=next_observation, **rest)


def episodes_for(policy: Policy, seed: int) -> Rollout:
    """Return six whole episodes of 10 to 35 steps with actions of this policy."""
    rng = np.random.default_rng(seed)
    rewards = [list(rng.standard_normal(n)) for n in rng.integers(10, 35, 6)]
    rollout = rollout_of(rewards, observation_size=D, seed=seed)
    T, N = rollout.valid.shape
    encoded = rollout.observation.reshape(T * N, D)
    action = policy.choose(Inputs(encoded), policy.draw_noise(rng, T * N))
    parts = {f: getattr(rollout, f) for f in Rollout.__dataclass_fields__}
    return Rollout(**parts | {"action": action.reshape(T, N, *action.shape[1:])})


def steps_for(policy: Policy, seed: int, T: int = 40, N: int = 6) -> Rollout:
    """Return T × N steps with a termination, a truncation, and rows in which an environment only reset itself."""
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((T + 1, N, D)).astype(np.float32)
    terminated, truncated, valid = np.zeros((3, T, N), bool)
    valid[:] = True
    terminated[7, 0] = truncated[11, 1] = terminated[T - 1, 2] = True
    valid[8, 0] = valid[12, 1] = False
    following = observation[1:].copy()
    following[7, 0], following[11, 1] = rng.standard_normal((2, D))
    encoded = observation[:-1].reshape(T * N, D)
    action = policy.choose(Inputs(encoded), policy.draw_noise(rng, T * N))
    reward = rng.standard_normal((T, N)) * valid
    return Rollout.from_pairs(
        observation=observation[:-1],
        action=action.reshape(T, N, *action.shape[1:]),
        reward=reward,
        original_reward=reward,
        next_observation=following,
        terminated=terminated,
        truncated=truncated,
        valid=valid,
    )


def one_step_for(policy: Policy, seed: int, *, N: int = 3) -> Rollout:
    """Return one step of N environments; one in five ends an episode."""
    rng = np.random.default_rng(seed)
    observation, following = rng.standard_normal((2, 1, N, D)).astype(np.float32)
    action = policy.choose(Inputs(observation[0]), policy.draw_noise(rng, N))[None]
    reward, over = rng.standard_normal((1, N)), rng.random((1, N)) < 0.2
    return Rollout.from_pairs(
        observation=observation,
        action=action,
        reward=reward,
        original_reward=reward,
        next_observation=following,
        terminated=over,
        truncated=np.zeros_like(over),
        valid=np.ones_like(over),
    )


def batch_for(policy: Policy, n: int = B, seed: int = 1) -> Batch:
    """Return n samples with actions of this policy, random advantages and random targets."""
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((n, D)).astype(np.float32)
    action = policy.choose(Inputs(observation), policy.draw_noise(rng, n))
    advantage, target = rng.standard_normal((2, n)).astype(np.float32)
    return Batch(Inputs(observation), action, {"advantage": advantage, "target": target})


def batch_rows(batch: Batch, rows: Any) -> Batch:
    """Return some rows of a batch as a batch."""
    columns = {name: column[rows] for name, column in batch.columns.items()}
    return Batch(batch.inputs.rows(rows), batch.action[rows], columns)
