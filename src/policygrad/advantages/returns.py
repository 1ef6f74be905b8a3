"""Returns of whole episodes: the rewards from each step on."""

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad.types import F64, Bool, Rollout, check_shape


def check_whole_episodes(rollout: Rollout) -> None:
    """Raise ValueError unless each column is one episode from its first step to its end.

    Monte Carlo returns would otherwise be wrong: too small if an episode is incomplete, and sums over several episodes
    if a column contains more than one.
    """
    length = rollout.valid.sum(0)
    T = len(rollout.valid)
    if not (rollout.valid == (np.arange(T)[:, None] < length)).all() or not length.all():
        raise ValueError(
            "the samples of each column must be at its start, without gaps; found gaps or an empty column"
        )
    at_end = rollout.done[length - 1, np.arange(len(length))]
    if not at_end.all() or (rollout.done & rollout.valid).sum() != len(length):
        raise ValueError("each column must be one whole episode, which ends by termination or truncation")


def returns_to_go(reward: F64, done: Bool, gamma: float, tail: F64 | None = None) -> F64:
    """Return the discounted sum of rewards from each step to the end of its episode.

        G_t = r_t + γ G_{t+1},   and   G_t = r_t + γ · tail_t   where the episode ended at t

    Sutton & Barto (2018), eq. 3.9; their R_{t+1} is our reward[t], the reward for a_t.

    >>> returns_to_go(np.array([[1.0], [1.0], [1.0]]), np.array([[False], [False], [True]]), 0.5).ravel()
    array([1.75, 1.5 , 1.  ])

    Args:
        reward: [T, N] float64.
        done: [T, N] bool: True if an episode ended with this step.
        gamma: discount, in [0, 1].
        tail: [T, N] float64: value of what follows the end of an episode: V(s_{t+1}) after a truncation, 0 after a
            termination. None is 0 everywhere.

    Returns:
        [T, N] float64. Rewards never count across the end of an episode, in either direction.
    """
    check_shape("done", done, reward.shape)
    tail = np.zeros(reward.shape) if tail is None else tail
    check_shape("tail", tail, reward.shape)
    returns = np.zeros(reward.shape)
    _add_up(np.asarray(reward, np.float64), done, float(gamma), np.asarray(tail, np.float64), returns)
    return returns


@compiled_when_called
def _add_up(reward: F64, done: Bool, gamma: float, tail: F64, returns: F64) -> None:
    T, N = reward.shape
    for t in range(T - 1, -1, -1):
        for n in range(N):
            following = tail[t, n]
            if not done[t, n]:
                following = returns[t + 1, n] if t + 1 < T else 0.0
            returns[t, n] = reward[t, n] + gamma * following


def discount_weights(shape: tuple[int, int], gamma: float) -> F64:
    """Return γ^t, where t counts from the start of the episode: [T, N] float64."""
    return np.broadcast_to(gamma ** np.arange(shape[0], dtype=np.float64)[:, None], shape)
