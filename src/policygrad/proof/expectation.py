"""What estimators average to on a finite MDP, computed exactly: where they collect, and how they judge each action.

The expectation of every estimator has the form Σ weight(t, s) Σ_a π(a|s) judged(t, s, a) ∇log π(a|s), where t is the
number of steps since the episode began. The weights are those of the states in which samples are collected.
"""

from __future__ import annotations

import numpy as np

from policygrad.envs.finite import FiniteMDP
from policygrad.proof.solution import going_on
from policygrad.types import F64


def steps_of_a_fragment(mdp: FiniteMDP, probabilities: F64, steps: int) -> F64:
    """Return Pr(the sample at step k is at step t of its episode, in state s), [steps, horizon, S].

    The fragment begins with an episode, and the next episode follows where one ends.
    """
    S, goes_on = len(mdp.start), going_on(mdp)
    chain = np.einsum("sa,sat->st", probabilities, mdp.transition)
    reached = np.zeros((steps, mdp.horizon, S))
    begin = mdp.start
    if not goes_on[begin > 0].all():
        raise ValueError("an episode may begin in a terminal state, where no action is taken")
    now = np.zeros((mdp.horizon, S))
    now[0] = begin
    for k in range(steps):
        reached[k] = now
        following = now @ chain
        ends = following[:, ~goes_on].sum() + following[-1, goes_on].sum()
        now = np.zeros_like(now)
        now[1:] = following[:-1] * goes_on
        now[0] += ends * begin
    return reached


def by_returns(mdp: FiniteMDP, probabilities: F64, gamma: float, at_time_limit: F64) -> F64:
    """Return the expected return from each step to the end of the episode, [horizon, S, A].

    `at_time_limit` [S] takes the place of the rewards that would have followed a time limit; zeros leave them out.
    """
    goes_on = going_on(mdp)
    judged = np.empty((mdp.horizon, *mdp.transition.shape[:2]))
    following = at_time_limit * goes_on
    for t in reversed(range(mdp.horizon)):
        judged[t] = (mdp.transition * (mdp.reward + gamma * following)).sum(-1)
        following = (probabilities * judged[t]).sum(-1) * goes_on
    return judged


def by_td_errors(
    mdp: FiniteMDP, probabilities: F64, gamma: float, decay: float, value: F64, steps: int
) -> F64:
    """Return E[Σ_j decay^j δ_{t+j}] over at most m steps of the episode, for m = 1 … `steps`: [steps, horizon, S, A].

    With decay γλ it is the expectation of generalized advantages (Schulman et al. 2016, eq. 16), and with γ that of
    n-step advantages, whose m is at most n. `value` [S] is the V(s) of the TD errors, right or wrong.
    """
    goes_on = going_on(mdp)
    error = (mdp.transition * (mdp.reward + gamma * value * goes_on)).sum(-1) - value[:, None]
    judged = np.empty((steps, mdp.horizon, *error.shape))
    for m in range(steps):
        judged[m] = error
        if m > 0:
            following = np.einsum("sa,tsa->ts", probabilities, judged[m - 1]) * goes_on
            # no step follows the last one before the time limit
            judged[m, :-1] += decay * np.einsum("sau,tu->tsa", mdp.transition, following[1:])
    return judged
