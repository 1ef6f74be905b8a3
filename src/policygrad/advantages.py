"""Returns and baselines: pure functions on arrays [T, N], an episode a column.

`valid` marks the samples; what stands in the other rows is never read. All of it is float64.
"""

from __future__ import annotations

import numpy as np

from policygrad.compiled import compiled_when_called
from policygrad.types import F64, Array, Bool, Rollout, check_shape


def check_whole_episodes(rollout: Rollout) -> None:
    """Raise ValueError unless each column is one episode from its first step to its end.

    Monte Carlo returns of anything else would be wrong: of a part that stops early, too small; of two
    episodes in one column, sums over both.
    """
    length = rollout.valid.sum(0)
    T = len(rollout.valid)
    if not (rollout.valid == (np.arange(T)[:, None] < length)).all() or not length.all():
        raise ValueError("expected each column's samples at its start, at least one; found gaps or none")
    at_end = rollout.done[length - 1, np.arange(len(length))]
    if not at_end.all() or (rollout.done & rollout.valid).sum() != len(length):
        raise ValueError("expected each column to be one whole episode, ended by termination or truncation")


def returns_to_go(reward: F64, done: Bool, gamma: float, tail: F64 | None = None) -> F64:
    """What was earned from each step to its episode's end.

        G_t = r_t + γ G_{t+1},   and   G_t = r_t + γ · tail_t   where the episode ended at t

    Sutton & Barto (2018), eq. 3.9; their R_{t+1} is our reward[t], which a_t brought.

    >>> returns_to_go(np.array([[1.0], [1.0], [1.0]]), np.array([[False], [False], [True]]), 0.5).ravel()
    array([1.75, 1.5 , 1.  ])

    Args:
        reward: [T, N] float64.
        done: [T, N] bool: an episode ended with this step.
        gamma: discount, in [0, 1].
        tail: [T, N] float64: the value of what follows an end: V(s_{t+1}) where it was a truncation, 0 where
            a termination. None is 0 everywhere.

    Returns:
        [T, N] float64. Nothing flows over an end, in either direction.
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


def generalized_advantages(
    reward: F64, value: F64, next_value: F64, terminated: Bool, done: Bool, gamma: float, lam: float
) -> F64:
    """Advantages from steps that need not be whole episodes, by exponentially weighted TD errors.

        δ_t = r_t + γ V(s_{t+1}) − V(s_t),    A_t = δ_t + γλ A_{t+1}

    Schulman et al. 2016, eq. 11, 12 and 16. Where an episode terminated V(s_{t+1}) is 0; where it ended for
    either reason, and at the last row, A_{t+1} is 0. λ = 1 gives the discounted return, with V for what lies
    beyond the last row, minus V(s_t); λ = 0 the TD error.

    >>> ones, no = np.ones((2, 1)), np.zeros((2, 1), bool)
    >>> generalized_advantages(ones, 0 * ones, ones, no, no, gamma=0.5, lam=1.0).ravel()
    array([2.25, 1.5 ])

    Args:
        reward, value, next_value: [T, N] float64: r_t, V(s_t) and V(s_{t+1}), the true successor's.
        terminated, done: [T, N] bool: the episode terminated with this step; it ended, for either reason.
        gamma: discount, in [0, 1].
        lam: λ, in [0, 1].

    Returns:
        [T, N] float64. A row that is no sample takes part like any other: it should stand after an end.
    """
    for name, array in (
        ("value", value),
        ("next_value", next_value),
        ("terminated", terminated),
        ("done", done),
    ):
        check_shape(name, array, reward.shape)
    error = reward + gamma * np.where(terminated, 0.0, next_value) - value
    # the sum of discounted errors with nothing flowing over an end
    return returns_to_go(error, done, gamma * lam)


def discount_weights(shape: tuple[int, int], gamma: float) -> F64:
    """γ^t, t counted from the episode's start: [T, N] float64."""
    return np.broadcast_to(gamma ** np.arange(shape[0], dtype=np.float64)[:, None], shape)


def mean_baseline(returns: F64, valid: Bool) -> F64:
    """The mean over all samples, the same for each: [T, N].

    It contains the sample's own return, and so shrinks the expected gradient (by 1/N where all episodes
    are equally long): `leave_one_out_baseline` does not.
    """
    return np.full_like(returns, returns[valid].mean())


def leave_one_out_baseline(returns: F64, valid: Bool) -> F64:
    """For each episode the mean over the samples of all others: [T, N].

    Kool, van Hoof & Welling 2019: independent of the episode it is subtracted from, and so unbiased. For
    one return an episode, G − b is k/(k−1) times G minus the mean over all k.

    >>> leave_one_out_baseline(np.array([[1.0, 2.0, 6.0]]), np.ones((1, 3), bool))
    array([[4. , 3.5, 1.5]])

    Raises:
        ValueError: there is only one episode.
    """
    if returns.shape[1] < 2:
        raise ValueError(
            "the leave-one-out baseline needs two episodes an update or more: raise num_envs or episodes_per_env"
        )
    total, count = np.where(valid, returns, 0.0).sum(0), valid.sum(0)
    others = (total.sum() - total) / (count.sum() - count)
    return np.broadcast_to(others, returns.shape)


def time_baseline(returns: F64, valid: Bool) -> F64:
    """At each time step the mean over the episodes still running: [T, N].

    Like `mean_baseline` it contains the sample's own return: where one episode alone runs on, its advantage
    is 0.
    """
    running = valid.sum(1)
    mean = np.where(valid, returns, 0.0).sum(1) / np.maximum(running, 1)
    return np.broadcast_to(mean[:, None], returns.shape)


def optimal_baseline(returns: F64, valid: Bool, squared_scores: F64) -> F64:
    """The constant that minimises the variance of the samples' gradients: [T, N].

        b* = E[‖∇ log π‖² G] / E[‖∇ log π‖²]

    Greensmith, Bartlett & Baxter 2004, theorem 8 (theirs is for single samples; the covariance between the
    steps of one episode is not in it). Estimated on the samples that it is used for, it is biased by O(1/B).

    Args:
        returns, valid: [T, N].
        squared_scores: [T, N] float64, ‖∇_θ log π(a_t|s_t)‖² of each sample.
    """
    check_shape("squared_scores", squared_scores, returns.shape)
    weight = squared_scores[valid]
    total = weight.sum()
    return np.full_like(returns, (weight * returns[valid]).sum() / total if total > 0 else 0.0)


def normalize(advantage: F64) -> F64:
    """Zero mean and unit deviation over all samples [B]; all equal, or a single one, gives zeros.

    >>> normalize(np.array([1.0, 3.0]))
    array([-1.,  1.])
    """
    centred = advantage - advantage.mean()
    deviation = np.sqrt((centred**2).mean())
    return centred / deviation if deviation > 1e-8 else np.zeros_like(centred)


def explained_variance(value: Array, target: Array) -> float:
    """1 − Var(G − V) / Var(G): 1 is a perfect V, 0 no better than a constant, below 0 worse; NaN if G is constant."""
    variance = float(np.var(target, dtype=np.float64))
    if variance == 0:
        return float("nan")
    return 1 - float(np.var(target.astype(np.float64) - value)) / variance
