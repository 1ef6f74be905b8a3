"""Ailments of exploration: the policy stopped trying other actions too early, or never settles on any."""

from __future__ import annotations

import math

import numpy as np

from policygrad.doctor.evidence import Evidence
from policygrad.doctor.finding import Ailment, Finding
from policygrad.doctor.remedies import learning_rate_times, rounded, smaller_steps

CERTAIN = 1e-4
"""Entropy in nats below which a softmax policy no longer explores."""
UNCHANGED = 1e-9
"""KL divergence of an update in nats that only rounding can explain."""
COLLAPSED, UNDECIDED = 0.01, 0.98
"""Share of the highest entropy below which a policy has stopped exploring, and above which it has decided nothing."""
LEAP = 1.0
"""KL divergence of one update in nats above which its data no longer describe the new policy."""
NEAR_BOUND = 0.02
"""Relative distance from a bound within which a standard deviation is at it."""
ENOUGH_UPDATES = 20
"""Number of updates below which a policy has hardly had the time to decide."""


def _is_softmax(e: Evidence) -> bool:
    entropy = e.metric("entropy")
    return bool(np.isnan(e.metric("std")).all() and entropy[0] > 0 and np.nanmin(entropy) >= 0)


def _no_gradient(e: Evidence) -> Finding | None:
    changed = e.metric("kl") > UNCHANGED
    if np.any(e.metric("policy_grad_norm") != 0) or changed.any():
        # the gradient is logged at the end of an update, after which a policy may have none any more
        return None
    first = e.metric("entropy")[0]
    if 0 <= first < CERTAIN:
        return Finding(
            NO_GRADIENT.name,
            "the policy's gradient was 0 in every update, so it has not learned: it was certain of its actions from "
            f"the start (entropy {first:.3g}).",
            "Start with a smaller policy_gain, or with another policy.",
            {"policy_gain": 0.01},
            certain=True,
        )
    return Finding(
        NO_GRADIENT.name,
        "the policy's gradient was 0 in every update, so it has not learned: every advantage was 0.",
        "Check whether each update had a single sample or episode, which was compared with itself.",
        certain=True,
    )


NO_GRADIENT = Ailment(
    "no gradient",
    "The policy was certain of its actions from the start, or every advantage was 0, so that it never changed.",
    "the norm of the policy's gradient is 0 in every update",
    "`--policy-gain 0.01`, or more episodes per update",
    _no_gradient,
    explains=(
        "the policy hardly changes", "entropy never falls", "entropy collapsed", "batch too small",
        "learning rate too low", "V(s) explains nothing", "V(s) is biased", "greedy and sampled returns differ",
        "too few updates",
    ),
)  # fmt: skip


def _collapsed(e: Evidence) -> Finding | None:
    entropy, kl = e.metric("entropy"), e.metric("kl")
    if not _is_softmax(e) or entropy[0] < CERTAIN:
        return None
    now, highest = e.recent("entropy", 0.1), float(np.nanmax(entropy))
    if now >= COLLAPSED * highest:
        return None
    # each comparison with NaN is False
    leaps = (kl[:-1] > LEAP) & (entropy[1:] < CERTAIN) & (entropy[:-1] > CERTAIN)
    if leaps.any() and entropy[-1] < CERTAIN:
        i = int(leaps.argmax())
        return Finding(
            ENTROPY_COLLAPSED.name,
            f"an update before step {int(e.history['steps'][i + 1]):,} changed the policy too much: its KL divergence "
            f"was {kl[i]:.3g} (healthy: below 0.03), and the entropy fell from {entropy[i]:.3g} to "
            f"{entropy[i + 1]:.3g}. Since then the policy has always chosen the same action, and its gradient is "
            "almost 0.",
            "Lower the learning rate, or add an entropy bonus.",
            learning_rate_times(e, smaller_steps(float(kl[i]))),
            certain=True,
        )
    fell = int(np.argmax(entropy < COLLAPSED * highest))
    bonus = e.setting("entropy_coef", 0.0)
    return Finding(
        ENTROPY_COLLAPSED.name,
        f"the policy stopped exploring before its returns had clearly risen: its entropy fell below 1 % of its highest "
        f"value, {highest:.3g} nats, at step {int(e.history['steps'][fell]):,} and was {now:.2g} at the end.",
        "Keep it exploring with an entropy bonus, or lower the learning rate.",
        {"entropy_coef": rounded(max(10 * bonus, 0.03))},
    )


ENTROPY_COLLAPSED = Ailment(
    "entropy collapsed",
    "A softmax policy has become certain of its actions before it found good ones, and no longer tries others.",
    "the entropy at the end is below 1 % of the highest one; with a KL above 1 in one update, that update did it",
    "`--entropy-coef`, or a lower `--learning-rate`",
    _collapsed,
    explains=(
        "the policy hardly changes", "batch too small", "learning rate too low", "steps too large",
        "V(s) explains nothing", "learning rate too high", "greedy and sampled returns differ", "V(s) is biased",
    ),
)  # fmt: skip


def _never_falls(e: Evidence) -> Finding | None:
    bonus, entropy = e.setting("entropy_coef", 0.0), e.metric("entropy")
    if not (e.fruitless and bonus > 0 and e.updates >= ENOUGH_UPDATES):
        return None
    now, highest = e.recent("entropy", 0.1), float(np.nanmax(entropy))
    # a differential entropy has no largest value to compare with
    least = UNDECIDED * highest if _is_softmax(e) else float(entropy[0])
    if not now >= least:
        return None
    return Finding(
        ENTROPY_NEVER_FALLS.name,
        f"the policy is at least as undecided as at the start: its entropy is {now:.3g} nats, after {entropy[0]:.3g} "
        f"at first, and the entropy bonus has the weight {bonus:g}.",
        "Lower the weight of the bonus, or leave it out.",
        {"entropy_coef": 0.0},
    )


ENTROPY_NEVER_FALLS = Ailment(
    "entropy never falls",
    "The entropy bonus outweighs the rewards, so that the policy stays undecided.",
    "with an entropy bonus, the entropy at the end is above 98 % of the highest one (softmax) or above the initial "
    "one, and returns did not rise",
    "a lower `--entropy-coef`",
    _never_falls,
    explains=(
        "the policy hardly changes", "batch too small", "learning rate too low", "greedy and sampled returns differ",
        "V(s) explains nothing", "V(s) is biased",
    ),
)  # fmt: skip


def _at_bound(e: Evidence) -> Finding | None:
    std, bounds = e.recent("std", 0.1), e.setting("log_std_bounds")
    if math.isnan(std) or bounds is None or e.setting("distribution") == "gsde" or e.updates < ENOUGH_UPDATES:
        return None
    low, high = bounds
    if std <= math.exp(low) * (1 + NEAR_BOUND):
        started_there = e.setting("log_std", 0.0) < low + 1
        return Finding(
            STD_AT_BOUND.name,
            f"the standard deviation of the actions is at its lower bound, {std:.3g}, so that the policy "
            + ("cannot become more precise." if started_there else "hardly explores."),
            f"Lower the bound: --log-std-bounds {low - 4:g} {high:g}."
            if started_there
            else "Lower the learning rate.",
            {"log_std_bounds": (low - 4, high)} if started_there else learning_rate_times(e, 0.1),
        )
    if std >= math.exp(high) * (1 - NEAR_BOUND):
        bonus = e.setting("entropy_coef", 0.0)
        return Finding(
            STD_AT_BOUND.name,
            f"the standard deviation of the actions is at its upper bound, {std:.3g}, so that they are mostly noise.",
            f"Leave out the entropy bonus, whose weight is {bonus:g}."
            if bonus
            else "Lower the learning rate.",
            {"entropy_coef": 0.0} if bonus else learning_rate_times(e, 0.1),
        )
    return None


STD_AT_BOUND = Ailment(
    "standard deviation at its bound",
    "The standard deviation of a Gaussian policy cannot fall or rise any further: it is too noisy or too certain.",
    "`std` is within 2 % of a bound of `log_std_bounds` at the end of the run",
    "other `--log-std-bounds`, `--entropy-coef 0`, or a lower `--learning-rate`",
    _at_bound,
    explains=(
        "greedy and sampled returns differ", "batch too small", "learning rate too low",
        "V(s) explains nothing",
    ),
)  # fmt: skip
