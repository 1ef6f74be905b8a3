"""Grade the exercise `hunt-baseline`: the exact mean of an estimate from two episodes, over all pairs of episodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from policygrad.exercises.comparison import KnownMistake, examine, explain, same
from policygrad.exercises.student_file import StudentFunction, function_of, numbers
from policygrad.exercises.tiny_problem import GAMMA, LOGITS, TinyProblem, to_go
from policygrad.exercises.verdict import Finding
from policygrad.types import F64, Array

HORIZON = 2


def grade(module: ModuleType, path: Path) -> list[Finding]:
    """Return the finding for the gradient estimate."""
    function = function_of(module, "gradient_estimate", path)
    return [examine(function.name, lambda: _judge(function))]


def _judge(function: StudentFunction) -> tuple[bool, str]:
    problem = TinyProblem(HORIZON)
    pairs = _pairs(problem)
    probability = problem.episodes.probability[pairs].prod(-1)
    estimates = np.array([_estimate(function, problem, pair) for pair in pairs])
    found, right = probability @ estimates, problem.gradient
    if not same(found, right):
        return False, (
            f"The exact mean of the estimates over all {len(pairs):,} pairs of episodes is not the gradient of J. "
            f"{explain(found, right, _mistakes(problem, pairs))}"
        )
    e = problem.episodes
    running = e.probability[:, None] * e.active
    mean_return = (running * to_go(e.rewards, GAMMA)).sum(0) / running.sum(0)
    shape = (len(pairs), 2, HORIZON)
    without, ideal = (_terms(problem, pairs, np.broadcast_to(b, shape)) for b in (0.0, mean_return))
    mine, plain, least = (
        float(probability @ (x**2).sum(-1) - (right**2).sum()) for x in (estimates, without, ideal)
    )
    if same(estimates, without):
        return False, (
            "The estimate has no bias any more, but also no baseline. It is plain REINFORCE, whose variance for "
            f"two episodes is {plain:.3g}. A baseline from the other episode can be kept without bias."
        )
    return True, (
        f"The exact mean of the estimates over all {len(pairs):,} pairs of episodes is the gradient of J. Their "
        f"variance is {mine:.3g}, and without a baseline it would be {plain:.3g}. The mean of only one other episode "
        f"is a noisy baseline; with the mean return of very many others, the variance would be {least:.3g}."
    )


def _pairs(problem: TinyProblem) -> Array:
    """Return all pairs of numbers of episodes, [M², 2]."""
    M = len(problem.episodes.lengths)
    return np.stack(np.divmod(np.arange(M * M), M), 1)


def _estimate(function: StudentFunction, problem: TinyProblem, pair: Array) -> F64:
    e = problem.episodes
    found = function(
        LOGITS, e.states[pair, :-1].T, e.actions[pair].T, e.rewards[pair].T, e.active[pair].T, GAMMA
    )
    return numbers(found, LOGITS.shape, "one number per logit").ravel()


def _terms(
    problem: TinyProblem, pairs: Array, baselines: F64, *, divide: F64 | float = 1.0, power: float = GAMMA
) -> F64:
    """Return the estimates from pairs [K, 2] of episodes with baselines [K, 2, T], [K, S · A].

    With the default arguments they are those of the formula. `divide` scales the advantages, and `power` replaces the
    γ of γ^t.
    """
    e = problem.episodes
    advantage = (to_go(e.rewards[pairs], GAMMA) - baselines) / divide
    weight = power ** np.arange(HORIZON) * advantage * e.active[pairs]
    return np.einsum("knt,kntp->kp", weight, problem.scores[e.states[pairs, :-1], e.actions[pairs]]) / 2


def _mistakes(problem: TinyProblem, pairs: Array) -> Iterator[KnownMistake]:
    """Yield the means of wrong estimates, with what they do."""
    e = problem.episodes
    probability = e.probability[pairs].prod(-1)
    returns, active = to_go(e.rewards[pairs], GAMMA), e.active[pairs]
    other, other_active = returns[:, ::-1], active[:, ::-1]
    of_other = np.where(other_active, other, 0.0)
    running = np.maximum(active.sum(1, keepdims=True), 1)
    mean = np.broadcast_to((returns * active).sum(1, keepdims=True) / running, returns.shape)
    own_mean = np.broadcast_to(
        (returns * active).sum(2, keepdims=True) / active.sum(2, keepdims=True), returns.shape
    )
    spread = np.sqrt(((returns - mean) ** 2 * active).sum(1, keepdims=True) / running) + 1e-8
    agree = (e.actions[pairs] == e.actions[pairs][:, ::-1]) & other_active
    by_action = np.where(agree, other, 0.0)
    best = np.broadcast_to(np.where(active, returns, -np.inf).max(1, keepdims=True), returns.shape)
    best = np.where(np.isfinite(best), best, 0.0)

    def expected(baselines: F64, divide: F64 | float = 1.0, power: float = GAMMA) -> F64:
        return probability @ _terms(problem, pairs, baselines, divide=divide, power=power)

    yield KnownMistake(
        expected(mean),
        "Its symptom: from a batch of one episode the estimate is 0, whatever its return was, and when only one "
        "of several episodes still runs, its last actions get no credit at all. With more episodes the error "
        "becomes smaller but does not vanish. So learning is slowest with small batches, and the actions of "
        "long episodes suffer most. Ask which numbers enter the credit of an action, and which of them depend "
        "on this action.",
    )
    yield KnownMistake(
        expected(own_mean),
        "Its symptom: the credit of the steps of each episode sums to 0. Even if everything that an episode did "
        "was good, half of its actions are made less likely. What is subtracted comes from the same episode, so "
        "it depends on the action.",
    )
    yield KnownMistake(
        expected(mean, spread),
        "Its symptom: the credit does not change if all rewards are multiplied by 10. The advantages are "
        "divided by a spread that contains the return of the episode itself. With two episodes only the sign of "
        "their difference is left.",
    )
    yield KnownMistake(
        expected(of_other, spread),
        "The advantages are divided by the spread of the returns in the batch. This spread contains the return "
        "of the episode itself, so good episodes shorten their own steps. Many programs do this, but the "
        "estimate is biased.",
    )
    yield KnownMistake(
        expected(by_action),
        "Its symptom: where all episodes choose the same action, the credit is noise around 0, so the policy "
        "hardly learns which action is better. The baseline depends on the action whose return it is subtracted "
        "from.",
    )
    yield KnownMistake(
        expected(best),
        "Its symptom: no credit is ever positive. What is subtracted is the best return of the batch, which may "
        "be that of the episode itself.",
    )
    yield KnownMistake(
        expected(0.0 * mean, power=1.0),
        "The factor γ^t is missing, and there is no baseline. Late actions have more weight than they have in J.",
    )
    yield KnownMistake(
        expected(mean, power=1.0),
        "The factor γ^t is missing, so late actions have more weight than they have in J. And from a batch of "
        "one episode the estimate is still 0, whatever its return was.",
    )
    yield KnownMistake(
        expected(of_other, power=1.0),
        "The factor γ^t is missing, so late actions have more weight than they have in J. The baseline has no "
        "bias.",
    )
    yield KnownMistake(
        -problem.gradient,
        "Its sign is reversed: a step along it makes J smaller.",
    )
    yield KnownMistake(
        2 * problem.gradient,
        "It is the sum over episodes and not their mean. The baseline has no bias.",
    )
