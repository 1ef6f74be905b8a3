"""Baselines: values that are subtracted from the returns without changing the expected gradient."""

from __future__ import annotations

import numpy as np

from policygrad.types import F64, Bool, check_shape


def mean_baseline(returns: F64, valid: Bool) -> F64:
    """Return the mean over all samples, the same for each: [T, N].

    The mean includes the sample's own return, which shrinks the expected gradient (by 1/N if all episodes have the
    same length). `leave_one_out_baseline` does not have this bias.
    """
    return np.full_like(returns, returns[valid].mean())


def leave_one_out_baseline(returns: F64, valid: Bool) -> F64:
    """Return for each episode the mean over the samples of all other episodes: [T, N].

    Kool, van Hoof & Welling 2019. The baseline is independent of the episode that it is subtracted from, and therefore
    unbiased. With one return per episode, G − b is k/(k−1) times the difference between G and the mean over all k.

    >>> leave_one_out_baseline(np.array([[1.0, 2.0, 6.0]]), np.ones((1, 3), bool))
    array([[4. , 3.5, 1.5]])

    Raises:
        ValueError: there is only one episode.
    """
    if returns.shape[1] < 2:
        raise ValueError(
            "the leave-one-out baseline needs at least two episodes per update: raise num_envs or episodes_per_env"
        )
    total, count = np.where(valid, returns, 0.0).sum(0), valid.sum(0)
    others = (total.sum() - total) / (count.sum() - count)
    return np.broadcast_to(others, returns.shape)


def time_baseline(returns: F64, valid: Bool) -> F64:
    """Return at each time step the mean over the episodes that are still running: [T, N].

    Like `mean_baseline`, it includes the sample's own return. Where only one episode is still running, its advantage
    is 0.
    """
    running = valid.sum(1)
    mean = np.where(valid, returns, 0.0).sum(1) / np.maximum(running, 1)
    return np.broadcast_to(mean[:, None], returns.shape)


def optimal_baseline(returns: F64, valid: Bool, squared_scores: F64) -> F64:
    """Return the constant that minimizes the variance of the samples' gradients x (G − b), as [T, N].

        b* = E[‖x‖² G] / E[‖x‖²],    x = ∇ log π, or γ^t ∇ log π where the estimator weights its samples by γ^t

    Greensmith, Bartlett & Baxter 2004, theorem 8. The theorem is for single samples and does not include the covariance
    between the steps of an episode. Estimating b* from the samples that it is applied to biases it by O(1/B).

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
    # computed relative to one return, so that the baseline of equal returns is exactly that return
    return np.full_like(returns, sample[0] + weight @ (sample - sample[0]) / total)
