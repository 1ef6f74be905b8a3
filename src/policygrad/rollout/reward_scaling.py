"""Divides rewards by the running standard deviation of their discounted sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policygrad.policies import Policy
from policygrad.policies.normalization import scale_rewards
from policygrad.types import F64, Rollout


class RewardScaling:
    """Scales the rewards of successive rollouts by the policy's `RewardScale`, if it has one."""

    def __init__(self, policy: Policy, gamma: float) -> None:
        self._scale = policy.reward_scale
        self._limit = policy.normalization.clip_rewards
        self._gamma = gamma
        self.so_far: F64 = np.zeros(0)
        """[N]: running returns of the episodes in progress; [0] before the first rollout."""

    def of(self, N: int) -> F64:
        """Return the running returns of N columns, which begin at 0 if there were others."""
        if len(self.so_far) != N:
            self.so_far = np.zeros(N)
        return self.so_far

    def __call__(self, rollout: Rollout) -> Rollout:
        """Return the rollout with scaled rewards; the statistics include its own rewards."""
        if self._scale is None:
            return rollout
        so_far = self.of(rollout.valid.shape[1])
        self._scale.add(rollout.reward, rollout.done, rollout.valid, self._gamma, so_far)
        reward = np.empty(rollout.reward.shape)
        count, _, squares = self._scale.moments.arrays()
        scale_rewards(np.ascontiguousarray(rollout.reward), count, squares, self._limit, reward)
        return replace(rollout, reward=reward)
