"""Advantages from steps that need not be whole episodes: V stands for what was not seen.

All arrays are [T, N]. `terminated` cuts the value of what follows; `done`, an end for either reason, cuts every sum
over steps; after the last row there is only V. A row that is no sample takes part like any other: it has to stand
after an end, where nothing flows into a sample from it.
"""

from __future__ import annotations

import numpy as np

from policygrad._support.isolation import ignored_numpy_errors
from policygrad.advantages.returns import returns_to_go
from policygrad.types import F64, Bool, check_shape


def td_errors(reward: F64, value: F64, next_value: F64, terminated: Bool, gamma: float) -> F64:
    """How much better a step went than V(s) had expected.

        δ_t = r_t + γ V(s_{t+1}) − V(s_t),   V(s_{t+1}) = 0 where the episode terminated

    Sutton & Barto (2018), eq. 6.5; their R_{t+1} is our reward[t].

    >>> one = np.ones((1, 1))
    >>> td_errors(one, 3 * one, 10 * one, one < 0, gamma=0.5)
    array([[3.]])

    Args:
        reward, value, next_value: [T, N] float64: r_t, V(s_t) and V(s_{t+1}), the true successor's.
        terminated: [T, N] bool.
        gamma: discount, in [0, 1].

    Returns:
        [T, N] float64.
    """
    for name, array in (("value", value), ("next_value", next_value), ("terminated", terminated)):
        check_shape(name, array, reward.shape)
    return reward + gamma * np.where(terminated, 0.0, next_value) - value


def n_step_returns(reward: F64, next_value: F64, terminated: Bool, done: Bool, gamma: float, n: int) -> F64:
    """The rewards of up to n steps, and V for what lies beyond them.

        G_{t:t+n} = r_t + γ r_{t+1} + ... + γ^{n−1} r_{t+n−1} + γ^n V(s_{t+n})

    Sutton & Barto (2018), eq. 7.1. An episode's end, or the last row, comes before n steps are over for the last
    ones: V then stands there, 0 where the episode terminated.

    >>> ones, no = np.ones((3, 1)), np.zeros((3, 1), bool)
    >>> n_step_returns(ones, 8 * ones, no, no, gamma=0.5, n=2).ravel()
    array([3.5, 3.5, 5. ])

    Args:
        reward, next_value, terminated, done: see `generalized_advantages`.
        gamma: discount, in [0, 1].
        n: how many rewards, 1 or more.

    Returns:
        [T, N] float64; minus V(s_t) it is an advantage.

    Raises:
        ValueError: n is below 1, or the shapes differ.
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more; got {n}")
    for name, array in (("next_value", next_value), ("terminated", terminated), ("done", done)):
        check_shape(name, array, reward.shape)
    one_step = reward + gamma * np.where(terminated, 0.0, next_value)
    returns = one_step
    for _ in range(min(n, len(reward)) - 1):
        longer = one_step.copy()
        longer[:-1] = np.where(done[:-1], one_step[:-1], reward[:-1] + gamma * returns[1:])
        returns = longer
    return returns


def generalized_advantages(
    reward: F64, value: F64, next_value: F64, terminated: Bool, done: Bool, gamma: float, lam: float
) -> F64:
    """TD errors, weighted less the later they come: GAE.

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
        [T, N] float64.
    """
    # the sum of discounted errors with nothing flowing over an end
    return returns_to_go(td_errors(reward, value, next_value, terminated, gamma), done, gamma * lam)


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
    """Targets and advantages for a policy that is a few updates ahead of the one that acted.

        ρ_t = min(ρ̄, π(a_t|s_t) / μ(a_t|s_t)),    c_t = λ min(c̄, π(a_t|s_t) / μ(a_t|s_t))
        v_t = V(s_t) + ρ_t δ_t + γ c_t (v_{t+1} − V(s_{t+1}))
        A_t = ρ_t (r_t + γ (λ v_{t+1} + (1 − λ) V(s_{t+1})) − V(s_t))

    Espeholt et al. 2018, remark 1 and section 4.2, with δ_t the TD error of `td_errors`; theirs has λ = 1 in A_t,
    with the λ here it is GAE(λ) where all ratios are 1, and so are the targets. At an end, and at the last row, v_{t+1}
    is V(s_{t+1}), 0 where the episode terminated. A_t has the ratio in it: it multiplies ∇log π as it is.

    >>> one, no = np.ones((1, 1)), np.zeros((1, 1), bool)
    >>> vtrace(np.log(0.5 * one), one, 0 * one, 2 * one, no, no, gamma=0.5)
    (array([[1.]]), array([[1.]]))

    Args:
        log_ratio: [T, N] float64: log π(a_t|s_t) − log μ(a_t|s_t), μ the policy that acted.
        reward, value, next_value, terminated, done, gamma: see `generalized_advantages`.
        lam: λ, in [0, 1].
        rho_max: ρ̄, which decides whose value is learned: at infinity π's, at less of a policy between it and μ.
        c_max: c̄, which decides how far back errors are felt.

    Returns:
        (v [T, N], A [T, N]), float64.
    """
    for name, array in (("log_ratio", log_ratio), ("done", done)):
        check_shape(name, array, reward.shape)
    error = td_errors(reward, value, next_value, terminated, gamma)
    with ignored_numpy_errors():
        # an infinite ratio is cut to ρ̄ and c̄ below
        ratio = np.exp(log_ratio)
    rho, c = np.minimum(rho_max, ratio), lam * np.minimum(c_max, ratio)
    following = np.where(terminated, 0.0, next_value)
    targets, later = np.empty_like(error), following.copy()
    for t in range(len(error) - 1, -1, -1):
        if t + 1 < len(error):
            later[t] = np.where(done[t], following[t], targets[t + 1])
        targets[t] = value[t] + rho[t] * error[t] + gamma * c[t] * (later[t] - following[t])
    return targets, rho * (error + gamma * lam * (later - following))
