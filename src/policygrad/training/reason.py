"""Whether a training run can use the compiled loop, decided without importing it, which would compile its code."""

from __future__ import annotations

from policygrad.algorithms import Algorithm, WithRecipe
from policygrad.envs import Environments, KernelVectorEnv, Shaping
from policygrad.envs.shaping import compiled_potential
from policygrad.interfaces import Engine
from policygrad.policies import Policy

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
    if (reason := reason_of_algorithm(algorithm)) is not None:
        return reason
    if shaping is not None and compiled_potential(shaping) is None:
        return "a Python function shapes the rewards; see CompiledPotential"
    horizon = algorithm.recipe.horizon if isinstance(algorithm, WithRecipe) and algorithm.recipe else None
    steps = environments.num_envs * (horizon or environments.vector.kernel.max_steps)
    if steps > MOST_STEPS:
        return f"an update may have {steps:,} steps"
    if cores > 1:
        return "large batches are split between cores"
    return None


def reason_of_algorithm(algorithm: Algorithm) -> str | None:
    """Return why machine code cannot perform the updates of an algorithm, or None if it can."""
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
    return "the loss has columns of its own" if algorithm.columns else None
