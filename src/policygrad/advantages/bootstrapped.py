"""Advantages from steps that need not form whole episodes. V(s) replaces the rewards that were not collected.

All arrays are [T, N]. `terminated` sets the value of the next state to 0. `done` is True if an episode ended for either
reason, and cuts every sum over steps. V(s) replaces everything after the last row. Rows that are not samples are
processed like any other; they must come after the end of an episode, so that nothing flows from them into a sample.
"""

from __future__ import annotations

import numpy as np

from policygrad.advantages import estimators
from policygrad.types import F64, Bool, check_shape


def td_errors(reward: F64, value: F64, next_value: F64, terminated: Bool, gamma: float) -> F64:
    """Return how much better each step went than V(s) predicted.

        δ_t = r_t + γ V(s_{t+1}) − V(s_t),   V(s_{t+1}) = 0 where the episode terminated

    Sutton & Barto (2018), eq. 6.5; their R_{t+1} is our reward[t].

    >>> one = np.ones((1, 1))
    >>> td_errors(one, 3 * one, 10 * one, one < 0, gamma=0.5)
    array([[3.]])

    Args:
        reward, value, next_value: [T, N] float64: r_t, V(s_t), and V(s_{t+1}) of the true successor.
        terminated: [T, N] bool: True if the episode terminated with this step.
        gamma: discount, in [0, 1].

    Returns:
        [T, N] float64.
    """
    for name, array in (("value", value), ("next_value", next_value), ("terminated", terminated)):
        check_shape(name, array, reward.shape)
    return reward + gamma * np.where(terminated, 0.0, next_value) - value


def n_step_returns(reward: F64, next_value: F64, terminated: Bool, done: Bool, gamma: float, n: int) -> F64:
    """Return the discounted sum of up to n rewards, plus V(s) for what follows them.

        G_{t:t+n} = r_t + γ r_{t+1} + ... + γ^{n−1} r_{t+n−1} + γ^n V(s_{t+n})

    Sutton & Barto (2018), eq. 7.1. If the episode or the array ends before n steps are over, the sum ends there and is
    followed by V(s) of the next state, or by 0 if the episode terminated.

    >>> ones, no = np.ones((3, 1)), np.zeros((3, 1), bool)
    >>> n_step_returns(ones, 8 * ones, no, no, gamma=0.5, n=2).ravel()
    array([3.5, 3.5, 5. ])

    Args:
        reward, next_value, terminated, done: see `generalized_advantages`.
        gamma: discount, in [0, 1].
        n: number of rewards, 1 or more.

    Returns:
        [T, N] float64. Subtract V(s_t) to obtain an advantage.

    Raises:
        ValueError: n is below 1, or the shapes differ.
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more; got {n}")
    return estimators.n_step(gamma, n)(reward, None, next_value, terminated, done)[1]


def generalized_advantages(
    reward: F64, value: F64, next_value: F64, terminated: Bool, done: Bool, gamma: float, lam: float
) -> F64:
    """Return generalized advantage estimates (GAE): sums of TD errors whose weights decay by γλ per step.

        δ_t = r_t + γ V(s_{t+1}) − V(s_t),    A_t = δ_t + γλ A_{t+1}

    Schulman et al. 2016, eq. 11, 12 and 16. V(s_{t+1}) is 0 where an episode terminated. A_{t+1} is 0 where an episode
    ended for either reason, and at the last row. λ = 1 gives the discounted return minus V(s_t), with V(s) for what
    follows the last row. λ = 0 gives the TD error.

    >>> ones, no = np.ones((2, 1)), np.zeros((2, 1), bool)
    >>> generalized_advantages(ones, 0 * ones, ones, no, no, gamma=0.5, lam=1.0).ravel()
    array([2.25, 1.5 ])

    Args:
        reward, value, next_value: [T, N] float64: r_t, V(s_t), and V(s_{t+1}) of the true successor.
        terminated, done: [T, N] bool: True if the episode terminated with this step; if it ended for either reason.
        gamma: discount, in [0, 1].
        lam: λ, in [0, 1].

    Returns:
        [T, N] float64.
    """
    return estimators.gae(gamma, lam)(reward, value, next_value, terminated, done)[0]


def vtrace(
    log_ratio: F64,
    reward: F64,
    value: F64,
    next_value: F64,
    terminated: Bool,
    done: Bool,
    gamma: float,
    lam: float = 1.0,
    *,
    rho_max: float = 1.0,
    c_max: float = 1.0,
) -> tuple[F64, F64]:
    """Return V-trace targets and advantages, for a policy that is a few updates ahead of the one that acted.

        ρ_t = min(ρ̄, π(a_t|s_t) / μ(a_t|s_t)),    c_t = λ min(c̄, π(a_t|s_t) / μ(a_t|s_t))
        v_t = V(s_t) + ρ_t δ_t + γ c_t (v_{t+1} − V(s_{t+1}))
        A_t = ρ_t (r_t + γ (λ v_{t+1} + (1 − λ) V(s_{t+1})) − V(s_t))

    Espeholt et al. 2018, remark 1 and section 4.2; δ_t is the TD error of `td_errors`. The paper has λ = 1 in A_t. With
    the λ used here, targets and advantages are those of GAE(λ) if all ratios are 1. At the end of an episode, and at
    the last row, v_{t+1} is V(s_{t+1}), which is 0 if the episode terminated. A_t includes the ratio, so that it
    multiplies ∇log π directly.

    >>> one, no = np.ones((1, 1)), np.zeros((1, 1), bool)
    >>> vtrace(np.log(0.5 * one), one, 0 * one, 2 * one, no, no, gamma=0.5)
    (array([[1.]]), array([[1.]]))

    Args:
        log_ratio: [T, N] float64: log π(a_t|s_t) − log μ(a_t|s_t), where μ is the policy that acted.
        reward, value, next_value, terminated, done, gamma: see `generalized_advantages`.
        lam: λ, in [0, 1].
        rho_max: ρ̄, which determines the policy whose value is learned: π if infinite, else one between μ and π.
        c_max: c̄, which determines how far back errors propagate.

    Returns:
        (v [T, N], A [T, N]), float64.
    """
    check_shape("log_ratio", log_ratio, reward.shape)
    estimator = estimators.v_trace(gamma, lam, rho_max, c_max)
    advantage, target = estimator(reward, value, next_value, terminated, done, extra=log_ratio)
    return target, advantage
