"""Divides rewards by the running standard deviation of their discounted sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policygrad.policies import Policy
from policygrad.types import F64, Rollout


class RewardScaling:
    """Scales the rewards of successive rollouts by the policy's `RewardScale`, if it has one."""

    def __init__(self, policy: Policy, gamma: float) -> None:
        self._scale = policy.reward_scale
        self._limit = policy.normalization.clip_rewards
        self._gamma = gamma
        self.so_far: F64 = np.zeros(0)
        """[N]: running returns of the episodes in progress; [0] before the first rollout."""

    def __call__(self, rollout: Rollout) -> Rollout:
        """Return the rollout with scaled rewards; the statistics include its own rewards."""
        if self._scale is None:
            return rollout
        N = rollout.valid.shape[1]
        if len(self.so_far) != N:
            self.so_far = np.zeros(N)
        self._scale.add(rollout.reward, rollout.done, rollout.valid, self._gamma, self.so_far)
        reward = np.clip(rollout.reward / self._scale.deviation(), -self._limit, self._limit)
        return replace(rollout, reward=reward)
