"""The usual mistakes in rewards-to-go and in the estimate of REINFORCE, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise, product

import numpy as np

from policygrad.exercises.comparison import KnownMistake
from policygrad.exercises.tiny_problem import GAMMA, TinyProblem, to_go
from policygrad.types import F64, Bool


def until_done(rewards: F64, done: Bool, gamma: float) -> F64:
    """Return Σ_k γ^k r_{t+k} up to the end of the episode, [T, N]."""
    found, following = np.zeros_like(rewards), np.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * np.where(done[t], 0.0, following)
        found[t] = following
    return found


def step_of_episode(done: Bool) -> F64:
    """Return the number of steps since the start of the episode, [T, N]."""
    found = np.zeros(done.shape)
    for t in range(1, len(done)):
        found[t] = np.where(done[t - 1], 0, found[t - 1] + 1)
    return found


def _cut_one_row_late(rewards: F64, done: Bool, gamma: float) -> F64:
    """Reset the sum after the last step of an episode has been written, in the order of a backward loop."""
    found, following = np.zeros_like(rewards), np.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * following
        found[t] = following
        following = np.where(done[t], 0.0, following)
    return found


def _so_far(rewards: F64, done: Bool, gamma: float) -> F64:
    found, before = np.zeros_like(rewards), np.zeros(rewards.shape[1])
    for t in range(len(rewards)):
        found[t] = before + gamma ** step_of_episode(done)[t] * rewards[t]
        before = np.where(done[t], 0.0, found[t])
    return found


def _whole(rewards: F64, done: Bool, gamma: float) -> F64:
    """Return the return of the whole episode, G_0, for each of its steps."""
    first = until_done(rewards, done, gamma)
    for t in range(1, len(rewards)):
        first[t] = np.where(done[t - 1], first[t], first[t - 1])
    return first


_SO_FAR = (
    "These are sums of the rewards up to each step, not from it on. An action then gets the credit of what "
    "happened before it, which it cannot have caused, and none for what it leads to: the mean of such a "
    "gradient says nothing about later rewards."
)
_ALL = (
    "Every step has the return of its whole episode. This adds the rewards before an action to its credit. They "
    "do not depend on the action, so they change nothing on average, but they add noise, and more of it the "
    "longer an episode is."
)
TO_GO_MISTAKES: tuple[tuple[Callable[[F64, Bool, float], F64], str], ...] = (
    (
        lambda r, d, g: until_done(r, np.zeros_like(d), g),
        "The sum does not stop where `done` is True, so rewards of the next episode are added to those of this "
        "one. The last actions of an episode get the credit of a new start that they did not bring about. "
        "Ending early may even look good.",
    ),
    (
        lambda r, d, g: until_done(r, d, 1.0),
        "The rewards are not discounted: gamma has no effect. This is the return of another objective, in which "
        "a reward far away counts as much as one now.",
    ),
    (
        _cut_one_row_late,
        "The sum is cut one row away from where the episode ends. Its last step gets the rewards of the next "
        "episode, and the step before it does not get the last reward, which is often the only one that matters.",
    ),
    (
        lambda r, d, g: until_done(r, d, g) - r,
        "The reward of the step itself is missing. An action then gets no credit for what it earns at once.",
    ),
    (
        lambda r, d, g: (until_done(r, d, g) - r) / g,
        "These are the returns of the next step, G_{t+1}. The reward of the step itself is missing, so an "
        "action gets no credit for what it earns at once.",
    ),
    (
        lambda r, d, g: g * until_done(r, d, g),
        "Every reward is discounted once too often: the reward of the step itself must count fully.",
    ),
    (
        lambda r, d, g: g ** step_of_episode(d) * until_done(r, d, g),
        "The rewards are discounted from the start of the episode, not from each step: this is γ^t G_t. The "
        "factor γ^t belongs to gradient_estimate, and if it is there too, late actions count γ^2t times as much.",
    ),
    (_so_far, _SO_FAR),
    (lambda r, d, g: _so_far(r, d, 1.0), _SO_FAR),
    (_whole, _ALL),
    (lambda r, d, g: _whole(r, d, 1.0), _ALL),
)
"""Functions of (rewards, done, gamma), and what they do."""


_CREDITS = (
    "",
    "It gives every action the sum of G_t over the whole episode, as the product of two sums over steps does, "
    "instead of its own G_t. Each action gets the credit of all rewards, and rewards that come late are counted "
    "several times.",
    "It uses the reward r_t of the step alone. What an action leads to later is ignored, so the agent becomes "
    "shortsighted.",
    "It uses undiscounted sums of rewards, although J is discounted. It prefers rewards that come too late to "
    "count as much.",
    "It gives every action the return of its whole episode and also multiplies it by γ^t. The whole return is "
    "discounted from the start already, so late actions have too little weight.",
    "It subtracts the mean of G_t over the same episode. That mean depends on the actions whose credit it is "
    "subtracted from, so it is not a valid baseline: it says that the early steps of an episode were good "
    "because more rewards follow.",
)
_NO_POWER = (
    "It lacks the factor γ^t. This is what most implementations do: late actions have more weight than they "
    "have in J. The direction is often similar, but it is not the gradient of J or of any other objective."
)
_PER_STEP = (
    "It divides by the number of steps instead of the number of episodes. This is a mean over log π: an action "
    "in a long episode counts less than one in a short episode, so short episodes are preferred or avoided for "
    "no reason."
)
_REVERSED = "Its sign is reversed, so a step along it makes J smaller."


def gradient_mistakes(problem: TinyProblem) -> list[KnownMistake]:
    """Return the expectations of wrong estimates, each fault alone first, and then combinations of them."""
    e = problem.episodes
    length = e.lengths[:, None]
    own = to_go(e.rewards, GAMMA)
    power = GAMMA ** np.arange(problem.horizon)
    of_active = np.where(e.active, own, 0.0)
    summed = of_active.sum(1, keepdims=True)
    received = (own, summed, e.rewards, to_go(e.rewards, 1.0), own[:, :1], own - summed / length)
    found = list[tuple[int, KnownMistake]]()
    for (credit, text), power_left_out, per_step, is_reversed in product(
        zip(received, _CREDITS, strict=True), (False, True), (False, True), (False, True)
    ):
        if text == _CREDITS[4] and power_left_out:
            # without γ^t the return of the whole episode is unbiased
            continue
        faults = [text] if text else []
        faults += [_NO_POWER] * power_left_out + [_PER_STEP] * per_step + [_REVERSED] * is_reversed
        weight = credit * (1.0 if power_left_out else power) / (length if per_step else 1)
        numbers = problem.expected_gradient(-weight if is_reversed else weight)
        found.append((len(faults), KnownMistake(numbers, " ".join(faults))))
    return [mistake for faults, mistake in sorted(found, key=lambda pair: pair[0]) if faults]


def batch_mistakes(
    each: F64, columns: list[list[int]], reference: Callable[[Callable[[F64, Bool], F64]], F64]
) -> Iterator[KnownMistake]:
    """Yield what wrong ways to combine episodes give.

    Args:
        each: [M, P]: the estimate from each episode alone.
        columns: the episodes of each column.
        reference: returns the sum over steps of weight(rewards, done) times the score.
    """
    yield KnownMistake(
        each.sum(0),
        "It is the sum over episodes. The length of a step of the optimizer then grows with the number of "
        "episodes.",
    )
    yield KnownMistake(
        each.sum(0) / len(columns),
        "It is divided by the number of columns, but a column may contain several episodes: count where `done` "
        "is True.",
    )
    starts = np.cumsum([0, *map(len, columns)])
    per_column = [each[a:b].mean(0) for a, b in pairwise(starts)]
    yield KnownMistake(
        np.mean(per_column, axis=0),
        "It is a mean over columns of means over episodes. Episodes in a column with many short ones count too "
        "little.",
    )

    def counting_rows(rewards: F64, done: Bool) -> F64:
        rows = np.arange(len(rewards))[:, None]
        return GAMMA**rows * until_done(rewards, done, GAMMA) / len(each)

    yield KnownMistake(
        reference(counting_rows),
        "The exponent of γ^t counts the rows of the array, but it must start at 0 in each episode. The second "
        "episode of a column has less weight than the first.",
    )

    def leaking(rewards: F64, done: Bool) -> F64:
        power = GAMMA ** step_of_episode(done)
        return power * until_done(rewards, np.zeros_like(done), GAMMA) / len(each)

    yield KnownMistake(
        reference(leaking),
        "Rewards of the next episode in a column are added to those of this one: the sums must stop where "
        "`done` is True.",
    )
