"""Collects from any environments, in a Python loop that acts once and steps once per iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from policygrad._support.isolation import ignored_numpy_errors
from policygrad._support.seeding import EnvShare, EpisodeSeeds
from policygrad.envs import Environments, Shaping, apply_shaping
from policygrad.errors import NonFiniteError
from policygrad.policies import Policy, check_actions, evaluation_mode, is_standard, sound_actions
from policygrad.rollout.collector_state import restore, state_of
from policygrad.rollout.noise import ActionNoise
from policygrad.types import F32, F64, I64, Array, Bool, Inputs, Rollout, State


class HostCollector:
    """Collects whole episodes, or a fixed number of steps.

    Args:
        environments: N environments.
        policy: encodes observations and converts actions to the environment's form.
        act: (inputs of N rows, noise) -> stored actions, such as the `act` of an engine.
        seeds: seeds of the episodes.
        action_rng: random generator of the actions.
        shaping: computes the reward to learn from in place of the environment's.
        watch: called with the observations that were acted on, as the environments returned them: [samples, D].
        max_steps: length of the longest episode that is allowed.
        cut: truncate longer episodes instead of raising an error; `cut_episodes` counts them.
        tick: called after each step of whole episodes with the number of ended episodes and the number of steps.
        share: which environments of the run these are, if there are others.
    """

    def __init__(
        self,
        environments: Environments,
        policy: Policy,
        act: Callable[[Inputs, F64], Array],
        *,
        seeds: EpisodeSeeds,
        action_rng: np.random.Generator,
        shaping: Shaping | None = None,
        watch: Callable[[Array], None] | None = None,
        max_steps: int | None = None,
        cut: bool = False,
        tick: Callable[[int, int], None] | None = None,
        share: EnvShare | None = None,
    ) -> None:
        self._cut, self._tick = cut, tick
        self.cut_episodes = 0
        """Number of episodes that `max_steps` has truncated so far."""
        self._environments = environments
        self._policy = policy
        self._act = act
        self._seeds = seeds
        self.noise = ActionNoise(policy, action_rng, environments.num_envs, share)
        self._shaping = shaping
        self._watch = watch
        self._max_steps = max_steps
        self._has_modes = not is_standard(policy.network)

    def episodes(self, per_env: int = 1) -> Rollout:
        """Run exactly `per_env` whole episodes in each environment.

        The number is fixed in advance, so that the data are not biased toward short episodes. An environment that
        finishes early idles until the slowest one is done; its steps until then are padding.

        Returns:
            A rollout [T, N · per_env], one episode per column.

        Raises:
            NonFiniteError: an observation or a reward is NaN or infinite.
            ValueError: an episode is longer than `max_steps`, and `cut` is False.
        """
        with self._acting():
            return Rollout.side_by_side([self._round() for _ in range(per_env)])

    def steps(self, horizon: int) -> Rollout:
        """Run `horizon` steps in each environment, continuing where the last call stopped.

        Returns:
            A rollout [horizon, N]. A row in which an environment only reset itself is not valid.

        Raises:
            NonFiniteError: an observation or a reward is NaN or infinite.
        """
        if self._environments.current is None:
            self._environments.reset(self._seeds)
        record = _Record()
        with self._acting():
            for _ in range(horizon):
                self._step(record, ~self._environments.resetting)
        return self._rollout(record)

    def state(self) -> State:
        """See `Collector.state`."""
        return state_of(self._environments, self._seeds, self.noise)

    def restore(self, state: State) -> bool:
        """See `Collector.restore`."""
        return restore(state, self._environments, self._seeds, self.noise)

    def _acting(self) -> AbstractContextManager[None]:
        """Return a context in evaluation mode; in training mode, actions may depend on other environments' rows."""
        return evaluation_mode(self._policy) if self._has_modes else nullcontext()

    def _round(self) -> Rollout:
        environments = self._environments
        environments.reset(self._seeds)
        alive = np.ones(environments.num_envs, np.bool_)
        record = _Record()
        steps = 0
        while alive.any():
            steps += int(alive.sum())
            alive = alive & ~self._step(record, alive)
            if self._max_steps is not None and len(record.reward) >= self._max_steps and alive.any():
                if not self._cut:
                    raise ValueError(
                        f"{environments.name}: an episode did not end within {self._max_steps:,} steps, but whole "
                        "episodes are needed. Set a limit with max_episode_steps (--max-episode-steps), or use an "
                        "algorithm that learns from a fixed number of steps, such as a2c or ppo"
                    )
                record.truncated[-1] = record.truncated[-1] | alive
                self.cut_episodes += int(alive.sum())
                alive = np.zeros_like(alive)
            if self._tick is not None:
                self._tick(int(environments.num_envs - alive.sum()), steps)
        return self._rollout(record)

    def _step(self, record: _Record, valid: Bool) -> Bool:
        """Step all environments and record the valid ones; return [N], True where an episode ended."""
        environments, policy, t = self._environments, self._policy, len(record.reward)
        assert environments.current is not None
        encoded = record.following
        if encoded is None:
            encoded = _encode(policy, environments.current, environments.name, t)
        if self._shaping or self._watch:
            record.raw.append(np.array(environments.current))
        action = self._act(Inputs(encoded), self.noise.peek(1)[0])
        self.noise.advance(1)
        sound = sound_actions(action)
        if not sound.all():
            check_actions(policy, encoded[valid], action[valid])
            # the observation of an idle environment may not allow any action
            action[~sound] = 0
        raw, reward, terminated, truncated = environments.step(policy.environment_actions(action))
        successor = _encode(policy, raw, environments.name, t + 1)
        if self._shaping:
            record.raw_next.append(np.array(raw))
        if environments.ended_info is not None:
            environments.ended_info.add((terminated | truncated) & valid)
        # in most modes and at most steps, the successor is also the next observation to act on
        record.following = successor if environments.current is raw else None
        if record.following is None:
            ended = np.flatnonzero((terminated | truncated) & valid)
            record.final.append(successor[ended])
            record.final_index.append(t * environments.num_envs + ended)
        record.observation.append(encoded)
        record.action.append(action)
        record.reward.append(reward)
        record.terminated.append(terminated & valid)
        record.truncated.append(truncated & ~terminated & valid)
        record.valid.append(valid)
        return terminated | truncated

    def _rollout(self, record: _Record) -> Rollout:
        reward, valid = np.stack(record.reward), np.stack(record.valid)
        terminated, truncated = np.stack(record.terminated), np.stack(record.truncated)
        _check_rewards(reward, valid, self._environments.name)
        original = np.where(valid, reward, 0.0)
        if self._watch:
            raw = np.stack(record.raw)
            # called even without samples: all environments may only have reset themselves
            self._watch(raw[valid].reshape(int(valid.sum()), math.prod(raw.shape[2:])))
        shaped = original
        if self._shaping:
            raws = np.stack(record.raw), np.stack(record.raw_next)
            shaped = shaped_reward(self._shaping, original, *raws, terminated, truncated, valid)
        last = record.following
        if last is None:
            assert self._environments.current is not None
            last = _encode(self._policy, self._environments.current, self._environments.name, len(reward))
        return Rollout(
            rows=np.stack([*record.observation, last]),
            action=np.stack(record.action),
            reward=shaped,
            original_reward=original,
            final_observation=np.concatenate([last[:0], *record.final]),
            final_index=np.concatenate([np.zeros(0, np.int64), *record.final_index]),
            terminated=terminated,
            truncated=truncated,
            valid=valid,
        )


class _Record:
    """The steps recorded so far, with one list entry per step."""

    def __init__(self) -> None:
        self.observation: list[F32] = []
        self.final: list[F32] = []
        self.final_index: list[I64] = []
        self.raw: list[Array] = []
        self.raw_next: list[Array] = []
        self.action: list[Array] = []
        self.reward: list[F64] = []
        self.terminated: list[Bool] = []
        self.truncated: list[Bool] = []
        self.valid: list[Bool] = []
        self.following: F32 | None = None


def shaped_reward(
    shaping: Shaping,
    reward: F64,
    observation: Array,
    next_observation: Array,
    terminated: Bool,
    truncated: Bool,
    valid: Bool,
) -> F64:
    """Return the shaped reward [T, N]; it is 0 in rows that are not samples, which are ignored."""
    shaped = np.zeros_like(reward)
    columns = (reward, observation, next_observation, terminated, truncated)
    shaped[valid] = apply_shaping(shaping, *(column[valid] for column in columns))
    return shaped


def _encode(policy: Policy, raw: Array, name: str, step: int) -> F32:
    with ignored_numpy_errors():
        encoded = policy.encode(raw)
        finite = np.isfinite(encoded.sum(dtype=np.float64))
    if not finite:
        rows = np.flatnonzero(~np.isfinite(encoded).all(1))
        raise NonFiniteError(
            f"{name}: the observation of environment {rows[0]} at step {step} has a NaN or an infinity: "
            f"{np.asarray(raw)[rows[0]]}. Look for the cause in the environment's step or reset"
        )
    return encoded


def _check_rewards(reward: F64, valid: Bool, name: str) -> None:
    bad = np.argwhere(valid & ~np.isfinite(reward))
    if len(bad):
        step, n = bad[0]
        raise NonFiniteError(f"{name}: the reward of environment {n} at step {step} is {reward[step, n]}")
