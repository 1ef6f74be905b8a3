"""Returns and lengths of the episodes that end in a rollout, including those that began in an earlier one."""

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad.types import F64, Bool, Rollout, check_shape


class EpisodeReturns:
    """Computes returns and lengths of episodes, which may continue from one rollout to the next."""

    def __init__(self, num_envs: int) -> None:
        self.so_far: F64 = np.zeros((2, num_envs))
        """[2, N]: returns and lengths so far of the episodes in progress."""

    def of(self, rollout: Rollout, reward: F64) -> tuple[F64, F64]:
        """Return (undiscounted return, length in steps) of each episode that ended, in the order of their ends."""
        done = rollout.done
        # each column has samples up to its only end and none after it; otherwise another episode may have begun there
        whole = done.any(0).all() and done.sum() == done.shape[1]
        whole = whole and np.array_equal(rollout.valid, np.arange(len(done))[:, None] <= done.argmax(0))
        reward = np.ascontiguousarray(reward)
        ended: F64 = np.empty((2, np.count_nonzero(done)))
        if whole and not self.so_far.any():
            # one episode per column, as in Monte Carlo methods; there may be more columns than environments
            add_up_whole(reward, rollout.valid, ended[0], ended[1])
            return ended[0], ended[1]
        returns, lengths = self.so_far
        check_shape("the rollout's reward", reward, (len(reward), len(returns)))
        add_up(reward, rollout.valid, done, returns, lengths, ended[0], ended[1])
        return ended[0], ended[1]


@compiled_when_called
def add_up_whole(reward: F64, valid: Bool, returns: F64, lengths: F64) -> int:
    """Write the return and the length of the episode in each column [T, N], and return their number."""
    T, N = reward.shape
    for n in range(N):
        returns[n] = lengths[n] = 0.0
        for t in range(T):
            returns[n] += reward[t, n]
            lengths[n] += valid[t, n]
    return N


@compiled_when_called
def add_up(
    reward: F64, valid: Bool, done: Bool, so_far: F64, steps_so_far: F64, returns: F64, lengths: F64
) -> int:
    """Continue the running sums [N], write those of the episodes that end, and return their number."""
    e = 0
    for t in range(reward.shape[0]):
        for n in range(reward.shape[1]):
            so_far[n] += reward[t, n]
            steps_so_far[n] += valid[t, n]
            if done[t, n]:
                returns[e], lengths[e] = so_far[n], steps_so_far[n]
                so_far[n], steps_so_far[n] = 0.0, 0.0
                e += 1
    return e
