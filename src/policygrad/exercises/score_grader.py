"""Grade the exercise `score`: the gradient of log π of a softmax and of a Gaussian policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from policygrad.exercises.comparison import KnownMistake, distance, examine, explain, same
from policygrad.exercises.student_file import StudentError, StudentFunction, function_of, numbers
from policygrad.exercises.tiny_problem import GAMMA, LOGITS, TinyProblem, to_go
from policygrad.exercises.verdict import Finding
from policygrad.types import F64

TABLE = (np.array([0.5, -1.0, 2.0]), np.array([-0.3, 0.4]), np.array([1.0, 0.0, -0.5, 0.7]))
"""Logits of three policies with different numbers of actions."""
ACTION, MU = np.array([0.7, -1.2, 2.0, 0.1]), np.array([0.2, 0.3, -0.5, 0.0])
LOG_SIGMA = np.array([0.4, -0.6, 0.9, -1.1])


def grade(module: ModuleType, path: Path) -> list[Finding]:
    """Return the findings for each of the two functions."""
    softmax = function_of(module, "log_prob_gradient", path)
    gaussian = function_of(module, "gaussian_log_prob_gradient", path)
    return [
        examine(softmax.name, lambda: _judge_softmax(softmax)),
        examine(gaussian.name, lambda: _judge_gaussian(gaussian)),
    ]


def _probabilities(logits: F64) -> F64:
    weight = np.exp(logits - logits.max())
    return weight / weight.sum()


def _right(logits: F64, action: int) -> F64:
    return np.eye(len(logits))[action] - _probabilities(logits)


SOFTMAX_MISTAKES: tuple[tuple[Callable[[F64, int], F64], str], ...] = (
    (
        lambda z, a: -_right(z, a),
        "The sign is reversed: this is the gradient of −log π. A step along it makes the action less likely, so "
        "an agent that uses it learns to avoid what was rewarded.",
    ),
    (
        lambda z, a: np.eye(len(z))[a],
        "This is the gradient of the logit alone, without the logarithm of the sum in the denominator of the "
        "softmax. Its mean over the actions of the policy is π, but that of a score must be 0. So a reward that "
        "is the same for every action moves the logits, and with positive rewards all of them grow.",
    ),
    (
        lambda z, a: -_probabilities(z),
        "This is only the derivative of the denominator. It is the same for every action, so the update does "
        "not depend on the action that was taken, and nothing can be learned about it.",
    ),
    (
        lambda z, a: _probabilities(z)[a] * _right(z, a),
        "This is the gradient of π(a), not of log π(a): it is π(a) times too short. Frequent actions are then "
        "counted twice, because they are sampled more often and also get longer steps, so the policy tends to "
        "settle early on what it already does.",
    ),
    (
        lambda z, a: np.eye(len(z))[a] * _right(z, a),
        "Only the entry of the chosen action is right; the others are 0. The softmax has a common denominator, "
        "so log π of an action depends on all the logits. The entries of a score sum to 0, and yours do not.",
    ),
    (
        lambda z, a: np.eye(len(z))[a] / _probabilities(z)[a],
        "This is the derivative of log π with respect to the probability π(a), 1/π(a). The parameters are the "
        "logits, so the chain rule goes on through the softmax. Steps of this kind explode for rare actions.",
    ),
)


def _judge_softmax(function: StudentFunction) -> tuple[bool, str]:
    cases = [(logits, a) for logits in TABLE for a in range(len(logits))]
    found = np.concatenate([_score(function, *case) for case in cases])
    right = np.concatenate([_right(*case) for case in cases])
    problem = TinyProblem(horizon=3)
    if not same(found, right):
        mistakes = [
            KnownMistake(np.concatenate([wrong(*case) for case in cases]), text)
            for wrong, text in SOFTMAX_MISTAKES
        ]
        effect = distance(_gradient(function, problem), problem.gradient)
        return False, (
            f"{explain(found, right, mistakes)} As the scores of REINFORCE on a decision process with three "
            f"states, these give the following gradient of J. {effect}"
        )
    large = np.array([1000.0, 999.0, -1000.0])
    try:
        stable = same(_score(function, large, 1), _right(large, 1))
    except StudentError:
        stable = False
    if not stable:
        return False, (
            "It is right for small logits, but not for logits such as 1000, because exp(1000) is infinite in "
            "float64. π does not change if the same number is subtracted from all logits, so the largest of "
            "them can become 0."
        )
    error = np.abs(_gradient(function, problem) - problem.gradient).max()
    return True, (
        f"It agrees for {len(cases)} actions, also with large logits. With these scores, the policy gradient "
        "theorem gives the exact gradient of J of a decision process with three states (largest difference "
        f"{error:.0e})."
    )


def _score(function: StudentFunction, logits: F64, action: int) -> F64:
    return numbers(function(logits, action), (len(logits),), "one number per action")


def _gradient(function: StudentFunction, problem: TinyProblem) -> F64:
    """Return Σ_τ p(τ) Σ_t γ^t G_t score(s_t, a_t) with the student's scores, [S · A]."""
    episodes = problem.episodes
    weight = (
        episodes.probability[:, None] * GAMMA ** np.arange(problem.horizon) * to_go(episodes.rewards, GAMMA)
    )
    found = np.zeros_like(LOGITS)
    for s, logits in enumerate(LOGITS):
        for a in range(len(logits)):
            here = episodes.active & (episodes.states[:, :-1] == s) & (episodes.actions == a)
            found[s] += weight[here].sum() * _score(function, logits, a)
    return found.ravel()


MU_RIGHT = (ACTION - MU) / np.exp(2 * LOG_SIGMA)
LOG_SIGMA_RIGHT = ((ACTION - MU) / np.exp(LOG_SIGMA)) ** 2 - 1
MU_MISTAKES = (
    KnownMistake(
        (ACTION - MU) / np.exp(LOG_SIGMA),
        "The derivative with respect to μ is divided by σ instead of σ². It points in the right direction, but "
        "it is σ times too long, so a narrow policy moves too little and a wide one too much.",
    ),
    KnownMistake(
        -MU_RIGHT,
        "The derivative with respect to μ has the wrong sign: the mean moves away from actions that were "
        "rewarded.",
    ),
    KnownMistake(
        ACTION - MU,
        "The derivative with respect to μ lacks the division by σ². It is right only for σ = 1.",
    ),
    KnownMistake(
        (ACTION - MU) / LOG_SIGMA**2,
        "log σ is used as if it were σ. It must be exponentiated first; a negative log σ is no mistake, and its "
        "square is not a variance.",
    ),
)
LOG_SIGMA_MISTAKES = (
    KnownMistake(
        LOG_SIGMA_RIGHT + 1,
        "The derivative with respect to log σ lacks the −1, which comes from the factor 1/σ in front of the "
        "density. It is never negative, so its mean is 1 and not 0. With positive rewards the policy becomes "
        "wider and wider.",
    ),
    KnownMistake(
        LOG_SIGMA_RIGHT / np.exp(LOG_SIGMA),
        "This is the derivative with respect to σ, not to log σ. The chain rule adds the factor dσ/dlog σ = σ. "
        "Without it, steps of log σ are 1/σ times too long, so a narrow policy becomes unstable.",
    ),
    KnownMistake(
        -LOG_SIGMA_RIGHT,
        "The derivative with respect to log σ has the wrong sign: the policy becomes narrower where rewarded "
        "actions were far from the mean.",
    ),
    KnownMistake(
        LOG_SIGMA_RIGHT / 2,
        "This is the derivative with respect to the logarithm of the variance, log σ². The parameter is log σ, "
        "and the derivative with respect to it is twice as long.",
    ),
    KnownMistake(
        ((ACTION - MU) / LOG_SIGMA) ** 2 - 1,
        "log σ is used as if it were σ. It must be exponentiated first.",
    ),
)


def _judge_gaussian(function: StudentFunction) -> tuple[bool, str]:
    pair = function(ACTION, MU, LOG_SIGMA)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        kind = "None" if pair is None else type(pair).__name__
        raise StudentError(f"It returned {kind}; expected a tuple of two arrays, for μ and for log σ.")
    by_mu = numbers(pair[0], MU.shape, "one number per sample, for μ")
    by_log_sigma = numbers(pair[1], MU.shape, "one number per sample, for log σ")
    if same(by_mu, LOG_SIGMA_RIGHT) and same(by_log_sigma, MU_RIGHT):
        return (
            False,
            "Both derivatives are right, but in the wrong order: the one with respect to μ comes first.",
        )
    texts = list[str]()
    if not same(by_mu, MU_RIGHT):
        texts.append(explain(by_mu, MU_RIGHT, MU_MISTAKES))
    if not same(by_log_sigma, LOG_SIGMA_RIGHT):
        texts.append(explain(by_log_sigma, LOG_SIGMA_RIGHT, LOG_SIGMA_MISTAKES))
    return not texts, " ".join(texts) or f"Both derivatives agree for {len(MU)} samples with different σ."
