"""What a run needs to be shared among actors: algorithms that allow it, and the environments of each actor."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from policygrad._support.seeding import EnvShare
from policygrad.algorithms import A2C, PPO, TRPO, Algorithm, NaturalGradient, Reinforce, WithRecipe, name_of
from policygrad.algorithms.own_loss import algorithm_of
from policygrad.algorithms.steps import SQUARED_ERROR
from policygrad.losses import Loss

SHARED = (Reinforce, A2C, PPO, TRPO, NaturalGradient)
"""Algorithms whose updates actors can compute together."""


def check_actors(algorithm: Algorithm, actors: int, num_envs: int, *, can_repeat: bool) -> None:
    """Raise ValueError if a run of this algorithm cannot be shared among that many actors."""
    kind = type(algorithm)
    library = algorithm_of(kind) if isinstance(algorithm, SHARED) else None
    if library is None:
        raise ValueError(
            f"actors={actors} (--actors) is for reinforce, a2c, ppo, trpo and npg, and not for {name_of(algorithm)}. "
            "Leave it out, or train several seeds in parallel with seeds (--seeds)."
        )
    changed = [name for name in ("learn", "collect") if getattr(kind, name) is not getattr(library, name)]
    if changed:
        raise ValueError(
            f"actors={actors} (--actors) executes the updates of {library.__name__}, but {kind.__name__} has its own "
            f"{changed[0]}. Leave actors out; a loss and columns of your own can be used with it."
        )
    if num_envs < actors:
        raise ValueError(
            f"actors={actors} (--actors) needs at least as many environments, and num_envs is {num_envs}: raise "
            "num_envs (--num-envs)."
        )
    if not can_repeat:
        raise ValueError(
            "with actors, each one needs environments of its own. Give an id, a Kernel or a function that makes one "
            "environment."
        )


def environments_of(actor: int, actors: int, num_envs: int) -> tuple[int, EnvShare]:
    """Return the number of environments of an actor, and which ones they are."""
    first, last = list(pairwise(num_envs * i // actors for i in range(actors + 1)))[actor]
    return last - first, EnvShare(first, num_envs)


def losses_of(algorithm: Any) -> list[Loss]:
    """Return the losses that an algorithm may minimize, always in the same order."""
    losses: list[Loss] = [algorithm.traced_loss, SQUARED_ERROR]
    if isinstance(algorithm, WithRecipe) and algorithm.recipe is not None:
        losses += [one.loss for one in algorithm.recipe.passes]
    return losses
