"""Grade the exercise `returns`: rewards-to-go and the estimate of REINFORCE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from policygrad.exercises.comparison import KnownMistake, examine, explain, same
from policygrad.exercises.returns_mistakes import (
    TO_GO_MISTAKES,
    batch_mistakes,
    gradient_mistakes,
    until_done,
)
from policygrad.exercises.student_file import StudentFunction, function_of, numbers
from policygrad.exercises.tiny_problem import GAMMA, TinyProblem, to_go
from policygrad.exercises.verdict import Finding
from policygrad.types import F64, Bool

HORIZON = 3
REWARDS = np.random.default_rng(0).normal(size=(6, 3))
DONE = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
"""Three columns with two, three and one episodes."""
COLUMNS = ((3, 1), (1, 3), (2, 2), (1, 1, 2))
"""Lengths of the episodes in each column of the batch that tests how the estimate averages over episodes."""


def grade(module: ModuleType, path: Path) -> list[Finding]:
    """Return the findings for each of the two functions."""
    returns = function_of(module, "rewards_to_go", path)
    estimate = function_of(module, "gradient_estimate", path)
    first = examine(returns.name, lambda: _judge_returns(returns))
    if not first.right:
        text = "It was not checked, because it may call rewards_to_go, which must be right first."
        return [first, Finding(estimate.name, False, text)]
    return [first, examine(estimate.name, lambda: _judge_estimate(estimate))]


def _judge_returns(function: StudentFunction) -> tuple[bool, str]:
    found = numbers(function(REWARDS, DONE, GAMMA), REWARDS.shape, "one number per step")
    right = until_done(REWARDS, DONE, GAMMA)
    if not same(found, right):
        mistakes = [KnownMistake(wrong(REWARDS, DONE, GAMMA), text) for wrong, text in TO_GO_MISTAKES]
        return False, explain(found, right, mistakes)
    for gamma in (0.0, 1.0):
        found = numbers(function(REWARDS, DONE, gamma), REWARDS.shape, "one number per step")
        if not same(found, until_done(REWARDS, DONE, gamma)):
            return False, f"It is right with gamma {GAMMA}, but wrong with gamma {gamma:g}."
    return True, f"It agrees for {int(DONE.sum())} episodes in {DONE.shape[1]} columns."


def _judge_estimate(function: StudentFunction) -> tuple[bool, str]:
    problem = TinyProblem(HORIZON)
    episodes, right = problem.episodes, problem.gradient
    singles = np.array([_of_columns(function, problem, [[m]]) for m in range(len(episodes.lengths))])
    found = episodes.probability @ singles
    if not same(found, right):
        return False, "The mean of your estimate over all episodes is not the gradient of J. " + explain(
            found, right, gradient_mistakes(problem)
        )
    columns = _columns(problem)
    each = singles[[m for column in columns for m in column]]
    found, right = _of_columns(function, problem, columns), each.mean(0)
    if not same(found, right):
        return False, (
            "The mean of your estimate from one episode is exactly the gradient of J, but several episodes are "
            "not averaged as they should be. "
            + explain(
                found,
                right,
                batch_mistakes(each, columns, lambda scheme: _reference(problem, columns, scheme)),
            )
        )
    return True, (
        f"Its mean over all {len(singles)} episodes of a decision process with three states is the exact "
        f"gradient of J, without sampling error. {_on_variance(problem, singles)}"
    )


def _on_variance(problem: TinyProblem, singles: F64) -> str:
    """Return a sentence on the exact variance of the estimate, which is larger if it is not made from rewards-to-go."""
    episodes = problem.episodes
    weight = GAMMA ** np.arange(HORIZON) * to_go(episodes.rewards, GAMMA) * episodes.active
    plain = np.einsum("mt,mtp->mp", weight, problem.scores[episodes.states[:, :-1], episodes.actions])
    mine, usual = (
        float(episodes.probability @ (x**2).sum(-1) - (problem.gradient**2).sum()) for x in (singles, plain)
    )
    if np.isclose(mine, usual):
        return f"The variance of an estimate from one episode is {mine:.3g}."
    return (
        f"The variance of an estimate from one episode is {mine:.3g}. With rewards-to-go as in the formula it would be "
        f"{usual:.3g}."
    )


def _columns(problem: TinyProblem) -> list[list[int]]:
    """Return the numbers of the episodes in each column of the batch: different ones with the lengths of `COLUMNS`."""
    lengths = problem.episodes.lengths
    of_length = {n: iter(np.flatnonzero(lengths == n).tolist()) for n in (1, 2, 3)}
    return [[next(of_length[n]) for n in column] for column in COLUMNS]


def _batch(problem: TinyProblem, columns: list[list[int]]) -> tuple[F64, F64, Bool]:
    """Return (scores [T, N, P], rewards [T, N], done [T, N]) of columns of whole episodes of the same total length."""
    e = problem.episodes
    score = problem.scores[e.states[:, :-1], e.actions]
    rows = [np.concatenate([score[m, : e.lengths[m]] for m in column]) for column in columns]
    rewards = [np.concatenate([e.rewards[m, : e.lengths[m]] for m in column]) for column in columns]
    ends = [
        np.isin(np.arange(len(r)) + 1, np.cumsum(e.lengths[column]))
        for r, column in zip(rewards, columns, strict=True)
    ]
    return np.stack(rows, 1), np.stack(rewards, 1), np.stack(ends, 1)


def _of_columns(function: StudentFunction, problem: TinyProblem, columns: list[list[int]]) -> F64:
    scores, rewards, done = _batch(problem, columns)
    return numbers(function(scores, rewards, done, GAMMA), scores.shape[-1:], "one number per parameter")


def _reference(problem: TinyProblem, columns: list[list[int]], weight: Callable[[F64, Bool], F64]) -> F64:
    """Return the sum over all steps of weight(rewards, done) times the score, [P]."""
    scores, rewards, done = _batch(problem, columns)
    return np.einsum("tn,tnp->p", weight(rewards, done), scores)
