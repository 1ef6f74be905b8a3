"""Evaluation of a policy on fresh episodes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from policygrad._support.checks import check_names, whole
from policygrad._support.compiling import announce_compilation
from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad._support.threads import Workers, single_thread
from policygrad.engines.fusible import unsupported_reason
from policygrad.envs import Environments, EnvLike, EnvOptions, KernelVectorEnv, make
from policygrad.evaluation.progress import show_episodes
from policygrad.evaluation.result import Evaluation
from policygrad.policies import Policy, evaluation_mode
from policygrad.rollout import HostCollector
from policygrad.types import F64, Array, Inputs

if TYPE_CHECKING:
    from policygrad.engines.fused import FusedEngine

STEP_LIMIT = 10_000
"""Steps after which an episode is truncated if the environment has no limit."""
SIDE_BY_SIDE = 16
"""Maximum number of parallel environments if no number is given."""


def evaluate(
    policy: Policy,
    env: EnvLike,
    episodes: int = 100,
    greedy: bool = True,
    seed: int = 0,
    num_envs: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Evaluation:
    """Run whole episodes and report their returns. The policy is left exactly as it was.

    The number of episodes per environment is fixed beforehand, so that short episodes are not over-represented.
    Rewards are not shaped.

    Args:
        policy: a `Policy`, for example from a run or from `load`.
        env: as in `train`, with the spaces that the policy was made for.
        episodes: number of episodes, 1 or more.
        greedy: take the most probable action instead of a sampled one.
        seed: seed of the environments and the actions. Their random streams are separate from those of training.
        num_envs: number of parallel environments; by default up to 16.
        progress: show how many episodes have ended. By default this is shown only on a terminal.
        options: how the environments are opened, as in `train`: `backend`, `env_kwargs`, `wrap`, `vectorize`,
            `max_episode_steps`. Episodes of an environment without a limit are truncated after 10,000 steps; the
            result's `cut` counts them.

    Raises:
        ValueError: the spaces differ from the policy's, or `episodes` is below 1.
        EnvironmentFault: the environment violates Gymnasium's API.
    """
    check_policy(policy)
    episodes = whole("episodes", episodes, at_least=1)
    check_names("evaluate", EnvOptions, options)
    environments = make(env, num_envs, EnvOptions(**options), otherwise=min(episodes, SIDE_BY_SIDE))
    try:
        policy.check_spaces(environments.observation_space, environments.action_space, environments.name)
        with single_thread(), evaluation_mode(policy), show_episodes(episodes, progress) as tick:
            return run_episodes(policy, environments, episodes, greedy, seed, tick)
    finally:
        environments.close()


def check_policy(policy: Any) -> None:
    """Raise TypeError unless this is a `Policy`, with a hint for torch modules."""
    if not isinstance(policy, Policy):
        raise TypeError(
            f"expected a policygrad.Policy; got {type(policy).__name__}. "
            "Policy(network, observation_space, action_space) makes one from a torch module."
        )


def engine_for_episodes(policy: Policy, environments: Environments) -> FusedEngine | None:
    """Return the engine that plays a policy in machine code; None if Python steps the environments or the policy."""
    if not isinstance(environments.vector, KernelVectorEnv) or unsupported_reason(policy, None) is not None:
        return None
    with announce_compilation(unless="policygrad.rollout.compiled_collector" in sys.modules):
        from policygrad.engines.fused import FusedEngine

        # compiled here as well, because it will be needed
        from policygrad.rollout import compiled_collector  # noqa: F401  # pyright: ignore[reportUnusedImport]
    return FusedEngine(policy, None, "sgd")


def run_episodes(
    policy: Policy,
    environments: Environments,
    episodes: int,
    greedy: bool,
    seed: int,
    tick: Callable[[int, int], None] = lambda episodes, steps: None,
    max_steps: int | None = None,
    engine: FusedEngine | None = None,
) -> Evaluation:
    """Run whole episodes in environments that are already open: see `evaluate`.

    Args:
        policy: a policy in evaluation mode.
        environments: environments with the policy's spaces.
        episodes, greedy, seed: as in `evaluate`.
        tick: called now and then with the number of episodes that have ended and the number of steps taken.
        max_steps: cut episodes in Python environments after this many steps, if that is below the limit.
        engine: what `engine_for_episodes` returned for this policy, if it is played many times.
    """
    env_rng, action_rng = stream(seed, "evaluation").spawn(2)
    before = [0, 0]

    def count(ended: int, steps: int) -> None:
        tick(min(before[0] + ended, episodes), before[1] + steps)

    rngs: Any = {"seeds": EpisodeSeeds(env_rng), "action_rng": action_rng}
    engine = engine or engine_for_episodes(policy, environments)
    if engine is not None:
        from policygrad.rollout.compiled_collector import CompiledCollector

        collector = CompiledCollector(environments, policy, engine, **rngs, workers=Workers(), greedy=greedy)
    else:

        def act(inputs: Inputs, noise: F64) -> Array:
            return policy.choose(inputs, None if greedy else noise)

        limit = min(environments.max_episode_steps or STEP_LIMIT, max_steps or STEP_LIMIT)
        collector = HostCollector(environments, policy, act, **rngs, max_steps=limit, cut=True, tick=count)
    returns, lengths = list[F64](), list[Array]()
    # if only part of the last round is needed, its first episodes count, which is decided before it runs
    for _ in range(math.ceil(episodes / environments.num_envs)):
        rollout = collector.episodes()
        returns.append(rollout.original_reward.sum(0))
        lengths.append(rollout.valid.sum(0))
        before[0] += environments.num_envs
        before[1] += rollout.num_samples
        count(0, 0)
    cut = collector.cut_episodes if isinstance(collector, HostCollector) else 0
    return Evaluation(
        np.concatenate(returns)[:episodes],
        np.concatenate(lengths)[:episodes].astype(np.int64),
        greedy,
        cut,
        environments.reward_threshold,
    )
