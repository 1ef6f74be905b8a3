"""Serializable state of a collector, the same for both kinds."""

from __future__ import annotations

from policygrad._support.seeding import EpisodeSeeds
from policygrad._support.state import unpack
from policygrad.envs import Environments
from policygrad.rollout.noise import ActionNoise
from policygrad.types import State


def state_of(environments: Environments, seeds: EpisodeSeeds, noise: ActionNoise) -> State:
    """See `Collector.state`."""
    return {"environments": environments.state(), "seeds": seeds.state(), "noise": noise.state()}


def restore(state: State, environments: Environments, seeds: EpisodeSeeds, noise: ActionNoise) -> bool:
    """See `Collector.restore`."""
    environments_state, seeds_state, noise_state = unpack(state, "environments", "seeds", "noise")
    environments.restore(environments_state)
    seeds.restore(seeds_state)
    noise.restore(noise_state)
    return environments_state is not None
