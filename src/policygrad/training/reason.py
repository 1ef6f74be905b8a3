"""Whether a training run can use the compiled loop, decided without importing it, which would compile its code."""

from __future__ import annotations

from policygrad.algorithms import Algorithm, WithRecipe
from policygrad.envs import Environments, KernelVectorEnv, Shaping
from policygrad.interfaces import Engine
from policygrad.policies import Policy
from policygrad.policies.distributions import GSDE

MOST_STEPS = 1_000_000
"""Largest number of steps of an update for which the compiled loop allocates memory."""


def reason_for_python(
    environments: Environments,
    policy: Policy,
    engine: Engine,
    algorithm: Algorithm,
    shaping: Shaping | None,
    cores: int,
) -> str | None:
    """Return why training cannot run in the compiled loop, or None if it can."""
    if not isinstance(environments.vector, KernelVectorEnv):
        return "the environments are not compiled"
    if engine.name != "fused":
        return f"the engine is {engine.name}"
    if not isinstance(algorithm, WithRecipe):
        return f"{type(algorithm).__name__} has an update of its own"
    if (method := algorithm.own_method) is not None:
        return f"{type(algorithm).__name__} has its own {method}"
    recipe = algorithm.recipe
    if recipe is None:
        return f"these settings of {type(algorithm).__name__} have no recipe"
    if recipe.estimator.extra == "squared scores":
        return "the optimal baseline needs the gradient of each sample"
    if (recipe.episodes_per_env or 1) > 1:
        return "each environment runs several episodes per update"
    if algorithm.columns:
        return "the loss has columns of its own"
    if shaping is not None:
        return "rewards are shaped"
    if policy.observation_moments is not None or policy.reward_scale is not None:
        return "observations or rewards are normalized by running statistics"
    if isinstance(policy.distribution, GSDE):
        return "the noise of gSDE is kept for several steps"
    steps = environments.num_envs * (recipe.horizon or environments.vector.kernel.max_steps)
    if steps > MOST_STEPS:
        return f"an update may have {steps:,} steps"
    if cores > 1:
        return "large batches are split between cores"
    return None
