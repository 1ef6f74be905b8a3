"""Grade the exercise `hunt-truncation`: GAE at the ends of episodes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np

from policygrad.exercises.comparison import KnownMistake, examine, explain, same
from policygrad.exercises.student_file import StudentFunction, function_of, numbers
from policygrad.exercises.tiny_problem import GAMMA, LOGITS, TinyProblem
from policygrad.exercises.verdict import Finding
from policygrad.types import F64, Bool

HORIZON, LAMBDA = 3, 0.7
TERMINAL_VALUE = 3.0
"""V(s) of the terminal state. A critic is never trained there, so its output is arbitrary, and it must not be used."""
_RNG = np.random.default_rng(1)
REWARDS, VALUES, NEXT_VALUES = _RNG.normal(size=(3, 7, 4))
TERMINATED, TRUNCATED = np.zeros((7, 4), bool), np.zeros((7, 4), bool)
TERMINATED[[1, 4, 6], [0, 1, 2]] = True
TRUNCATED[[3, 2, 5, 6], [0, 1, 3, 3]] = True


def grade(module: ModuleType, path: Path) -> list[Finding]:
    """Return the finding for the advantages."""
    function = function_of(module, "advantages", path)
    return [examine(function.name, lambda: _judge(function))]


def gae(error: F64, goes_on: Bool, decay: float) -> F64:
    """Return A_t = δ_t + γλ A_{t+1}, [T, N], where A_{t+1} is left out unless `goes_on`."""
    found, following = np.zeros_like(error), np.zeros(error.shape[1])
    for t in reversed(range(len(error))):
        following = error[t] + decay * np.where(goes_on[t], following, 0.0)
        found[t] = following
    return found


def _right(gamma: float, lam: float) -> F64:
    error = REWARDS + gamma * np.where(TERMINATED, 0.0, NEXT_VALUES) - VALUES
    return gae(error, ~(TERMINATED | TRUNCATED), gamma * lam)


def _judge(function: StudentFunction) -> tuple[bool, str]:
    found = _advantages(function, REWARDS, VALUES, NEXT_VALUES, TERMINATED, TRUNCATED, GAMMA, LAMBDA)
    problem = TinyProblem(HORIZON)
    means, pull = _means(function, problem)
    if not same(found, _right(GAMMA, LAMBDA)):
        text = explain(found, _right(GAMMA, LAMBDA), _mistakes())
        return False, f"{text} {_effect(means, pull, problem)}"
    for gamma, lam in ((1.0, 1.0), (GAMMA, 0.0), (0.0, 1.0)):
        found = _advantages(function, REWARDS, VALUES, NEXT_VALUES, TERMINATED, TRUNCATED, gamma, lam)
        if not same(found, _right(gamma, lam)):
            return (
                False,
                f"It is right with gamma {GAMMA} and λ = {LAMBDA}, but wrong with gamma {gamma:g} and λ = "
                f"{lam:g}.",
            )
    exact = problem.solution("truncation").advantage[: len(pull)]
    if not same(means, exact):
        return (
            False,
            "With the exact V(s), its means are not the advantages of the actions. "
            f"{_effect(means, pull, problem)}",
        )
    return True, (
        f"It agrees for {int((TERMINATED | TRUNCATED).sum())} ends of episodes of both kinds. With the exact "
        "V(s), its mean over all episodes of a decision process with three states is the exact advantage Q(s, "
        "a) − V(s) of each action."
    )


def _advantages(function: StudentFunction, *arguments: F64 | Bool | float) -> F64:
    shape = np.shape(arguments[0])
    return numbers(function(*arguments), shape, "one number per step")


def _means(function: StudentFunction, problem: TinyProblem) -> tuple[F64, F64]:
    """Return the exact means of the first advantage of an episode, if V(s) is exact.

    All episodes that can happen are enumerated.

    Returns:
        ([S', A] for each action, [S'] over the actions of π), for the S' states in which episodes begin.
    """
    e, mdp = problem.episodes, problem.mdp
    value = problem.solution("truncation").value.copy()
    value[list(mdp.terminal)] = TERMINAL_VALUE
    total, weight = np.zeros_like(LOGITS), np.zeros_like(LOGITS)
    for m, n in enumerate(e.lengths):
        visited = e.states[m, : n + 1]
        ends = (np.arange(n) == n - 1)[:, None]
        terminates = bool(visited[-1] in mdp.terminal)
        now, after = value[visited[:-1], None], value[visited[1:], None]
        rewards, no = e.rewards[m, :n, None], np.zeros_like(ends)
        flags = (ends, no) if terminates else (no, ends)
        first = _advantages(function, rewards, now, after, *flags, GAMMA, LAMBDA)[0, 0]
        total[visited[0], e.actions[m, 0]] += e.probability[m] * first
        weight[visited[0], e.actions[m, 0]] += e.probability[m]
    begun = weight.sum(1) > 0
    return total[begun] / weight[begun], total[begun].sum(1) / weight[begun].sum(1)


def _effect(means: F64, pull: F64, problem: TinyProblem) -> str:
    """Return what wrong advantages do to V(s) and to the policy of the small decision process."""
    exact = problem.solution("truncation")
    if same(means, exact.advantage[: len(pull)]):
        return (
            "Within a single episode the advantages are right on average if V(s) is exact, so the error shows "
            "while V(s) is still being learned, and as noise."
        )
    s, a = np.unravel_index(np.abs(means - exact.advantage[: len(pull)]).argmax(), means.shape)
    moves = ", ".join(f"V({i}) = {exact.value[i]:.2f} by {x:+.2f}" for i, x in enumerate(pull))
    return (
        f"What it does to learning, on a decision process with a time limit of {HORIZON} steps: if V(s) is "
        f"exact, A_t is 0 on average, so V(s) stays where it is. Yours moves {moves}. And action {a} in state "
        f"{s} has an advantage of {exact.advantage[s, a]:+.2f}, but yours is {means[s, a]:+.2f} on average."
    )


_NO_BOOTSTRAP = (
    "Its symptom: V(s) depends on the time limit. Where the clock stops an episode, yours judges the last "
    "action as if nothing could follow. If rewards are positive, V(s) becomes too small, and every state that "
    "is visited late looks bad."
)
_THROUGH = (
    "Its symptom: an episode that is really over still seems to have a future. V(s) of a terminal state is "
    "added to the last reward, although no rewards follow and the critic is never trained there. Failing then "
    "costs nothing."
)
_SWAPPED = (
    "Its symptom: the two kinds of end are treated the wrong way round. Failing seems to have a future, and an "
    "episode that the clock stops seems to have none."
)
_BOOTSTRAPS: tuple[tuple[Bool, str], ...] = (
    (~TERMINATED, ""),
    (~(TERMINATED | TRUNCATED), _NO_BOOTSTRAP),
    (np.ones_like(TERMINATED), _THROUGH),
    (~TRUNCATED, _SWAPPED),
)
_LEAK = (
    "Its symptom: λ leaks from one episode into the one before. The last steps of {which} also get the TD "
    "errors of the episode that follows in the same column, which they did not cause."
)
_TRACES: tuple[tuple[Bool, str], ...] = (
    (~(TERMINATED | TRUNCATED), ""),
    (~TERMINATED, _LEAK.format(which="a truncated episode")),
    (~TRUNCATED, _LEAK.format(which="a terminated episode")),
    (np.ones_like(TERMINATED), _LEAK.format(which="every episode")),
)
_SHIFTED = (
    "It takes V(s_{t+1}) from the next row of `values`. After the end of an episode that row is the first state "
    "of another one; `next_values` has the state that really followed."
)
_SOURCES = ((NEXT_VALUES, ""), (np.concatenate([VALUES[1:], NEXT_VALUES[-1:]]), _SHIFTED))


def _mistakes() -> Iterator[KnownMistake]:
    """Yield the advantages of wrong treatments of the ends, single faults first, and then those of other mistakes."""
    combinations = sorted(
        product(_BOOTSTRAPS, _TRACES, _SOURCES), key=lambda parts: sum(text != "" for _, text in parts)
    )
    for (bootstraps, at_end), (goes_on, leaks), (source, shifted) in combinations[1:]:
        error = REWARDS + GAMMA * np.where(bootstraps, source, 0.0) - VALUES
        texts = [text for text in (at_end, leaks, shifted) if text]
        yield KnownMistake(gae(error, goes_on, GAMMA * LAMBDA), " ".join(texts))
    goes_on = ~(TERMINATED | TRUNCATED)
    error = REWARDS + GAMMA * np.where(TERMINATED, 0.0, NEXT_VALUES) - VALUES
    yield KnownMistake(
        gae(error, goes_on, LAMBDA),
        "The sum of TD errors decays by λ per step instead of γλ, so errors that come late count too much.",
    )
    yield KnownMistake(
        error, "These are the TD errors δ_t alone. It is GAE with λ = 0, and `lam` has no effect."
    )
    yield KnownMistake(
        gae(error, goes_on, GAMMA * LAMBDA) + VALUES,
        "These are the targets of V(s), A_t + V(s_t), and not the advantages. Good and bad actions then differ "
        "little compared with the size of V(s).",
    )
