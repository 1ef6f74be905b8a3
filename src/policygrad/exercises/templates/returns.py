"""Exercise `returns`: rewards-to-go, and the gradient estimate of REINFORCE.

REINFORCE estimates the gradient of J(θ) = E[Σ_t γ^t r_t] from whole episodes. An action can only influence the rewards
that follow it, so it gets the credit of its reward-to-go

    G_t = r_t + γ r_{t+1} + γ² r_{t+2} + …      (until the end of the episode)

and the estimate from M episodes is

    ĝ = 1/M Σ_episodes Σ_t γ^t G_t ∇ log π(a_t|s_t)

where t counts the steps of each episode from 0. The factor γ^t is there because rewards after t steps count γ^t times
as much in J. Many implementations leave it out, but then the mean of ĝ is not the gradient of J. Use NumPy only.

All arrays are time-major: row t contains step t of N environments that run side by side. A column contains whole
episodes, one after another, so the last row of `done` is True in every column, and columns may contain different
numbers of episodes.

The checker enumerates all episodes of a small decision process, so it compares the mean of your estimate with the exact
gradient without any sampling error. Grade your work with `policygrad exercise check returns.py`.
"""

import numpy as np

EXERCISE = "returns"


def rewards_to_go(rewards: np.ndarray, done: np.ndarray, gamma: float) -> np.ndarray:
    """Return the discounted sum of the rewards from each step to the end of its episode.

    Args:
        rewards: [T, N] float64.
        done: [T, N] bool, True if the episode ends with this step.
        gamma: discount, in [0, 1].

    Returns:
        [T, N] float64: G_t.
    """
    raise NotImplementedError("Write the rewards-to-go here.")


def gradient_estimate(scores: np.ndarray, rewards: np.ndarray, done: np.ndarray, gamma: float) -> np.ndarray:
    """Return the estimate ĝ of the gradient of J.

    Args:
        scores: [T, N, P] float64, ∇ log π(a_t|s_t) with respect to the P parameters.
        rewards: [T, N] float64.
        done: [T, N] bool, True if the episode ends with this step.
        gamma: discount, in [0, 1].

    Returns:
        [P] float64: the mean over all episodes of their sums over steps.
    """
    raise NotImplementedError("Write the gradient estimate of REINFORCE here.")
