"""What environments did: rewards, actions and observations of N environments over T steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policygrad.types.arrays import F32, F64, I64, Array, Bool, check_shape


@dataclass(frozen=True)
class Rollout:
    """What N environments did over T steps. Rows where `valid` is False are padding, never samples.

    A row (t, n) holds the observation s_t that the policy saw, the action a_t it took there, and the reward r_t that
    this action brought. Each observation is stored once: the one that followed is in the next row, or, where another
    episode begins there, in the table of final observations.
    """

    rows: F32
    """[T + 1, N, D] float32: observations as the networks see them; the last row is what the last step led to."""
    action: Array
    """[T, N] or [T, N, K] int64 counted from 0, or [T, N, K] float32 as sampled, before clipping or squashing."""
    reward: F64
    """[T, N] float64: what is learned from, shaping included."""
    original_reward: F64
    """[T, N] float64: what the environment paid."""
    final_observation: F32
    """[F, D] float32: the last observations of episodes that are not in the next row."""
    final_index: I64
    """[F] int64, rising: t · N + n of the row (t, n) that each of them followed."""
    terminated: Bool
    """[T, N]: the episode ended in a state of no further value."""
    truncated: Bool
    """[T, N]: the episode was cut (a time limit), its last state is like any other."""
    valid: Bool
    """[T, N]: a sample, and not padding."""

    def __post_init__(self) -> None:
        T, N = self.valid.shape
        for name in ("action", "reward", "original_reward", "terminated", "truncated"):
            array: Array = getattr(self, name)
            if array.shape[:2] != (T, N):
                raise ValueError(f"{name} has shape {array.shape}; expected [T, N] = [{T}, {N}] first")
            if name != "action":
                check_shape(name, array, (T, N))
        if self.rows.shape[:2] != (T + 1, N):
            raise ValueError(f"rows has shape {self.rows.shape}; expected [T + 1, N] = [{T + 1}, {N}] first")
        index = self.final_index
        if len(index) and not (index[0] >= 0 and index[-1] < T * N and (np.diff(index) > 0).all()):
            raise ValueError(f"final_index must rise, from 0 or more to below {T * N}; got {index}")
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
        """Return the rollout of steps whose observation and next observation, [T, N, D] each, are given."""
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
        """[T, N, D] float32: what the policy saw at each step."""
        return self.rows[:-1]

    @cached_property
    def next_observation(self) -> F32:
        """[T, N, D] float32: the true successor of each step, also at an episode's end; a copy where episodes end."""
        following = self.rows[1:]
        if len(self.final_index):
            following = following.copy()
            following.reshape(self.valid.size, -1)[self.final_index] = self.final_observation
        return following

    def successors(self, where: Bool) -> F32:
        """[M, D] float32: the true successors of the M steps where [T, N] is True, in their order."""
        t, n = np.nonzero(where)
        found = self.rows[t + 1, n]
        if len(self.final_index):
            index = t * where.shape[1] + n
            place = np.minimum(np.searchsorted(self.final_index, index), len(self.final_index) - 1)
            elsewhere = self.final_index[place] == index
            found[elsewhere] = self.final_observation[place[elsewhere]]
        return found

    @cached_property
    def num_samples(self) -> int:
        """How many rows are samples."""
        return int(self.valid.sum())

    @cached_property
    def done(self) -> Bool:
        """[T, N]: the episode ended here, for either reason."""
        return self.terminated | self.truncated

    @staticmethod
    def side_by_side(rollouts: list[Rollout]) -> Rollout:
        """One rollout whose N axis holds all the given ones, shorter ones padded in time with invalid rows."""
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
            padded = [np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in columns]
            return np.concatenate(padded, axis=1)

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
