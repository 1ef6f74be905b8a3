"""The diagnosis: all ailments that the evidence shows, except those that others explain."""

from __future__ import annotations

from policygrad.doctor import (
    episode_ailments,
    exploration_ailments,
    observation_ailments,
    policy_ailments,
    reward_ailments,
    update_ailments,
)
from policygrad.doctor.evidence import Evidence
from policygrad.doctor.finding import Ailment, Finding

AILMENTS: tuple[Ailment, ...] = (
    episode_ailments.EPISODES_NEVER_END,
    reward_ailments.REWARD_NEVER_SEEN,
    reward_ailments.CONSTANT_REWARDS,
    exploration_ailments.NO_GRADIENT,
    observation_ailments.OBSERVATIONS_NEVER_CHANGE,
    policy_ailments.CLIPPED_ACTIONS,
    exploration_ailments.ENTROPY_COLLAPSED,
    update_ailments.TOO_FEW_UPDATES,
    update_ailments.STEPS_TOO_LARGE,
    update_ailments.RATE_TOO_HIGH,
    reward_ailments.REWARD_SCALE,
    observation_ailments.OBSERVATION_SCALE,
    policy_ailments.DEAD_UNITS,
    exploration_ailments.STD_AT_BOUND,
    exploration_ailments.ENTROPY_NEVER_FALLS,
    update_ailments.HARDLY_CHANGES,
    reward_ailments.DISCOUNT_TOO_SHORT,
    observation_ailments.NO_MEMORY,
    episode_ailments.TIME_LIMIT_AS_TERMINATION,
    update_ailments.VALUE_BIAS,
    policy_ailments.GREEDY_AND_SAMPLED,
    update_ailments.RATE_TOO_LOW,
    update_ailments.EXPLAINS_NOTHING,
    update_ailments.BATCH_TOO_SMALL,
    episode_ailments.NOT_DETERMINISTIC,
)
"""All that the doctor looks for, the most important first. An ailment only explains later ones."""


def diagnose(evidence: Evidence) -> list[Finding]:
    """Return what explains that nothing was learned, the most important finding first.

    A finding that another one explains is left out. A policy that has learned its task has no findings, except for
    faults of its environment.
    """
    findings, explained = list[Finding](), set[str]()
    for ailment in AILMENTS:
        finding = None if ailment.name in explained else ailment(evidence)
        if finding is not None:
            findings.append(finding)
            explained.update(ailment.explains)
    return findings
