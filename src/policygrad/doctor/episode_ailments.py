"""Ailments of the episodes: endless, ended by a time limit that is not one, or different from the same seed."""

from __future__ import annotations

import numpy as np

from policygrad.doctor.evidence import Evidence
from policygrad.doctor.finding import Ailment, Finding

ENDLESS = 500
"""Steps of each environment without the end of an episode from which episodes count as endless."""
SUGGESTED_EPISODES = 20
"""Number of episodes of each environment that the suggested time limit allows for."""
SHORTEST_LIMIT = 5
"""Number of steps below which a common length of all episodes is not taken for a time limit."""
AT_THE_LIMIT = 0.5
"""Share of the episodes of random actions that end after exactly the same number of steps, and none later."""
TIME_IS_VISIBLE = 0.8
"""Share of the variance of the time, predicted from the observation, from which V(s) can know when the end comes."""


def _never_end(e: Evidence) -> Finding | None:
    num_envs = e.setting("num_envs", 1)
    each = e.steps / num_envs
    if each < ENDLESS or e.episodes >= num_envs:
        return None
    limit = max(10, round(min(each / SUGGESTED_EPISODES, 1000.0)))
    return Finding(
        EPISODES_NEVER_END.name,
        f"{e.episodes or 'no'} episode{'s' * (e.episodes != 1)} ended in {each:,.0f} steps of each of {num_envs} "
        "environments, so that no state is visited twice from the start, and no return is known.",
        f"Set a time limit, such as --max-episode-steps {limit}.",
        {"max_episode_steps": limit},
    )


EPISODES_NEVER_END = Ailment(
    "episodes never end",
    "Episodes do not end, so that a policy that is stuck somewhere stays there for the whole run.",
    f"fewer episodes than environments ended in {ENDLESS} or more steps of each environment",
    "`--max-episode-steps`",
    _never_end,
    explains=(
        "V(s) explains nothing", "batch too small", "learning rate too low", "the policy hardly changes",
        "V(s) is biased", "entropy collapsed", "entropy never falls", "discount too short", "observation scale",
        "greedy and sampled returns differ", "observations lack the past", "steps too large", "reward scale",
        "standard deviation at its bound", "clipped actions",
    ),
)  # fmt: skip


def _limit_is_termination(e: Evidence) -> Finding | None:
    if e.probe is None:
        return None
    played = e.probe.by_chance
    lengths = np.array([len(episode) for episode in played])
    longest = int(lengths.max())
    last = [episode for episode in played if len(episode) == longest]
    terminated = all(episode.ending == "terminated" for episode in last)
    if longest < SHORTEST_LIMIT or not terminated or len(last) < AT_THE_LIMIT * len(played):
        return None
    if not e.probe.time < TIME_IS_VISIBLE:
        return None
    return Finding(
        TIME_LIMIT_AS_TERMINATION.name,
        f"{len(last)} of {len(played)} episodes of random actions were terminated after exactly {longest:,} steps, and "
        "none later. This looks like a time limit that is reported as termination: V(s) then learns that states are "
        "worthless whose value only the observer of a clock can know.",
        f"Return truncated=True at the time limit, or truncate one step earlier: --max-episode-steps {longest - 1}.",
        {"max_episode_steps": longest - 1},
    )


TIME_LIMIT_AS_TERMINATION = Ailment(
    "time limit reported as termination",
    "A time limit that the observation does not show ends episodes as if they had failed, which spoils V(s).",
    "at least half of the episodes of random actions are terminated after exactly the same number of steps, none "
    "later, and the observation does not tell the time",
    "`truncated=True` in the environment, or `--max-episode-steps` one step below the limit",
    _limit_is_termination,
    explains=("V(s) explains nothing", "V(s) is biased", "batch too small", "learning rate too low"),
    needs_probe=True,
)


def _not_deterministic(e: Evidence) -> Finding | None:
    if e.probe is None or e.probe.difference is None:
        return None
    return Finding(
        NOT_DETERMINISTIC.name,
        f"two episodes from the same seed with the same actions differ: {e.probe.difference} is not the same.",
        "Draw all random numbers of the environment from self.np_random, and call super().reset(seed=seed) in reset.",
    )


NOT_DETERMINISTIC = Ailment(
    "seed ignored",
    "The environment is not deterministic under its reset seed, so that no run can be repeated.",
    "two episodes from the same seed with the same actions differ",
    "`self.np_random` in the environment",
    _not_deterministic,
    needs_probe=True,
    always=True,
)
