"""Data collection: whole episodes or a fixed number of steps, from compiled environments or any others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policygrad._support.seeding import EnvShare, EpisodeSeeds
from policygrad._support.threads import Workers
from policygrad.envs import Environments, KernelVectorEnv, Shaping
from policygrad.interfaces import Collector, Engine
from policygrad.policies import Policy
from policygrad.rollout.episode_returns import EpisodeReturns
from policygrad.rollout.host_collector import HostCollector
from policygrad.rollout.reward_scaling import RewardScaling
from policygrad.types import Array


def make_collector(
    environments: Environments,
    policy: Policy,
    engine: Engine,
    *,
    seeds: EpisodeSeeds,
    action_rng: np.random.Generator,
    shaping: Shaping | None = None,
    max_steps: int | None = None,
    workers: Workers | None = None,
    share: EnvShare | None = None,
    watch: Callable[[Array], None] | None = None,
) -> Collector:
    """Return a collector for these environments and this engine: a compiled loop if both are compiled.

    Observations are added to the policy's running statistics, unless another function is given to `watch` them. For
    `share`, see `HostCollector`.
    """
    if watch is None and policy.observation_moments is not None:
        watch = policy.observation_moments.add
    if isinstance(environments.vector, KernelVectorEnv) and engine.name == "fused":
        from policygrad.engines.fused import FusedEngine
        from policygrad.rollout.compiled_collector import CompiledCollector

        assert isinstance(engine, FusedEngine)
        return CompiledCollector(
            environments,
            policy,
            engine,
            seeds=seeds,
            action_rng=action_rng,
            shaping=shaping,
            watch=watch,
            workers=workers or Workers(),
            share=share,
        )
    return HostCollector(
        environments,
        policy,
        engine.act,
        seeds=seeds,
        action_rng=action_rng,
        shaping=shaping,
        watch=watch,
        max_steps=max_steps,
        share=share,
    )


__all__ = ["EpisodeReturns", "HostCollector", "RewardScaling", "make_collector"]
