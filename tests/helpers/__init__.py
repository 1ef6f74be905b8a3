"""What several test modules use: environments, networks, engines, rollouts, runs, and exact Fisher matrices."""

from __future__ import annotations

from tests.helpers.algorithms import A2C_VARIANTS, ACTOR_CRITIC_VARIANTS, PPO_VARIANTS
from tests.helpers.engines import (
    FULL_LOSS,
    both_engines,
    check_that_engines_agree,
    engine_on_copies,
    full_coefficients,
    learned_by_both,
    learner_state,
    parameters,
    relative_error,
)
from tests.helpers.environments import Countdown
from tests.helpers.fisher import SHAPES, dense_fisher, distribution_of, random_states, shaken_policy
from tests.helpers.networks import BOX, HEADS, WIDE, WIDTH, CustomNetwork, D, networks
from tests.helpers.rollouts import (
    STEP_COLUMNS,
    B,
    batch_for,
    batch_rows,
    episodes_for,
    one_step_for,
    rollout_of,
    steps_for,
    with_observations,
)
from tests.helpers.runs import act_with, history_rows, same_parameters, tensorboard_events

__all__ = [
    "A2C_VARIANTS", "ACTOR_CRITIC_VARIANTS", "BOX", "FULL_LOSS", "HEADS", "PPO_VARIANTS", "SHAPES", "STEP_COLUMNS",
    "WIDE", "WIDTH", "B", "Countdown", "CustomNetwork", "D", "act_with", "batch_for", "batch_rows", "both_engines",
    "check_that_engines_agree",
    "dense_fisher", "distribution_of", "engine_on_copies", "episodes_for", "full_coefficients", "history_rows",
    "learned_by_both", "learner_state", "networks", "one_step_for", "parameters", "random_states", "relative_error",
    "rollout_of", "same_parameters", "shaken_policy", "steps_for", "tensorboard_events", "with_observations",
]  # fmt: skip
