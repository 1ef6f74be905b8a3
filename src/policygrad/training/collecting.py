"""The collector of a run, whose random streams follow from the run's seed."""

from __future__ import annotations

from collections.abc import Callable

from policygrad._support.seeding import EnvShare, EpisodeSeeds, stream
from policygrad._support.threads import Workers
from policygrad.envs import Environments, Shaping
from policygrad.interfaces import Collector, Engine
from policygrad.policies import Policy
from policygrad.rollout import make_collector
from policygrad.types import Array

LONGEST_EPISODE = 100_000
"""Steps after which an episode is considered endless, unless the budget is larger."""


def collector_of(
    environments: Environments,
    policy: Policy,
    engine: Engine,
    *,
    seed: int,
    steps: int,
    shaping: Shaping | None,
    workers: Workers | None,
    share: EnvShare | None = None,
    watch: Callable[[Array], None] | None = None,
) -> Collector:
    """Return the collector of a run with this seed and this budget of steps; see `make_collector`."""
    return make_collector(
        environments,
        policy,
        engine,
        seeds=EpisodeSeeds(stream(seed, "env"), share),
        action_rng=stream(seed, "action"),
        shaping=shaping,
        max_steps=max(steps, LONGEST_EPISODE),
        workers=workers,
        share=share,
        watch=watch,
    )
