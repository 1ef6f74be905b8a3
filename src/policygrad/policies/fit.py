"""Checks that a network fits its spaces and that a policy fits an environment."""

from __future__ import annotations

from torch import nn

from policygrad.policies.networks import PerceptronPolicy
from policygrad.spaces import (
    Space,
    in_words,
    observed_part,
)


def check_sizes(network: nn.Module, observation_size: int, action_size: int, name: str) -> None:
    """Raise ValueError unless a network of this library has the sizes that the spaces require."""
    if isinstance(network, PerceptronPolicy):
        found, expected = (
            (network.network.sizes[0], network.action_dim),
            (observation_size, action_size),
        )
        if found != expected:
            raise ValueError(
                f"the {type(network).__name__} has state_dim {found[0]} and action_dim {found[1]}; "
                f"{name} needs {expected[0]} and {expected[1]}"
            )


def check_same_spaces(
    own: tuple[Space, Space], observation_space: Space, action_space: Space, name: str
) -> None:
    """Raise ValueError unless an environment has the spaces that a policy was made for.

    Args:
        own: the (observation, action) spaces that the policy was made for.
        observation_space, action_space: the spaces of the environment, as it declares them.
        name: name of the environment, for the message.
    """
    observation_space, _ = observed_part(observation_space)
    for kind, mine, theirs in zip(
        ("observation", "action"), own, (observation_space, action_space), strict=True
    ):
        if mine != theirs:
            made_for, has = in_words(mine), in_words(theirs)
            if made_for == has:
                has = "the same shape but different bounds"
            raise ValueError(
                f"this policy was made for {kind}s of {made_for}; {name} has {has}. "
                "Evaluate it on the environment it was trained on, or train a policy for this environment."
            )
