"""Returns of whole episodes: the rewards from each step on."""

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad.advantages.estimators import monte_carlo
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
    if tail is not None:
        check_shape("tail", tail, reward.shape)
    never = np.zeros(reward.shape, np.bool_)
    return monte_carlo(gamma, "none", bootstrap=True)(reward, None, tail, never, done)[1]


def discount_weights(shape: tuple[int, int], gamma: float) -> F64:
    """Return γ^t, where t counts from the start of the episode: [T, N] float64."""
    return np.broadcast_to(gamma ** np.arange(shape[0], dtype=np.float64)[:, None], shape)


@compiled_when_called
def continue_discount_weights(done: Bool, valid: Bool, gamma: float, weight: F64, weights: F64) -> None:
    """Write γ^t of each step, where t counts from the start of its episode.

    Args:
        done, valid: [T, N] bool: True if an episode ended with this step; True for samples.
        gamma: discount, in [0, 1].
        weight: [N] float64: the weight of each first step, 1 at the start of an episode. It is updated in place, for
            the steps that follow the last ones.
        weights: [T, N] float64, which receives the weights.
    """
    for t in range(done.shape[0]):
        for n in range(done.shape[1]):
            weights[t, n] = weight[n]
            if done[t, n]:
                weight[n] = 1.0
            elif valid[t, n]:
                weight[n] *= gamma
