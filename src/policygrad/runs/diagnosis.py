"""What a run's own numbers say went wrong: said in words at its end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from policygrad.types import F64

CERTAIN = 1e-4
"""Entropy in nats below which a softmax policy no longer tries anything else."""
LEAP = 1.0
"""KL of one update in nats beyond which it has left where its data came from."""
ENOUGH_STEPS = 1000
"""Steps of a run from which on its share of clipped actions is no accident."""
CLIPPED = 0.98
"""Share of clipped actions from which the environment hardly sees what the policy does."""


def findings(history: Mapping[str, F64]) -> list[str]:
    """Return what is to be said of a run with this history, a sentence or two for each finding.

    Args:
        history: each metric as an array with an entry per update, NaN where it was not logged.
    """
    if not history:
        return []
    # a policy that has blown up has no gradient either, for another reason than those that are named then
    found = [_blown_up(history) or _learned_nothing(history), _clipped(history)]
    return [finding for finding in found if finding is not None]


def _of(history: Mapping[str, F64], name: str) -> F64:
    return history.get(name, np.full(len(history["steps"]), np.nan))


def _blown_up(history: Mapping[str, F64]) -> str | None:
    """A softmax policy that one update has made certain, so that no later one can change it."""
    entropy, kl = _of(history, "entropy"), _of(history, "kl")
    was, now = entropy[:-1], entropy[1:]
    # each comparison with NaN is False
    leaps = (kl[:-1] > LEAP) & (now >= 0) & (now < CERTAIN) & (was > CERTAIN)
    if not leaps.any() or entropy[-1] >= CERTAIN:
        return None
    i = int(leaps.argmax())
    return (
        f"an update before step {int(history['steps'][i + 1]):,} took the policy too far: its KL was "
        f"{kl[i]:.3g} (healthy: below 0.03), and the entropy fell from {was[i]:.3g} to {now[i]:.3g}. Since "
        "then the policy takes one action only and has hardly a gradient. Lower the learning rate, or add an "
        "entropy bonus"
    )


def _learned_nothing(history: Mapping[str, F64]) -> str | None:
    if np.any(_of(history, "policy_grad_norm") != 0):
        return None
    first = _of(history, "entropy")[0]
    if 0 <= first < CERTAIN:
        return (
            "the policy's gradient was 0 in every update, so it has not learned: it was certain of its actions from "
            f"the start (entropy {first:.3g}). Begin with a smaller policy_gain, or with another policy"
        )
    return (
        "the policy's gradient was 0 in every update, so it has not learned: every advantage was 0. Were all "
        "rewards equal, or had an update one sample or episode, compared with itself?"
    )


def _clipped(history: Mapping[str, F64]) -> str | None:
    last = _of(history, "clipped_actions")[-10:]
    last = last[~np.isnan(last)]
    if history["steps"][-1] < ENOUGH_STEPS or not len(last) or last.mean() < CLIPPED:
        return None
    return (
        f"{last.mean():.0%} of the actions were outside the box at the end and were clipped to its edge, so "
        "the environment hardly saw what the policy did. Leave scale_actions on (its default), lower log_std, or take "
        "distribution='squashed' or 'beta', which stay inside the box"
    )
