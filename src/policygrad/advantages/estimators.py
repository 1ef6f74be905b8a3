"""Estimators: compiled functions from the rewards and values of a rollout to its advantages and targets.

    estimate(reward, value, next_value, extra, terminated, done, valid, parameters, advantage, target)

All arrays are [T, N], except `parameters` [P] float64, the estimator's own numbers such as γ and λ. `reward`, `value`
(V(s_t)), `next_value` (V(s_{t+1}) of the true successor) and `extra` are float64; the flags are bool. The function
writes `advantage` and `target`, both float64. Rows that are not `valid` may receive any numbers.

An `Estimator` is passed to compiled code by its address, so that the training loop need not be compiled again for it.
Arithmetic is as written, without the optimizations that reorder sums, so results do not depend on the caller.
"""

# pyright: basic
# compiled functions: the types of their arguments are those of the signature ESTIMATE

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import types

from policygrad._support.compiling import compiled, exact
from policygrad._support.function_pointers import ADDRESS, address_of, function_at
from policygrad.types import F64, Bool, check_shape

_REALS: Any = types.float64[:, ::1]
_FLAGS: Any = types.boolean[:, ::1]
_NUMBERS: Any = types.float64[::1]
_ARRAYS = (_REALS,) * 4 + (_FLAGS,) * 3 + (_NUMBERS,) + (_REALS,) * 2
ESTIMATE: Any = types.void(*_ARRAYS)
estimate_at: Any = function_at(ESTIMATE)
"""For compiled code: returns the estimating function at an address."""

Bootstrap = Literal["never", "at truncations", "everywhere"]
Extra = Literal["nothing", "log ratio", "squared scores"]


@dataclass(frozen=True)
class Estimator:
    """A compiled estimator with its numbers, and what it reads."""

    function: Callable[..., None]
    """The function, as described above, written for Numba."""
    parameters: tuple[float, ...]
    """Its numbers, in the order in which it expects them."""
    bootstrap: Bootstrap
    """Where it reads `next_value`: the array may contain anything elsewhere. `at truncations` and `never` also mean
    that the targets do not depend on `value`."""
    reads_value: bool = True
    """True if advantages or targets depend on `value`."""
    extra: Extra = "nothing"
    """What `extra` contains: log π(a_t|s_t) − log μ(a_t|s_t), where μ is the policy that acted, or the squared score
    ‖∇ log π(a_t|s_t)‖²."""

    @property
    def address(self) -> int:
        """Address of the machine code, which is compiled at first use."""
        return address_of(self.function, ESTIMATE, as_written=True)

    def __call__(
        self,
        reward: F64,
        value: F64 | None,
        next_value: F64 | None,
        terminated: Bool,
        done: Bool,
        valid: Bool | None = None,
        extra: F64 | None = None,
    ) -> tuple[F64, F64]:
        """Return (advantages, targets), each [T, N] float64; an array that is None is not read.

        Raises:
            ValueError: an array has another shape than `reward`.
        """
        nothing = np.zeros(reward.shape)
        reals = [nothing if array is None else array for array in (value, next_value, extra)]
        flags = [terminated, done, np.ones(reward.shape, np.bool_) if valid is None else valid]
        for name, array in zip(
            ("value", "next_value", "extra", "terminated", "done", "valid"), (*reals, *flags), strict=True
        ):
            check_shape(name, array, reward.shape)
        advantage, target = np.empty(reward.shape), np.empty(reward.shape)
        inputs = [np.ascontiguousarray(array, np.float64) for array in (reward, *reals)]
        marks = [np.ascontiguousarray(flag, np.bool_) for flag in flags]
        arguments: list[Any] = [self.address, *inputs, *marks, np.array(self.parameters), advantage, target]
        _estimate(*arguments)
        return advantage, target


@compiled(types.void(ADDRESS, *_ARRAYS))
def _estimate(
    address, reward, value, next_value, extra, terminated, done, valid, parameters, advantage, target
):
    estimate_at(address)(
        reward, value, next_value, extra, terminated, done, valid, parameters, advantage, target
    )


def gae(gamma: float, lam: float) -> Estimator:
    """Return generalized advantage estimation: see `bootstrapped.generalized_advantages`."""
    return Estimator(_gae, (gamma, lam), "everywhere")


def n_step(gamma: float, n: int) -> Estimator:
    """Return the estimator of n-step returns: see `bootstrapped.n_step_returns`."""
    return Estimator(_n_step, (gamma, n), "everywhere")


def v_trace(gamma: float, lam: float, rho_max: float = 1.0, c_max: float = 1.0) -> Estimator:
    """Return V-trace: see `bootstrapped.vtrace`."""
    return Estimator(_v_trace, (gamma, lam, rho_max, c_max), "everywhere", extra="log ratio")


Baseline = Literal["none", "value", "mean", "leave-one-out", "time", "optimal"]
NO_BASELINE, VALUE, MEAN, LEAVE_ONE_OUT, TIME, OPTIMAL = range(6)
_CODES = {
    "none": NO_BASELINE, "value": VALUE, "mean": MEAN, "leave-one-out": LEAVE_ONE_OUT, "time": TIME,
    "optimal": OPTIMAL,
}  # fmt: skip


def monte_carlo(
    gamma: float,
    baseline: Baseline,
    *,
    whole_returns: bool = False,
    weighted: bool = False,
    bootstrap: bool = False,
) -> Estimator:
    """Return the estimator of whole episodes, one per column: the return from each step on, minus a baseline.

    Args:
        gamma: discount, in [0, 1].
        baseline: see `baselines`; `value` is V(s_t).
        whole_returns: every step has the return of its whole episode.
        weighted: samples will be multiplied by γ^t, which changes the optimal baseline.
        bootstrap: V(s_{t+1}) takes the place of what would have followed a truncation.
    """
    numbers = (gamma, _CODES[baseline], whole_returns, weighted, bootstrap)
    return Estimator(
        _monte_carlo,
        tuple(map(float, numbers)),
        "at truncations" if bootstrap else "never",
        baseline == "value",
        "squared scores" if baseline == "optimal" else "nothing",
    )


@exact
def _gae(reward, value, next_value, _extra, terminated, done, _valid, parameters, advantage, target):
    gamma, lam = parameters[0], parameters[1]
    T, N = reward.shape
    for t in range(T - 1, -1, -1):
        for n in range(N):
            following = 0.0 if terminated[t, n] else next_value[t, n]
            error = reward[t, n] + gamma * following - value[t, n]
            later = advantage[t + 1, n] if t + 1 < T and not done[t, n] else 0.0
            advantage[t, n] = error + gamma * lam * later
            target[t, n] = advantage[t, n] + value[t, n]


@exact
def _n_step(reward, value, next_value, _extra, terminated, done, _valid, parameters, advantage, target):
    gamma, steps = parameters[0], int(parameters[1])
    T, N = reward.shape
    for t in range(T):
        for n in range(N):
            # the last of the rewards that are added up
            last = t
            while last + 1 < min(T, t + steps) and not done[last, n]:
                last += 1
            total = 0.0 if terminated[last, n] else next_value[last, n]
            for i in range(last, t - 1, -1):
                total = reward[i, n] + gamma * total
            target[t, n] = total
            advantage[t, n] = total - value[t, n]


@exact
def _v_trace(reward, value, next_value, log_ratio, terminated, done, _valid, parameters, advantage, target):
    gamma, lam, rho_max, c_max = parameters[0], parameters[1], parameters[2], parameters[3]
    T, N = reward.shape
    for t in range(T - 1, -1, -1):
        for n in range(N):
            following = 0.0 if terminated[t, n] else next_value[t, n]
            error = reward[t, n] + gamma * following - value[t, n]
            ratio = np.exp(log_ratio[t, n])
            later = target[t + 1, n] if t + 1 < T and not done[t, n] else following
            further = lam * (later - following)
            rho = min(rho_max, ratio)
            target[t, n] = value[t, n] + rho * error + gamma * min(c_max, ratio) * further
            advantage[t, n] = rho * (error + gamma * further)


@exact
def _monte_carlo(reward, value, next_value, squared, terminated, done, valid, parameters, advantage, target):
    gamma, baseline = parameters[0], int(parameters[1])
    whole_returns, weighted, bootstrap = parameters[2] > 0, parameters[3] > 0, parameters[4] > 0
    T, N = reward.shape
    for t in range(T - 1, -1, -1):
        for n in range(N):
            following = 0.0
            if not done[t, n]:
                following = target[t + 1, n] if t + 1 < T else 0.0
            elif bootstrap and not terminated[t, n]:
                following = next_value[t, n]
            target[t, n] = reward[t, n] + gamma * following
    for t in range(T):
        for n in range(N):
            advantage[t, n] = target[0, n] if whole_returns else target[t, n]
            if baseline == VALUE:
                advantage[t, n] -= value[t, n]
    # with whole returns there is one number per episode, so that baselines do not depend on the episodes' lengths
    rows = 1 if whole_returns else T
    if baseline == MEAN:
        _subtract(advantage, _mean(advantage, valid, rows))
    elif baseline == TIME:
        _subtract_means_over_time(advantage, valid, rows)
    elif baseline == LEAVE_ONE_OUT:
        _subtract_means_of_others(advantage, valid, rows)
    elif baseline == OPTIMAL:
        _subtract(advantage, _optimal(advantage, valid, squared, gamma * gamma if weighted else 1.0))


@exact
def _subtract(x, number):
    for t in range(x.shape[0]):
        for n in range(x.shape[1]):
            x[t, n] -= number


@exact
def _mean(x, valid, rows):
    """Return the mean of the valid numbers in the first rows, relative to one of them, so that equal ones are exact."""
    total, count = 0.0, 0
    for t in range(rows):
        for n in range(x.shape[1]):
            if valid[t, n]:
                total += x[t, n] - x[0, 0]
                count += 1
    return x[0, 0] + total / count


@exact
def _subtract_means_over_time(x, valid, rows):
    """Subtract at each time step the mean over the episodes that are still running."""
    T, N = x.shape
    mean = 0.0
    for t in range(T):
        if t < rows:
            total, running = 0.0, 0
            for n in range(N):
                if valid[t, n]:
                    total += x[t, n]
                    running += 1
            mean = total / max(running, 1)
        for n in range(N):
            x[t, n] -= mean


@exact
def _subtract_means_of_others(x, valid, rows):
    """Subtract from each episode the mean over the samples of all other episodes."""
    T, N = x.shape
    total, count = 0.0, 0
    for t in range(rows):
        for n in range(N):
            if valid[t, n]:
                total += x[t, n]
                count += 1
    for n in range(N):
        own, length = 0.0, 0
        for t in range(rows):
            if valid[t, n]:
                own += x[t, n]
                length += 1
        others = (total - own) / (count - length)
        for t in range(T):
            x[t, n] -= others


@exact
def _optimal(x, valid, squared, decay):
    """Return Σ w x / Σ w with w = ‖∇ log π‖² · decay^t, relative to one of the numbers; 0 if all weights are 0."""
    total, weights, factor = 0.0, 0.0, 1.0
    for t in range(x.shape[0]):
        for n in range(x.shape[1]):
            if valid[t, n]:
                weight = squared[t, n] * factor
                total += weight * (x[t, n] - x[0, 0])
                weights += weight
        factor *= decay
    return x[0, 0] + total / weights if weights > 0 else 0.0


__all__ = ["ESTIMATE", "Estimator", "estimate_at", "gae", "monte_carlo", "n_step", "v_trace"]
