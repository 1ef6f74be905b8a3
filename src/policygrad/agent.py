"""An agent for your own interaction loop, with anything that is not a Gymnasium environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from torch import nn

from policygrad._support.isolation import default_numpy_errors
from policygrad._support.seeding import stream
from policygrad._support.threads import single_thread
from policygrad.algorithms import Algorithm, algorithm_class, critic_sees_action
from policygrad.engines import EngineName, make_engine
from policygrad.envs.contract import as_flag, as_reward
from policygrad.errors import NonFiniteError
from policygrad.policies import Network, check_actions, make_policy, make_value
from policygrad.spaces import Space
from policygrad.types import F32, Array, Inputs, LearnerState, Rollout


@dataclass
class _Episode:
    """Data of one episode. Between `act` and `observe`, `successors` is one entry shorter than `observations`."""

    observations: list[F32] = field(default_factory=list[F32])
    actions: list[Array] = field(default_factory=list[Array])
    rewards: list[float] = field(default_factory=list[float])
    successors: list[F32] = field(default_factory=list[F32])


class Agent:
    """Acts, observes, and learns when its methods are called.

    >>> from gymnasium import spaces
    >>> agent = Agent(spaces.Discrete(2), spaces.Discrete(2), seed=0)
    >>> for coin in (0, 1, 1, 0):
    ...     action = agent.act(coin)
    ...     agent.observe(float(action == coin), next_observation=0, terminated=True)
    >>> sorted(agent.update())[:2]
    ['entropy', 'explained_variance']

    Args:
        observation_space, action_space: the spaces of observations and actions.
        algorithm: a name or a configuration. Here, every algorithm learns from whole episodes; `horizon` is ignored.
        seed: seed of the weights and the actions.
        network, policy, value, engine: as in `train`.
        steps: number of steps over which schedules run; without it, they keep their initial values.
    """

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        algorithm: str | Algorithm = "reinforce",
        *,
        seed: int = 0,
        network: Network | None = None,
        policy: nn.Module | None = None,
        value: nn.Module | None = None,
        engine: EngineName = "auto",
        steps: int | None = None,
    ) -> None:
        self.algorithm = algorithm_class(algorithm)() if isinstance(algorithm, str) else algorithm
        network, rng = network or Network(), stream(seed, "init")
        if getattr(self.algorithm, "learns_online", False):
            raise ValueError(
                f"{type(self.algorithm).__name__} learns from each step as it happens, but an Agent learns from whole "
                "episodes. Use another algorithm, or policygrad.train."
            )
        self.policy = make_policy(observation_space, action_space, network, rng, given=policy)
        if self.policy.reward_scale is not None or self.policy.observation_moments is not None:
            raise ValueError(
                "this policy keeps running statistics, which an Agent does not update. Continue its training with "
                "policygrad.train(policy=...)."
            )
        self.value = make_value(
            self.policy,
            network,
            rng,
            given=value,
            wanted=self.algorithm.uses_value,
            sees_action=critic_sees_action(self.algorithm),
        )
        self._engine = make_engine(self.policy, self.value, self.algorithm.optimizer, engine)
        self._rng = stream(seed, "action")
        self._learner = LearnerState(stream(seed, "shuffle"))
        self._budget = steps
        self._used = 0
        self._current = _Episode()
        self._finished: list[Rollout] = []

    def act(self, observation: Any) -> Any:
        """Sample an action for an observation of the environment.

        Raises:
            RuntimeError: the result of the previous action has not been observed yet.
            ValueError: the observation does not have the shape of the space.
            NonFiniteError: the observation has a NaN or an infinity, or no action can be chosen.
        """
        episode = self._current
        if len(episode.actions) > len(episode.rewards):
            raise RuntimeError("act was called twice: first call observe with the result of the last action")
        encoded, single = self.policy.encode_checked(observation)
        if not single:
            raise ValueError(f"act takes one observation of {self.policy.observation_space}; got several")
        action = self._engine.act(Inputs(encoded), self.policy.draw_noise(self._rng, 1))
        check_actions(self.policy, encoded, action)
        episode.observations.append(encoded)
        episode.actions.append(action)
        given = self.policy.environment_actions(action)[0]
        return int(given) if isinstance(self.policy.action_space, spaces.Discrete) else given

    def observe(
        self, reward: float, next_observation: Any, terminated: bool = False, truncated: bool = False
    ) -> None:
        """Record the result of the last action: its reward, the next observation, and whether the episode has ended.

        Raises:
            RuntimeError: there was no action since the last call.
            ValueError, NonFiniteError: the observation has the wrong shape, or a number is not finite.
        """
        episode = self._current
        if len(episode.actions) == len(episode.rewards):
            raise RuntimeError("observe was called without an action: call act first")
        reward = as_reward(reward, "observe")
        terminated, truncated = (
            as_flag(flag, name, "observe")
            for flag, name in ((terminated, "terminated"), (truncated, "truncated"))
        )
        if not np.isfinite(reward):
            raise NonFiniteError(f"the reward is {reward}; expected a finite number")
        successor, single = self.policy.encode_checked(next_observation)
        if not single:
            raise ValueError(f"observe takes one observation of {self.policy.observation_space}; got several")
        episode.successors.append(successor)
        episode.rewards.append(reward)
        if terminated or truncated:
            self._finished.append(episode_rollout(episode.observations, episode.actions, episode.rewards,
                                                  episode.successors, terminated=terminated))  # fmt: skip
            self._current = _Episode()

    def update(self) -> dict[str, float]:
        """Learn from all episodes that have ended since the last update. An unfinished episode continues.

        Returns:
            The metrics of the update: see `metrics.METRICS`.

        Raises:
            RuntimeError: no episode has ended since the last update.
        """
        if not self._finished:
            raise RuntimeError("no episode has finished since the last update: first observe one to its end")
        rollout = Rollout.side_by_side(self._finished)
        self._learner.progress = self._used / self._budget if self._budget else 0.0
        with single_thread(), default_numpy_errors():
            metrics = self.algorithm.learn(self._engine, rollout, self._learner)
        self._finished = []
        self._used += rollout.num_samples
        return metrics


def episode_rollout(
    observations: list[F32],
    actions: list[Array],
    rewards: list[float],
    successors: list[F32],
    *,
    terminated: bool,
) -> Rollout:
    """Return one whole episode as a rollout [T, 1], from lists of T rows [1, ...] each."""
    T = len(rewards)
    reward = np.array(rewards, np.float64)[:, None]
    last = (np.arange(T) == T - 1)[:, None]
    return Rollout.from_pairs(
        observation=np.stack(observations),
        action=np.stack(actions),
        reward=reward,
        original_reward=reward,
        next_observation=np.stack(successors),
        terminated=last & terminated,
        truncated=last & (not terminated),
        valid=np.ones((T, 1), np.bool_),
    )
