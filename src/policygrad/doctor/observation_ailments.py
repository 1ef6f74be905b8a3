"""Ailments of the observations: badly scaled, constant, or without what the task needs."""

from __future__ import annotations

import numpy as np

from policygrad.doctor.evidence import Evidence
from policygrad.doctor.finding import Ailment, Finding

LARGE, SMALL = 20.0, 0.02
"""Root mean square of an input above which it saturates or dominates a network, and standard deviation below which it
has hardly any effect beside others."""
RATIO = 10.0
"""Ratio to the largest standard deviation that a small input must have."""
STACK = "policygrad.envs:last_observations"
"""Wrapper that shows the last few observations at once."""


def _badly_scaled(e: Evidence) -> Finding | None:
    if e.probe is None or e.setting("normalize_observations", False):
        return None
    seen = np.asarray(e.probe.seen, np.float64)
    deviation, size = seen.std(0), np.sqrt((seen**2).mean(0))
    # numbers with two values are flags or one-hot, whose deviation says nothing about their scale
    many = np.array([len(np.unique(column)) > 2 for column in seen.T])
    large, small = int(size.argmax()), int(np.where(many & (deviation > 0), deviation, np.inf).argmin())
    advice = "Normalize observations by running statistics: --normalize-observations."
    remedy = {"normalize_observations": True}
    if e.setting("scale_observations", False):
        remedy["scale_observations"] = False
    if size[large] > LARGE:
        words = (
            f"entry {large} of the observation has a root mean square of {size[large]:.3g}, where networks expect "
            "numbers near 1."
        )
        return Finding(OBSERVATION_SCALE.name, words, advice, remedy)
    if many[small] and 0 < deviation[small] < SMALL and deviation.max() > RATIO * deviation[small]:
        words = (
            f"entry {small} of the observation varies by only {deviation[small]:.2g} (standard deviation) and another "
            f"one by {deviation.max():.2g}, so that the network hardly notices it."
        )
        return Finding(OBSERVATION_SCALE.name, words, advice, remedy)
    return None


OBSERVATION_SCALE = Ailment(
    "observation scale",
    "Inputs of the network are so large that they saturate it, or so small that they have no effect.",
    f"the root mean square of an input is above {LARGE:g}, or its standard deviation is below {SMALL:g} and a tenth of "
    "another one's",
    "`--normalize-observations`",
    _badly_scaled,
    explains=(
        "V(s) explains nothing", "V(s) is biased", "batch too small", "dead ReLU units", "the policy hardly changes",
        "learning rate too low",
    ),
    needs_probe=True,
)  # fmt: skip


def _never_change(e: Evidence) -> Finding | None:
    if e.probe is None or not e.fruitless:
        return None
    seen, steps = e.probe.seen, sum(map(len, e.probe.all_played))
    several_steps = steps > len(e.probe.all_played)
    if not several_steps or (seen != seen[0]).any():
        return None
    return Finding(
        OBSERVATIONS_NEVER_CHANGE.name,
        f"all {len(seen):,} observations were equal, so that the policy cannot respond to the state.",
        "Check what `reset` and `step` return: they must describe the current state.",
    )


OBSERVATIONS_NEVER_CHANGE = Ailment(
    "observations never change",
    "All observations are equal, so that the policy acts in the same way in every state.",
    "all observations of several episodes are equal, and returns did not rise",
    "repair the observations of the environment",
    _never_change,
    explains=(
        "V(s) explains nothing", "V(s) is biased", "batch too small", "observations lack the past",
        "learning rate too low", "time limit reported as termination",
    ),
    needs_probe=True,
)  # fmt: skip


def _lack_the_past(e: Evidence) -> Finding | None:
    memory = None if e.probe is None else e.probe.memory
    if memory is None:
        return None
    return Finding(
        NO_MEMORY.name,
        f"the observation lacks something that earlier ones show: it predicts {max(memory.without, 0.0):.0%} of the "
        f"variance of {memory.what}, and {memory.with_history:.0%} together with the previous and the first one.",
        f"Show the policy the last four observations (--wrap {STACK}), or add what is missing to the observation.",
        {"wrap": (*e.setting("wrap", ()), STACK)},
    )


NO_MEMORY = Ailment(
    "observations lack the past",
    "What the task needs, such as a speed or an earlier signal, is not in the current observation.",
    "the reward or the next observation is predicted to less than 50 % from the current observation and action, and to "
    "more than 80 % if the previous and the first observation are known too",
    f"`--wrap {STACK}`, or a better observation",
    _lack_the_past,
    explains=(
        "V(s) explains nothing",
        "batch too small",
        "learning rate too low",
        "greedy and sampled returns differ",
    ),
    needs_probe=True,
)
