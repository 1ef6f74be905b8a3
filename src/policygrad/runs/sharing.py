"""What a run needs to be shared among actors: algorithms that allow it, and the environments of each actor."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import nn

from policygrad._support.seeding import EnvShare
from policygrad.algorithms import A2C, PPO, TRPO, Algorithm, NaturalGradient, Reinforce, WithRecipe, name_of
from policygrad.algorithms.own_loss import algorithm_of, replaced_method
from policygrad.algorithms.steps import SQUARED_ERROR
from policygrad.losses import Loss

HAVE_MODES = (
    nn.modules.dropout._DropoutNd,  # pyright: ignore[reportPrivateUsage]
    nn.modules.batchnorm._NormBase,  # pyright: ignore[reportPrivateUsage]
    nn.RReLU,
)
"""Layers that are other functions in training mode."""
SHARED = (Reinforce, A2C, PPO, TRPO, NaturalGradient)
"""Algorithms whose updates actors can compute together."""


def check_actors(algorithm: Algorithm, actors: int, num_envs: int, *, can_repeat: bool) -> None:
    """Raise ValueError if a run of this algorithm cannot be shared among that many actors."""
    kind = type(algorithm)
    if not isinstance(algorithm, SHARED):
        raise ValueError(
            f"actors={actors} (--actors) is for reinforce, a2c, ppo, trpo and npg, and not for {name_of(algorithm)}. "
            "Leave it out, or train several seeds in parallel with seeds (--seeds)."
        )
    replaced = replaced_method(kind)
    if replaced is not None:
        raise ValueError(
            f"actors={actors} (--actors) executes the updates of {algorithm_of(kind).__name__}, but {kind.__name__} "
            f"has its own {replaced}. Leave actors out; a loss and columns of your own can be used with it."
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


def check_networks(policy: nn.Module, value: nn.Module | None) -> None:
    """Raise ValueError if actors cannot have copies of these networks that together compute what one network does."""
    for network in (policy, value):
        for part in () if network is None else network.modules():
            if isinstance(part, HAVE_MODES):
                raise ValueError(
                    f"actors (--actors) cannot be used with {type(part).__name__}, which is another function in "
                    "training mode: its noise or its statistics would be those of each actor's own samples. Leave it "
                    "out of the networks."
                )
    own = () if value is None else value.parameters()
    if {id(p) for p in policy.parameters()} & {id(p) for p in own}:
        raise ValueError(
            "actors (--actors) cannot be used with networks that share parameters. Use separate networks, or let V(s) "
            "share the policy's hidden layers with network=Network(shared=True)."
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
