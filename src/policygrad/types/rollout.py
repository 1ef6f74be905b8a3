"""Rollouts: the observations, actions and rewards of N environments over T steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policygrad.types.arrays import F32, F64, I64, Array, Bool, check_shape


@dataclass(frozen=True)
class Rollout:
    """T steps of N environments. Rows where `valid` is False are padding, never samples.

    Row (t, n) contains the observation s_t that the policy saw, the action a_t that it took, and the reward r_t of
    this action. Each observation is stored once: the one that followed is in the next row or, if another episode
    begins there, in the table of final observations.
    """

    rows: F32
    """[T + 1, N, D] float32: observations as the networks see them. The last row follows the last step."""
    action: Array
    """[T, N] or [T, N, K] int64 counted from 0, or [T, N, K] float32 as sampled, before clipping or squashing."""
    reward: F64
    """[T, N] float64: rewards that are learned from, including shaping."""
    original_reward: F64
    """[T, N] float64: rewards as the environment returned them."""
    final_observation: F32
    """[F, D] float32: final observations of episodes, those that are not in the next row."""
    final_index: I64
    """[F] int64, increasing: t · N + n of the row (t, n) that each final observation followed."""
    terminated: Bool
    """[T, N]: True if the episode ended in a state without further value."""
    truncated: Bool
    """[T, N]: True if the episode was cut off, for example by a time limit. Its last state is like any other state."""
    valid: Bool
    """[T, N]: True for samples, False for padding."""

    def __post_init__(self) -> None:
        T, N = self.valid.shape
        for name in ("action", "reward", "original_reward", "terminated", "truncated"):
            array: Array = getattr(self, name)
            if array.shape[:2] != (T, N):
                raise ValueError(
                    f"{name} has shape {array.shape}; expected its first axes to be [T, N] = [{T}, {N}]"
                )
            if name != "action":
                check_shape(name, array, (T, N))
        if self.rows.shape[:2] != (T + 1, N):
            raise ValueError(
                f"rows has shape {self.rows.shape}; expected its first axes to be [T + 1, N] = [{T + 1}, {N}]"
            )
        index = self.final_index
        if len(index) and not (index[0] >= 0 and index[-1] < T * N and (np.diff(index) > 0).all()):
            raise ValueError(f"final_index must be strictly increasing, within 0 to {T * N - 1}; got {index}")
        check_shape(
            "final_observation", self.final_observation, (len(self.final_index), *self.rows.shape[2:])
        )

    @staticmethod
    def from_pairs(
        observation: F32,
        action: Array,
        reward: F64,
        original_reward: F64,
        next_observation: F32,
        terminated: Bool,
        truncated: Bool,
        valid: Bool,
    ) -> Rollout:
        """Return a rollout, given the observation and the next observation of each step, [T, N, D] each."""
        elsewhere = np.any(next_observation[:-1] != observation[1:], axis=2)
        return Rollout(
            rows=np.concatenate([observation, next_observation[-1:]]),
            action=action,
            reward=reward,
            original_reward=original_reward,
            final_observation=next_observation[:-1][elsewhere],
            final_index=np.flatnonzero(elsewhere),
            terminated=terminated,
            truncated=truncated,
            valid=valid,
        )

    @property
    def observation(self) -> F32:
        """[T, N, D] float32: observation that the policy saw at each step."""
        return self.rows[:-1]

    @cached_property
    def next_observation(self) -> F32:
        """[T, N, D] float32: true successor of each step, even at the end of an episode; a copy if episodes end."""
        following = self.rows[1:]
        if len(self.final_index):
            following = following.copy()
            following.reshape(self.valid.size, -1)[self.final_index] = self.final_observation
        return following

    def successors(self, where: Bool) -> F32:
        """Return the true successors [M, D] float32 of the M steps where the mask [T, N] is True, in their order."""
        t, n = np.nonzero(where)
        following = self.rows[t + 1, n]
        if len(self.final_index):
            index = t * where.shape[1] + n
            position = np.minimum(np.searchsorted(self.final_index, index), len(self.final_index) - 1)
            elsewhere = self.final_index[position] == index
            following[elsewhere] = self.final_observation[position[elsewhere]]
        return following

    @cached_property
    def num_samples(self) -> int:
        """Number of rows that are samples."""
        return int(self.valid.sum())

    @cached_property
    def done(self) -> Bool:
        """[T, N]: True if the episode ended at this step, for either reason."""
        return self.terminated | self.truncated

    @staticmethod
    def side_by_side(rollouts: list[Rollout]) -> Rollout:
        """Join rollouts along the N axis; shorter ones are padded in time with invalid rows."""
        if len(rollouts) == 1:
            return rollouts[0]
        T = max(rollout.valid.shape[0] for rollout in rollouts)
        N = sum(rollout.valid.shape[1] for rollout in rollouts)
        index, first = list[I64](), 0
        for rollout in rollouts:
            t, n = np.divmod(rollout.final_index, rollout.valid.shape[1])
            index.append(t * N + first + n)
            first += rollout.valid.shape[1]
        final_index = np.concatenate(index)
        order = np.argsort(final_index)

        def join(name: str, length: int = T) -> Array:
            columns: list[Array] = [getattr(rollout, name) for rollout in rollouts]
            if len({len(x) for x in columns}) > 1:
                columns = [np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in columns]
            return np.concatenate(columns, axis=1)

        return Rollout(
            rows=join("rows", T + 1),
            action=join("action"),
            reward=join("reward"),
            original_reward=join("original_reward"),
            final_observation=np.concatenate([rollout.final_observation for rollout in rollouts])[order],
            final_index=final_index[order],
            terminated=join("terminated"),
            truncated=join("truncated"),
            valid=join("valid"),
        )
