"""Ailments of the policy: its actions are clipped, its units are dead, or its noise spoils what it has learned."""

from __future__ import annotations

import math

import numpy as np

from policygrad.doctor.evidence import Evidence
from policygrad.doctor.finding import Ailment, Finding
from policygrad.doctor.probe import returns_of
from policygrad.doctor.remedies import learning_rate_times

ENOUGH_STEPS = 1000
"""Steps of a run below which its share of clipped actions may be chance."""
CLIPPED = 0.98
"""Share of clipped actions above which the environment hardly sees what the policy does."""
DEAD = 0.9
"""Share of the units of a layer without effect from which a network has too few left."""
CLEARLY = 4.0
"""Difference of two mean returns in standard errors from which it is not chance."""
APART = 0.5
"""Difference of greedy and sampled returns, as a share of what the better one gains over random actions."""


def _clipped(e: Evidence) -> Finding | None:
    last = e.metric("clipped_actions")[-10:]
    last = last[~np.isnan(last)]
    if e.steps < ENOUGH_STEPS or not len(last) or last.mean() < CLIPPED:
        return None
    return Finding(
        CLIPPED_ACTIONS.name,
        f"{last.mean():.0%} of the actions were outside the box at the end of the run and were clipped to its edge, so "
        "the environment hardly saw what the policy did.",
        "Use distribution='squashed' or 'beta', which stay inside the box, leave scale_actions on (its default), or "
        "lower log_std.",
        {"scale_actions": True} if not e.setting("scale_actions", True) else {"distribution": "beta"},
        certain=True,
    )


CLIPPED_ACTIONS = Ailment(
    "clipped actions",
    "Nearly all actions of a Gaussian policy are outside the box, where a change of them has no effect.",
    f"`clipped_actions` is above {CLIPPED:g} in the last updates",
    "`--distribution beta` or `squashed`, or `--scale-actions`",
    _clipped,
    explains=("batch too small", "learning rate too low", "V(s) explains nothing"),
)


def _dead(e: Evidence) -> Finding | None:
    layers = () if e.probe is None else e.probe.dead_units
    shares = [dead / units for dead, units in layers]
    if not shares or max(shares) < DEAD:
        return None
    worst = int(np.argmax(shares))
    dead, units = layers[worst]
    return Finding(
        DEAD_UNITS.name,
        f"{dead} of {units} ReLU units in hidden layer {worst + 1} of the policy are 0 for every observation, so that "
        "they neither affect the actions nor learn.",
        "Use an activation without a dead region (--activation tanh), and lower the learning rate.",
        {"activation": "tanh"} | learning_rate_times(e, 0.1),
    )


DEAD_UNITS = Ailment(
    "dead ReLU units",
    "Nearly all ReLU units of a layer are 0 for every observation, which usually follows from too large a step.",
    f"at least {DEAD:.0%} of the units of a layer are 0 for all observations of several episodes",
    "`--activation tanh` and a lower `--learning-rate`",
    _dead,
    explains=(
        "batch too small",
        "the policy hardly changes",
        "V(s) explains nothing",
        "learning rate too low",
    ),
    needs_probe=True,
)


def _ways_differ(e: Evidence) -> Finding | None:
    if e.probe is None:
        return None
    greedy, sampled, chance = (
        returns_of(played) for played in (e.probe.greedy, e.probe.sampled, e.probe.by_chance)
    )
    difference = float(greedy.mean() - sampled.mean())
    error = math.sqrt(greedy.var() / len(greedy) + sampled.var() / len(sampled))
    better = greedy if difference > 0 else sampled
    gain = float(better.mean() - chance.mean())
    matters = max(APART * gain, float(chance.std()), float(better.std()), CLEARLY * error)
    if not abs(difference) > matters:
        return None
    words = (
        f"greedy actions return {greedy.mean():.4g} and sampled ones {sampled.mean():.4g} on average, over "
        f"{len(greedy)} episodes each (random actions: {chance.mean():.4g})."
    )
    if difference < 0:
        return Finding(
            GREEDY_AND_SAMPLED.name,
            words,
            "The task needs randomness, for example because states that look alike need different actions: act with "
            "samples (policygrad evaluate RUN --policy sampled, or policy.greedy = False).",
        )
    bonus, log_std = e.setting("entropy_coef", 0.0), e.setting("log_std", 0.0)
    continuous = not np.isnan(e.metric("std")).all()
    if not e.fruitless or not (bonus or continuous):
        # noise is part of learning, and a softmax policy without a bonus becomes certain by itself
        return None
    remedy = {"entropy_coef": 0.0} if bonus else {"log_std": log_std - 2.0}
    return Finding(
        GREEDY_AND_SAMPLED.name,
        words,
        "The policy explores too much: leave out the entropy bonus, start with a smaller log_std, or evaluate it with "
        "greedy actions (policygrad evaluate RUN --policy greedy).",
        remedy,
    )


GREEDY_AND_SAMPLED = Ailment(
    "greedy and sampled returns differ",
    "Either the noise of the samples spoils what the policy has learned, or the task needs it.",
    "the mean returns of greedy and of sampled actions differ by more than half of what the better one gains over "
    "random actions, by more than the standard deviation of a return, and by more than four standard errors",
    "`--entropy-coef 0` or a smaller `--log-std`; or evaluation in the better way, with `--policy`",
    _ways_differ,
    explains=("batch too small", "V(s) explains nothing"),
    needs_probe=True,
)
