"""Ailments of learning: V(s) is wrong, steps are too large or too small, updates are too few or too noisy."""

from __future__ import annotations

import math

import numpy as np

from policygrad.doctor.evidence import Evidence
from policygrad.doctor.finding import Ailment, Finding
from policygrad.doctor.remedies import faster_value, larger_steps, learning_rate_times, smaller_steps

FEW_UPDATES, ENOUGH_UPDATES = 20, 100
"""Number of updates below which a policy has hardly learned yet, and the number that a remedy provides."""
EXPLAINED = 0.05
"""Explained variance below which V(s) has no effect."""
PREDICTABLE = 0.3
"""Share of the variance of the returns that a regression on observations has to predict, for V(s) to be at fault."""
BIASED = 1.0
"""Bias of V(s) in standard deviations of the returns from which its error is mostly an offset."""
LARGE_KL, SMALL_KL = 0.1, 2e-5
"""KL of an update in nats above which its samples say little about the new policy, and below which it is the same."""
USUAL_KL, LOW_KL = 0.003, 0.001
"""KL of an update that the remedies aim for, and below which a learning rate can be raised."""
LOST_IN_NOISE = 0.005
"""Squared signal-to-noise ratio of a step below which it is mostly noise."""
LARGER = 16
"""Factor by which larger batches are suggested."""
RISING = 4.0
"""Difference of two mean returns in standard errors from which returns count as still rising."""


def _too_few(e: Evidence) -> Finding | None:
    if e.updates >= FEW_UPDATES:
        return None
    num_envs, horizon = e.setting("num_envs", 1), e.setting("horizon")
    samples = e.samples_per_update
    remedy = {"steps": round(ENOUGH_UPDATES * samples)}
    if horizon is not None and (shorter := int(e.steps / ENOUGH_UPDATES / num_envs)) >= 16:
        remedy = {"horizon": shorter}
    elif (fewer := int(num_envs * e.updates / ENOUGH_UPDATES)) >= 1:
        remedy = {"num_envs": fewer}
    name, value = next(iter(remedy.items()))
    return Finding(
        TOO_FEW_UPDATES.name,
        f"the policy was updated only {e.updates} times, each time from {samples:,.0f} samples.",
        f"Use smaller updates or a larger budget, such as --{name.replace('_', '-')} {value}.",
        remedy,
    )


TOO_FEW_UPDATES = Ailment(
    "too few updates",
    "The budget is used up after a few large updates.",
    f"fewer than {FEW_UPDATES} updates",
    "a shorter `--horizon`, fewer `--num-envs`, or more `--steps`",
    _too_few,
    explains=(
        "the policy hardly changes", "learning rate too low", "batch too small", "V(s) explains nothing",
        "V(s) is biased", "entropy never falls", "reward scale", "greedy and sampled returns differ",
    ),
)  # fmt: skip


def _biased(e: Evidence) -> Finding | None:
    bias, deviation = e.recent("value_bias"), e.deviation_of_targets
    if not (e.fruitless and abs(bias) > BIASED * deviation > 0):
        return None
    return Finding(
        VALUE_BIAS.name,
        f"V(s) is {abs(bias):.3g} too {'low' if bias < 0 else 'high'} on average, which is {abs(bias) / deviation:.1f} "
        "times the standard deviation of the returns.",
        "Let V(s) learn faster, by a larger learning rate or more steps.",
        faster_value(e),
    )


VALUE_BIAS = Ailment(
    "V(s) is biased",
    "V(s) is too low or too high everywhere, because it learns too slowly, and spoils the advantages.",
    "the bias of V(s) in the second half of the run is larger than the standard deviation of the returns, which did "
    "not rise",
    "a larger `--value-learning-rate`",
    _biased,
    explains=("V(s) explains nothing", "batch too small", "learning rate too low"),
)


def _explains_nothing(e: Evidence) -> Finding | None:
    explained = e.recent("explained_variance")
    if not (
        e.fruitless
        and explained < EXPLAINED
        and e.probe is not None
        and e.probe.predictable_returns > PREDICTABLE
    ):
        return None
    return Finding(
        EXPLAINS_NOTHING.name,
        f"V(s) explains {max(explained, 0.0):.0%} of the variance of the returns in the second half of the run, so "
        f"that advantages are as noisy as without it. The observation predicts {e.probe.predictable_returns:.0%}.",
        "Let V(s) learn faster, by a larger learning rate or more steps.",
        faster_value(e),
    )


EXPLAINS_NOTHING = Ailment(
    "V(s) explains nothing",
    "V(s) does not tell good states from bad ones, so that advantages are noisy.",
    f"the explained variance in the second half of the run is below {EXPLAINED:g}, a regression on observations "
    f"predicts more than {PREDICTABLE:.0%} of it, and returns did not rise",
    "a larger `--value-learning-rate`",
    _explains_nothing,
    explains=("batch too small",),
    needs_probe=True,
)


def _too_large(e: Evidence) -> Finding | None:
    kl = e.recent("kl", 1.0)
    if not kl > LARGE_KL:
        return None
    return Finding(
        STEPS_TOO_LARGE.name,
        f"each update changes the policy too much: the median KL divergence is {kl:.2g} (healthy: below 0.03).",
        "Lower the learning rate.",
        learning_rate_times(e, smaller_steps(kl)),
    )


STEPS_TOO_LARGE = Ailment(
    "steps too large",
    "Each update changes the policy so much that its samples say little about the new policy.",
    f"the median KL divergence of an update is above {LARGE_KL:g}",
    "a lower `--learning-rate` (or `--max-kl`)",
    _too_large,
    explains=("batch too small", "learning rate too high", "V(s) explains nothing", "learning rate too low"),
)


def _hardly_changes(e: Evidence) -> Finding | None:
    kl = e.recent("kl", 1.0)
    # a policy that has stopped changing is another matter
    if not (e.fruitless and kl < SMALL_KL and np.nanmax(e.metric("kl")) < LOW_KL):
        return None
    remedy = learning_rate_times(e, larger_steps(kl, USUAL_KL, 1e3))
    return Finding(
        HARDLY_CHANGES.name,
        f"the policy hardly changes: the median KL divergence of an update is {kl:.1g} (healthy: about 0.003 to 0.03).",
        "Raise the learning rate.",
        remedy,
    )


HARDLY_CHANGES = Ailment(
    "the policy hardly changes",
    "Updates are so small that the policy remains what it was.",
    f"the median KL divergence of an update is below {SMALL_KL:g}, and returns did not rise",
    "a larger `--learning-rate` (or `--max-kl`)",
    _hardly_changes,
    explains=(
        "learning rate too low", "batch too small", "V(s) explains nothing", "V(s) is biased",
        "greedy and sampled returns differ",
    ),
)  # fmt: skip


def _lost(e: Evidence) -> Finding | None:
    if not e.lost:
        return None
    return Finding(
        RATE_TOO_HIGH.name,
        f"what was learned has been lost: the mean return rose from {e.first_return:.4g} to {e.best_return:.4g} and "
        f"ended at {e.last_return:.4g}. The median KL divergence of an update was {e.recent('kl', 1.0):.2g}.",
        "Lower the learning rate, or let it fall to 0 in the course of the run (--learning-rate-end 0).",
        learning_rate_times(e, 0.1),
    )


RATE_TOO_HIGH = Ailment(
    "learning rate too high",
    "What was learned is lost again.",
    "the returns rose clearly, and more than half of the rise was gone at the end",
    "a lower `--learning-rate`, or `--learning-rate-end 0`",
    _lost,
    explains=("batch too small", "V(s) explains nothing", "V(s) is biased"),
)


def _too_slow(e: Evidence) -> Finding | None:
    kl = e.recent("kl", 1.0)
    if not kl < LOW_KL or e.updates < ENOUGH_UPDATES:
        return None
    returns, episodes = e.metric("return"), np.diff(e.metric("episodes"), prepend=0)
    half, quarter = len(returns) // 2, len(returns) // 4
    parts = [slice(half, half + quarter), slice(half + quarter, None)]
    means, errors = list[float](), list[float]()
    for rows in parts:
        ended = ~np.isnan(returns[rows]) & (episodes[rows] > 0)
        if ended.sum() < 2:
            return None
        means.append(float(np.average(returns[rows][ended], weights=episodes[rows][ended])))
        errors.append(e.spread / math.sqrt(episodes[rows][ended].sum()))
    if not means[1] - means[0] > RISING * math.hypot(*errors):
        return None
    return Finding(
        RATE_TOO_LOW.name,
        f"the returns were still rising when the budget ended, from {means[0]:.4g} to {means[1]:.4g} between the last "
        f"two quarters of the run, and the median KL divergence of an update was only {kl:.1g}.",
        "Raise the learning rate, or the budget.",
        learning_rate_times(e, larger_steps(kl, USUAL_KL, 30.0)),
    )


RATE_TOO_LOW = Ailment(
    "learning rate too low",
    "The policy improves steadily, but too slowly for the budget.",
    f"the returns of the last quarter are clearly above those of the one before, and the median KL divergence of an "
    f"update is below {LOW_KL:g}",
    "a larger `--learning-rate` or `--steps`",
    _too_slow,
    explains=("batch too small", "V(s) explains nothing"),
)


def _too_noisy(e: Evidence) -> Finding | None:
    ratio, scale = e.recent("gradient_snr"), e.recent("noise_scale")
    if not (e.fruitless and ratio < LOST_IN_NOISE) or e.updates < ENOUGH_UPDATES:
        return None
    samples = e.setting("minibatch_size", e.samples_per_update)
    known = "" if math.isnan(scale) else f" The noise scale of {scale:,.0f} samples says how many it needs."
    num_envs = e.setting("num_envs", 1)
    remedy = {"num_envs": LARGER * num_envs}
    if e.setting("minibatch_size") is not None:
        remedy = {"minibatch_size": LARGER * e.setting("minibatch_size")} | (
            {} if samples * LARGER <= e.samples_per_update else remedy
        )
    return Finding(
        BATCH_TOO_SMALL.name,
        f"the gradient of a step is lost in noise: with {samples:,.0f} samples, its squared signal-to-noise ratio is "
        f"{max(ratio, 0.0):.1g} (healthy: above 0.01).{known}",
        f"Use about {LARGER} times as many samples per step.",
        remedy,
    )


BATCH_TOO_SMALL = Ailment(
    "batch too small",
    "The gradient of a step is lost in the noise of its few samples.",
    f"the median `gradient_snr` in the second half of the run is below {LOST_IN_NOISE:g}, and returns did not rise",
    "more `--num-envs`, a longer `--horizon`, or a larger `--minibatch-size`",
    _too_noisy,
)
