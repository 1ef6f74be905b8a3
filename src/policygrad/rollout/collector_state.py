"""Where a collector stands, of either kind."""

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
    of_environments, of_seeds, of_noise = unpack(state, "environments", "seeds", "noise")
    environments.restore(of_environments)
    seeds.restore(of_seeds)
    noise.restore(of_noise)
    return of_environments is not None
