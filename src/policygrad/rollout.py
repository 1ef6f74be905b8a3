"""Collecting whole episodes: the data of Monte Carlo methods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policygrad.envs import Environments, Shaping, apply_shaping
from policygrad.errors import NonFiniteError
from policygrad.policies import Policy
from policygrad.seeding import EpisodeSeeds
from policygrad.types import F32, F64, Array, Rollout


def collect_episodes(
    environments: Environments,
    policy: Policy,
    act: Callable[[F32, F64], Array],
    *,
    seeds: EpisodeSeeds,
    action_rng: np.random.Generator,
    episodes_per_env: int = 1,
    shaping: Shaping | None = None,
    max_steps: int | None = None,
) -> Rollout:
    """Run exactly `episodes_per_env` whole episodes in each environment.

    The number is fixed before anything is run, so that no episode is in the data because it was short. An
    environment that finishes first idles until the slowest is done; what it does meanwhile is padding.

    Args:
        environments: N of them.
        policy: encodes observations and gives actions their environment's form.
        act: (observations [N, D], noise) -> stored actions; an engine's `act`.
        seeds: a seed for every episode.
        action_rng: the noise of N actions a step, idle rows included, so that the stream does not depend on
            who has finished.
        episodes_per_env: episodes run one after another in each environment.
        shaping: what is learned from instead of the reward.
        max_steps: the longest episode allowed.

    Returns:
        A rollout [T, N · episodes_per_env], an episode a column.

    Raises:
        NonFiniteError: an observation or a reward is NaN or infinite.
        ValueError: an episode is longer than `max_steps`.
    """
    return Rollout.side_by_side(
        [
            _one_episode_each(environments, policy, act, seeds, action_rng, shaping, max_steps)
            for _ in range(episodes_per_env)
        ]
    )


def _one_episode_each(
    environments: Environments,
    policy: Policy,
    act: Callable[[F32, F64], Array],
    seeds: EpisodeSeeds,
    action_rng: np.random.Generator,
    shaping: Shaping | None,
    max_steps: int | None,
) -> Rollout:
    N = environments.num_envs
    raw = environments.reset(seeds)
    raws = [np.array(raw)] if shaping else []
    encoded = _encode(policy, raw, environments.name, 0)
    alive = np.ones(N, np.bool_)
    observations: list[F32] = []
    successors: list[F32] = []
    actions: list[Array] = []
    rewards: list[F64] = []
    terminations: list[Array] = []
    truncations: list[Array] = []
    valid: list[Array] = []
    while alive.any():
        if max_steps is not None and len(rewards) >= max_steps:
            raise ValueError(
                f"{environments.name}: no end of an episode within {max_steps:,} steps. Whole episodes are "
                "needed: wrap the environment in gymnasium.wrappers.TimeLimit"
            )
        action = act(encoded, policy.draw_noise(action_rng, N))
        _check_actions(policy, action)
        raw, reward, terminated, truncated = environments.step(policy.environment_actions(action))
        observations.append(encoded)
        encoded = _encode(policy, raw, environments.name, len(rewards) + 1)
        if shaping:
            raws.append(np.array(raw))
        successors.append(encoded)
        actions.append(action)
        rewards.append(reward)
        terminations.append(terminated & alive)
        truncations.append(truncated & ~terminated & alive)
        valid.append(alive)
        alive = alive & ~(terminated | truncated)
    reward, mask = np.stack(rewards), np.stack(valid)
    _check_rewards(reward, mask, environments.name)
    terminated, truncated = np.stack(terminations), np.stack(truncations)
    shaped = np.where(mask, reward, 0.0)
    if shaping:
        # on samples alone: what idle environments did is nobody's business
        columns = (reward, np.stack(raws[:-1]), np.stack(raws[1:]), terminated, truncated)
        shaped[mask] = apply_shaping(shaping, *(column[mask] for column in columns))
    return Rollout(
        observation=np.stack(observations),
        action=np.stack(actions),
        reward=shaped,
        original_reward=np.where(mask, reward, 0.0),
        next_observation=np.stack(successors),
        terminated=terminated,
        truncated=truncated,
        valid=mask,
    )


def _encode(policy: Policy, raw: Array, name: str, step: int) -> F32:
    encoded = policy.encode(raw)
    if not np.isfinite(encoded.sum(dtype=np.float64)):
        rows = np.flatnonzero(~np.isfinite(encoded).all(1))
        raise NonFiniteError(
            f"{name}: the observation of environment {rows[0]} at step {step} has a NaN or an infinity: "
            f"{np.asarray(raw)[rows[0]]}. Find what makes it in the environment's step or reset"
        )
    return encoded


def _check_actions(policy: Policy, action: Array) -> None:
    if action.dtype.kind == "f" and not np.isfinite(action.sum()):
        largest = max((float(p.detach().abs().max()), name) for name, p in policy.named_parameters())
        raise NonFiniteError(
            f"the policy's actions are not finite; its largest parameter is {largest[0]:.3g}, in {largest[1]}. "
            "If that has grown, lower the learning rate or scale the observations; a network of your own must "
            "give a finite mean and a std above 0"
        )


def _check_rewards(reward: F64, valid: Array, name: str) -> None:
    bad = np.argwhere(valid & ~np.isfinite(reward))
    if len(bad):
        step, n = bad[0]
        raise NonFiniteError(f"{name}: the reward of environment {n} at step {step} is {reward[step, n]}")
