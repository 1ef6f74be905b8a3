"""An experiment, which is everything about a training run except its seed and its folder."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import gymnasium as gym
from gymnasium.vector import VectorEnv
from torch import nn

from policygrad._support.seeding import stream
from policygrad.algorithms import Algorithm, critic_sees_action, described
from policygrad.engines import make_engine
from policygrad.envs import Environments, EnvLike, Shaping, make
from policygrad.interfaces import TrustRegionEngine
from policygrad.parallel import Share
from policygrad.policies import Network, Normalization, Policy, make_policy, make_value
from policygrad.presets import DEFAULT_ENVS
from policygrad.runs.settings import Settings
from policygrad.runs.sharing import check_actors, environments_of, losses_of
from policygrad.training import collector_of


@dataclass(frozen=True)
class Experiment:
    """Everything about a training run except its seed and its folder."""

    env: EnvLike
    algorithm: Algorithm
    settings: Settings
    """Settings as `Settings.resolved` returns them, with presets and defaults filled in."""

    @property
    def steps(self) -> int:
        """Budget in environment steps."""
        return cast(int, self.settings.steps)

    @property
    def can_repeat(self) -> bool:
        """True if `env` is an id, a kernel or a factory, which can make any number of environments."""
        return not isinstance(self.env, gym.Env | VectorEnv)

    @property
    def cores(self) -> int:
        """Number of cores per run."""
        many = self.settings.seeds is not None
        return (self.settings.cores_per_run if many else self.settings.cores) or 1

    @property
    def env_threads(self) -> int | None:
        """Number of EnvPool's threads; None means one per core."""
        return self.cores if self.settings.seeds is not None else self.settings.cores

    def networks(self, environments: Environments, seed: int) -> tuple[Policy, nn.Module | None]:
        """Make the policy and the value network of one run, or take the given ones."""
        settings, architecture, rng = (
            self.settings,
            cast(Network, self.settings.network),
            stream(seed, "init"),
        )
        policy = make_policy(
            environments.observation_space, environments.action_space, architecture, rng,
            normalization=cast(Normalization, settings.normalization),
            given=cast("nn.Module | None", settings.policy), environment_name=environments.name,
        ).to(settings.device)  # fmt: skip
        # a given policy may have acted greedily, which says nothing about the policy that it becomes
        policy.greedy = False
        given = cast("nn.Module | None", settings.value)
        wanted, sees_action = self.algorithm.uses_value, critic_sees_action(self.algorithm)
        return policy, make_value(
            policy, architecture, rng, given=given, wanted=wanted, sees_action=sees_action
        )

    def num_envs(self, environments: Environments | None = None) -> int:
        """Return the number of environments of a run that has opened these; with actors, all of theirs together."""
        if environments is not None and self.settings.actors is None:
            return environments.num_envs
        return self.settings.num_envs or DEFAULT_ENVS

    def without_callback(self) -> Experiment:
        """Return the experiment without the function that is called after every row, which stays in this process."""
        return replace(self, settings=replace(self.settings, on_update=None))

    def check_actors(self) -> None:
        """Raise ValueError if the run is to have actors that cannot share it."""
        if self.settings.actors is not None:
            check_actors(self.algorithm, self.settings.actors, self.num_envs(), can_repeat=self.can_repeat)

    def share(self, seed: int, actor: int) -> Share:
        """Make the environments and the networks of one of the run's actors, which uses one core."""
        settings, algorithm = self.settings, self.algorithm
        count, share = environments_of(actor, cast(int, settings.actors), self.num_envs())
        environments = make(self.env, count, settings, threads=1)
        if settings.log_info:
            environments.log_info(settings.log_info)
        # networks that were given as objects are the leader's
        own = replace(
            self, settings=replace(settings, policy=deepcopy(settings.policy), value=deepcopy(settings.value))
        )
        policy, value = own.networks(environments, seed)
        engine: Any = make_engine(
            policy, value, algorithm.optimizer, settings.engine, needs=TrustRegionEngine
        )
        collector: Any = partial(
            collector_of, environments, policy, engine, seed=seed, steps=self.steps,
            shaping=cast("Shaping | None", settings.shaping), workers=None, share=share,
        )  # fmt: skip
        return Share(
            environments, policy, value, engine, lambda watch: collector(watch=watch), losses_of(algorithm)
        )

    def config(self, seed: int, environments: Environments) -> dict[str, Any]:
        """Return the requested settings, with presets and defaults filled in."""
        return {
            "environment": environments.name,
            "environment_id": self.env if isinstance(self.env, str) else None,
            "algorithm": described(self.algorithm),
            **self.settings.config(),
            "num_envs": self.num_envs(environments),
            "seed": seed,
            "cores": self.cores,
        }
