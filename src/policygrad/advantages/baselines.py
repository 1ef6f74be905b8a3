"""Baselines: what is subtracted from a return without changing the expected gradient."""

from __future__ import annotations

import numpy as np

from policygrad.types import F64, Bool, check_shape


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
    """Return the constant that minimizes the variance of the samples' gradients x (G − b), as [T, N].

        b* = E[‖x‖² G] / E[‖x‖²],    x = ∇ log π, or γ^t ∇ log π where the estimator weighs its samples by γ^t

    Greensmith, Bartlett & Baxter 2004, theorem 8 (theirs is for single samples; the covariance between the
    steps of one episode is not in it). Estimated on the samples that it is used for, it is biased by O(1/B).

    >>> optimal_baseline(np.array([[1.0], [5.0]]), np.ones((2, 1), bool), np.array([[3.0], [1.0]])).ravel()
    array([2., 2.])

    Args:
        returns, valid: [T, N].
        squared_scores: [T, N] float64, ‖x‖² of each sample: ‖∇_θ log π(a_t|s_t)‖², or γ^{2t} times that.
    """
    check_shape("squared_scores", squared_scores, returns.shape)
    weight, sample = squared_scores[valid], returns[valid]
    total = weight.sum()
    if total == 0:
        return np.zeros_like(returns)
    # around one of them, so that the baseline of equal returns is exactly theirs
    return np.full_like(returns, sample[0] + weight @ (sample - sample[0]) / total)
