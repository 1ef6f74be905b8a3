"""Diagnosis of common problems from the metrics of a finished run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from policygrad.types import F64

CERTAIN = 1e-4
"""Entropy in nats below which a softmax policy no longer explores."""
LEAP = 1.0
"""KL divergence of one update in nats above which its data no longer describe the new policy."""
ENOUGH_STEPS = 1000
"""Steps of a run below which its share of clipped actions may be chance."""
CLIPPED = 0.98
"""Share of clipped actions above which the environment hardly sees what the policy does."""


def findings(history: Mapping[str, F64]) -> list[str]:
    """Return the problems of a run with this history, a few sentences each.

    Args:
        history: each metric as an array with one entry per update; NaN where it was not logged.
    """
    if not history:
        return []
    # a policy that has collapsed has no gradient either, but not for the reasons that `_learned_nothing` names
    found = [_collapsed(history) or _learned_nothing(history), _clipped(history)]
    return [finding for finding in found if finding is not None]


def _metric(history: Mapping[str, F64], name: str) -> F64:
    return history.get(name, np.full(len(history["steps"]), np.nan))


def _collapsed(history: Mapping[str, F64]) -> str | None:
    """Report a softmax policy that one update made deterministic, so that later updates cannot change it."""
    entropy, kl = _metric(history, "entropy"), _metric(history, "kl")
    was, now = entropy[:-1], entropy[1:]
    # each comparison with NaN is False
    leaps = (kl[:-1] > LEAP) & (now >= 0) & (now < CERTAIN) & (was > CERTAIN)
    if not leaps.any() or entropy[-1] >= CERTAIN:
        return None
    i = int(leaps.argmax())
    return (
        f"an update before step {int(history['steps'][i + 1]):,} changed the policy too much: its KL divergence was "
        f"{kl[i]:.3g} (healthy: below 0.03), and the entropy fell from {was[i]:.3g} to {now[i]:.3g}. Since then the "
        "policy has always chosen the same action, and its gradient is almost 0. Lower the learning rate, or add an "
        "entropy bonus."
    )


def _learned_nothing(history: Mapping[str, F64]) -> str | None:
    if np.any(_metric(history, "policy_grad_norm") != 0):
        return None
    first = _metric(history, "entropy")[0]
    if 0 <= first < CERTAIN:
        return (
            "the policy's gradient was 0 in every update, so it has not learned: it was certain of its actions from "
            f"the start (entropy {first:.3g}). Start with a smaller policy_gain, or with another policy."
        )
    return (
        "the policy's gradient was 0 in every update, so it has not learned: every advantage was 0. Check whether all "
        "rewards were equal, or whether each update had a single sample or episode, which was compared with itself."
    )


def _clipped(history: Mapping[str, F64]) -> str | None:
    last = _metric(history, "clipped_actions")[-10:]
    last = last[~np.isnan(last)]
    if history["steps"][-1] < ENOUGH_STEPS or not len(last) or last.mean() < CLIPPED:
        return None
    return (
        f"{last.mean():.0%} of the actions were outside the box at the end of the run and were clipped to its edge, so "
        "the environment hardly saw what the policy did. Leave scale_actions on (its default), lower log_std, or use "
        "distribution='squashed' or 'beta', which stay inside the box."
    )
