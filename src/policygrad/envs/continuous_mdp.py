"""Markov decision processes with a finite number of states and one continuous action."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from gymnasium import spaces

from policygrad.envs.finite import FiniteMDP, draw_next
from policygrad.envs.finite import kernel as finite_kernel
from policygrad.envs.kernel import Kernel, uniform
from policygrad.types import F64, Array


@dataclass(frozen=True)
class ContinuousMDP:
    """A finite MDP with two actions, which one number in [−1, 1] chooses between.

    The action a, clipped to [−1, 1], takes the second action of `mdp` with probability (1 + a)/2 and the first one
    otherwise, and costs `cost` · a². Everything that is exact for a finite MDP therefore is so here, up to an integral
    over one number.

    Raises:
        ValueError: `mdp` does not have two actions.
    """

    mdp: FiniteMDP
    """The decision process with two actions."""
    cost: float = 0.0
    """Cost of acting, a multiple of a²."""

    def __post_init__(self) -> None:
        if self.mdp.transition.shape[1] != 2 or self.mdp.choices is not None:
            raise ValueError(
                f"a ContinuousMDP needs an MDP with two actions; this one has {self.mdp.transition.shape[1]}"
            )

    @property
    def observation_space(self) -> spaces.Discrete:
        """Discrete space of the observations."""
        return self.mdp.observation_space

    @property
    def action_space(self) -> spaces.Box:
        """The interval [−1, 1]."""
        return spaces.Box(-1.0, 1.0, (1,), np.float32)

    def with_actions(self, actions: F64) -> FiniteMDP:
        """Return the finite MDP whose K actions are these numbers [K]."""
        clipped = np.clip(actions, -1, 1)
        share = np.stack([(1 - clipped) / 2, (1 + clipped) / 2], 1)
        transition = np.einsum("ka,sat->skt", share, self.mdp.transition)
        gained = np.einsum("ka,sat->skt", share, self.mdp.transition * self.mdp.reward)
        reward = np.where(transition > 0, gained / np.where(transition > 0, transition, 1), 0.0)
        return replace(self.mdp, transition=transition, reward=reward - self.cost * clipped[:, None] ** 2)


def finite_part(mdp: FiniteMDP | ContinuousMDP) -> FiniteMDP:
    """Return the finite MDP of a `ContinuousMDP`, or a finite MDP itself."""
    return mdp if isinstance(mdp, FiniteMDP) else mdp.mdp


def kernel(mdp: ContinuousMDP, name: str) -> Kernel:
    """Return a `ContinuousMDP` as a compiled environment. The last number of its state is the cost."""
    finite = finite_kernel(mdp.mdp, name)
    return replace(
        finite, action_space=mdp.action_space, state=np.append(finite.state, mdp.cost), step=_step
    )  # fmt: skip


def _step(state: F64, action: F64, rng: Array) -> tuple[float, bool]:
    clipped = min(max(action[0], -1.0), 1.0)
    reward, terminated = draw_next(state, 1 if uniform(rng, -1.0, 1.0) < clipped else 0, rng)
    return reward - state[len(state) - 1] * clipped * clipped, terminated
