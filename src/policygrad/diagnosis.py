"""What a run's own numbers say went wrong: said in words at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

CERTAIN = 1e-4
"""Entropy in nats below which a softmax policy no longer tries anything else."""
LEAP = 1.0
"""KL of one update in nats beyond which it has left where its data came from."""
ENOUGH_STEPS = 1000
"""Steps of a run from which on its share of clipped actions is no accident."""
CLIPPED = 0.98
"""Share of clipped actions from which the environment hardly sees what the policy does."""


def findings(rows: Sequence[dict[str, float]]) -> list[str]:
    """Return what is to be said of a run with these rows of metrics, a sentence or two for each finding."""
    if not rows:
        return []
    # a policy that has blown up has no gradient either, for another reason than those that are named then
    found = [_blown_up(rows) or _learned_nothing(rows), _clipped(rows)]
    return [finding for finding in found if finding is not None]


def _blown_up(rows: Sequence[dict[str, float]]) -> str | None:
    """A softmax policy that one update has made certain, so that no later one can change it."""
    for before, after in pairwise(rows):
        was, now = before.get("entropy", math.nan), after.get("entropy", math.nan)
        if (
            before.get("kl", 0.0) > LEAP
            and 0 <= now < CERTAIN < was
            and rows[-1].get("entropy", now) < CERTAIN
        ):
            return (
                f"an update before step {int(after['steps']):,} took the policy too far: its KL was "
                f"{before['kl']:.3g} (healthy: below 0.03), and the entropy fell from {was:.3g} to {now:.3g}. Since "
                "then the policy takes one action only and has hardly a gradient. Lower the learning rate, or add an "
                "entropy bonus"
            )
    return None


def _learned_nothing(rows: Sequence[dict[str, float]]) -> str | None:
    if any(row.get("policy_grad_norm") != 0 for row in rows):
        return None
    if rows[0].get("entropy", math.inf) < CERTAIN and rows[0].get("entropy", math.inf) >= 0:
        return (
            "the policy's gradient was 0 in every update, so it has not learned: it was certain of its actions from "
            f"the start (entropy {rows[0]['entropy']:.3g}). Begin with a smaller policy_gain, or with another policy"
        )
    return (
        "the policy's gradient was 0 in every update, so it has not learned: every advantage was 0. Were all "
        "rewards equal, or had an update one sample or episode, compared with itself?"
    )


def _clipped(rows: Sequence[dict[str, float]]) -> str | None:
    last = [row["clipped_actions"] for row in rows[-10:] if "clipped_actions" in row]
    if rows[-1]["steps"] < ENOUGH_STEPS or not last or sum(last) / len(last) < CLIPPED:
        return None
    return (
        f"{sum(last) / len(last):.0%} of the actions were outside the box at the end and were clipped to its edge, so "
        "the environment hardly saw what the policy did. Leave scale_actions on (its default), lower log_std, or take "
        "distribution='squashed' or 'beta', which stay inside the box"
    )
