"""The classes and functions of the textbook lesson, by their original names: three REINFORCE agents and two loops.

Each is a thin layer over the library. The lesson's training loops run unchanged with these names, about ten times
faster than in plain torch. There are two deliberate differences:

- `REINFORCE.compute_returns` standardizes an episode's returns by the statistics of *recent episodes*, not by the
  episode's own. With its own mean, every episode would look average, whether it was good or bad.
- `REINFORCEWithBaseline` has the methods `compute_returns` and `store_reward`, which such a class needs.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from policygrad._support.threads import single_thread
from policygrad.advantages import returns_to_go
from policygrad.engines import make_engine
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Step, Update
from policygrad.losses import Loss, traced
from policygrad.policies import DiscretePolicy, GaussianPolicy, Policy, ValueNetwork, check_actions
from policygrad.types import F32, F64, Array, Batch, Inputs, Outputs

RECENT_EPISODES = 20
"""Number of episodes whose returns determine the mean and deviation for normalization."""


def plain_loss(s: Any, k: Any) -> Any:
    """Return −T G log π − β H, whose mean over the T steps of an episode is −Σ_t G_t log π(a_t|s_t) − β mean(H)."""
    return -k.T * s.returns * s.log_prob - k.entropy_coef * s.entropy


def baseline_loss(s: Any, k: Any) -> Any:
    """Return −A log π + (V − G)² − β H."""
    return -s.advantage * s.log_prob + (s.value - s.returns) ** 2 - k.entropy_coef * s.entropy


PLAIN, WITH_BASELINE = traced(plain_loss), traced(baseline_loss)


class _EpisodeLearner:
    """Base class of the three agents: stores the states, actions and rewards of one episode, and has an engine."""

    def __init__(
        self, network: nn.Module, state_dim: int, action_space: Any, gamma: float, entropy_coef: float
    ) -> None:
        observation_space = spaces.Box(-np.inf, np.inf, (state_dim,))
        policy = Policy(network, observation_space, action_space)
        self.policy: Any = network
        self.value: ValueNetwork | None = getattr(self, "value", None)
        self.gamma, self.entropy_coef = gamma, entropy_coef
        self.states: list[F32] = []
        self.actions: list[Array] = []
        self.rewards: list[float] = []
        self._engine = make_engine(policy, self.value, "adam")
        self._policy = policy
        # seeded from torch's global generator, so that torch.manual_seed determines the actions, as in plain torch
        seed = torch.randint(2**62, (), dtype=torch.int64, device="cpu")
        self._rng = np.random.default_rng(int(seed.item()))

    def store_reward(self, reward: float) -> None:
        """Store the reward of the last action. `rewards.append(reward)` does the same."""
        self.rewards.append(reward)

    def _choose(self, state: Any) -> Array:
        encoded = self._policy.encode_checked(state)[0]
        action = self._engine.act(Inputs(encoded), self._policy.draw_noise(self._rng, 1))
        check_actions(self._policy, encoded, action)
        self.states.append(encoded)
        self.actions.append(action)
        return action[0]

    def _returns(self) -> F64:
        """Return G_t [T] of the episode up to now."""
        reward = np.array(self.rewards, np.float64)[:, None]
        if len(reward) == 0:
            raise RuntimeError("the episode has no rewards yet: call store_reward after each action")
        if not np.isfinite(reward).all():
            self.states, self.actions, self.rewards = [], [], []
            raise NonFiniteError(f"the episode was discarded because a reward is not finite: {reward[:, 0]}")
        return returns_to_go(reward, np.zeros(reward.shape, np.bool_), self.gamma)[:, 0]

    def _learn(
        self, loss: Loss, columns: dict[str, Array], lr: float, lr_value: float | None = None
    ) -> Outputs:
        """Take one optimizer step on the episode, then discard it."""
        if len(self.rewards) != len(self.actions):
            stored = f"there are {len(self.actions)} actions but {len(self.rewards)} rewards"
            raise RuntimeError(f"{stored}: store one reward per action")
        learned = {name: column.astype(np.float32) for name, column in columns.items()}
        batch = Batch(Inputs(np.concatenate(self.states)), np.concatenate(self.actions), learned)
        with single_thread():
            coefficients = {"T": len(batch), "entropy_coef": self.entropy_coef}
            outputs = self._engine.update(Update(batch, loss, coefficients, Step(lr, lr_value)))
        self.states, self.actions, self.rewards = [], [], []
        return outputs


class _PlainLearner(_EpisodeLearner):
    """Learns along Σ_t G_t ∇ log π(a_t|s_t), with G normalized over recent episodes."""

    def __init__(
        self, network: nn.Module, state_dim: int, action_space: Any, lr: float, gamma: float, entropy_coef: float
    ) -> None:  # fmt: skip
        super().__init__(network, state_dim, action_space, gamma, entropy_coef)
        self.lr = lr
        self._recent: deque[F64] = deque(maxlen=RECENT_EPISODES - 1)

    def compute_returns(self) -> Tensor:
        """Return discounted returns [T] float32, standardized by the mean and deviation over recent episodes."""
        returns = self._returns()
        recent = np.concatenate([*self._recent, returns])
        return torch.from_numpy(((returns - recent.mean()) / (recent.std() + 1e-8)).astype(np.float32))

    def _update(self) -> float:
        raw, returns = self._returns(), self.compute_returns().numpy()
        outputs = self._learn(PLAIN, {"returns": returns}, self.lr)
        self._recent.append(raw)
        return -float(np.sum(outputs.log_prob * returns, dtype=np.float64))


class REINFORCE(_PlainLearner):
    """Monte Carlo policy gradient with a softmax policy and one update per episode.

    Args:
        state_dim: size of a state.
        action_dim: number of actions.
        lr: learning rate of Adam.
        gamma: discount factor.
        entropy_coef: weight β of the entropy, which is subtracted from the loss. The losses that `update` returns
            leave it out.
    """

    def __init__(
        self, state_dim: int, action_dim: int, lr: float = 1e-3, gamma: float = 0.99, entropy_coef: float = 0.0
    ) -> None:  # fmt: skip
        policy, choices = DiscretePolicy(state_dim, action_dim), spaces.Discrete(action_dim)
        super().__init__(policy, state_dim, choices, lr, gamma, entropy_coef)

    def choose_action(self, state: Any) -> int:
        """Sample an action for a state [state_dim]."""
        return int(self._choose(state))

    def update(self) -> float:
        """Learn from the episode and discard it. Return the loss −Σ_t G_t log π(a_t|s_t)."""
        return self._update()


class ContinuousREINFORCE(_PlainLearner):
    """`REINFORCE` with a Gaussian policy. The arguments are the same, but `action_dim` is the size of an action."""

    def __init__(
        self, state_dim: int, action_dim: int, lr: float = 1e-3, gamma: float = 0.99, entropy_coef: float = 0.0
    ) -> None:  # fmt: skip
        policy, box = GaussianPolicy(state_dim, action_dim), spaces.Box(-np.inf, np.inf, (action_dim,))
        super().__init__(policy, state_dim, box, lr, gamma, entropy_coef)

    def choose_action(self, state: Any) -> Array:
        """Sample an action [action_dim] for a state [state_dim]. The caller must clip it to the environment's box."""
        return self._choose(state)

    def update(self) -> None:
        """Learn from the episode and discard it."""
        self._update()


class REINFORCEWithBaseline(_EpisodeLearner):
    """REINFORCE with a learned baseline V(s): the advantage is G_t − V(s_t).

    Args:
        state_dim, action_dim, gamma, entropy_coef: as in `REINFORCE`.
        lr_policy: learning rate of Adam for the policy.
        lr_value: learning rate of Adam for V(s).
    """

    def __init__(
        self, state_dim: int, action_dim: int, lr_policy: float = 1e-3, lr_value: float = 1e-3, gamma: float = 0.99,
        entropy_coef: float = 0.0,
    ) -> None:  # fmt: skip
        self.value = ValueNetwork(state_dim)
        policy, choices = DiscretePolicy(state_dim, action_dim), spaces.Discrete(action_dim)
        super().__init__(policy, state_dim, choices, gamma, entropy_coef)
        self.lr_policy, self.lr_value = lr_policy, lr_value

    def choose_action(self, state: Any) -> int:
        """Sample an action for a state [state_dim]."""
        return int(self._choose(state))

    def compute_returns(self) -> Tensor:
        """Return discounted returns [T] float32 without normalization."""
        return torch.from_numpy(self._returns().astype(np.float32))

    def update(self) -> tuple[float, float]:
        """Learn from the episode and discard it. Return the losses −mean((G − V) log π) and mean((V − G)²)."""
        returns = self._returns().astype(np.float32)
        value = self._engine.values(Inputs(np.concatenate(self.states)))
        advantage = returns - value
        columns = {"advantage": advantage, "returns": returns}
        outputs = self._learn(WITH_BASELINE, columns, self.lr_policy, self.lr_value)
        policy_loss = -float(np.mean(outputs.log_prob * advantage, dtype=np.float64))
        return policy_loss, float(np.mean((value - returns) ** 2, dtype=np.float64))


def train_reinforce(
    env_name: str = "CartPole-v1", n_episodes: int = 1000, seed: int | None = None
) -> tuple[REINFORCE, list[float]]:
    """Train REINFORCE on an environment with Discrete actions, and print the mean score every 100 episodes.

    Args:
        env_name: a Gymnasium id.
        n_episodes: number of episodes.
        seed: seed of the environment and, through `torch.manual_seed`, of the agent; None leaves both random.

    Returns:
        The agent, and the undiscounted return of each episode.
    """
    env, state_dim = _open(env_name, seed)
    if not isinstance(env.action_space, spaces.Discrete):
        raise ValueError(f"{env_name} has continuous actions: use train_continuous")
    agent = REINFORCE(state_dim, int(env.action_space.n))
    scores: list[float] = []
    for episode in range(n_episodes):
        scores.append(_episode(env, agent, seed if episode == 0 else None))
        if (episode + 1) % 100 == 0:
            print(f"episode {episode + 1}: mean score of the last 100 {np.mean(scores[-100:]):.2f}")
    return agent, scores


def train_continuous(
    env_name: str = "MountainCarContinuous-v0", n_episodes: int = 500, seed: int | None = None
) -> tuple[ContinuousREINFORCE, list[float]]:
    """Train REINFORCE with a Gaussian policy, and print the return of every 50th episode.

    This fails on the default environment: the policy learns to do nothing. Every action has a cost, and random actions
    almost never reach the goal, which is the only reward. `docs/limits.md` explains this in detail, and
    `policygrad train MountainCarContinuous-v0` uses settings that help. Arguments and results: as in `train_reinforce`.
    """
    env, state_dim = _open(env_name, seed)
    if not isinstance(env.action_space, spaces.Box):
        raise ValueError(f"{env_name} has discrete actions: use train_reinforce")
    agent = ContinuousREINFORCE(state_dim, int(np.prod(env.action_space.shape)))
    scores: list[float] = []
    for episode in range(n_episodes):
        scores.append(_episode(env, agent, seed if episode == 0 else None))
        if (episode + 1) % 50 == 0:
            print(f"episode {episode + 1}: return {scores[-1]:.2f}")
    return agent, scores


def compute_entropy(probs: Tensor) -> Tensor:
    """Return the mean over states of H = −Σ_a π(a|s) log π(a|s) in nats, from probabilities [..., n]; 0 log 0 is 0.

    >>> compute_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).item()
    0.3465735912322998
    """
    return torch.special.entr(probs).sum(dim=-1).mean()


def shape_reward(reward: float, state: Any, next_state: Any, done: bool) -> float:
    """Return the reward plus 0.1 per unit moved along the first axis, and plus 100 if the episode ends with a reward.

    Unlike potential-based shaping, this changes which policy is optimal: here, moving back and forth is rewarded.

    >>> shape_reward(1.0, [0.0], [0.5], False)
    1.05
    """
    bonus = 100.0 if done and reward > 0 else 0.0
    return float(reward + 0.1 * abs(next_state[0] - state[0]) + bonus)


def _open(env_name: str, seed: int | None) -> tuple[gym.Env[Any, Any], int]:
    if seed is not None:
        torch.manual_seed(seed)
    env: gym.Env[Any, Any] = gym.make(env_name)
    return env, int(np.prod(env.observation_space.shape or (1,)))


def _episode(env: gym.Env[Any, Any], agent: REINFORCE | ContinuousREINFORCE, seed: int | None) -> float:
    """Run one episode and the update after it, and return the undiscounted return."""
    state, _ = env.reset(seed=seed)
    total, done = 0.0, False
    while not done:
        action = agent.choose_action(state)
        if isinstance(env.action_space, spaces.Box):
            action = np.clip(action, env.action_space.low, env.action_space.high)
        state, reward, terminated, truncated, _ = env.step(action)
        agent.store_reward(float(reward))
        total += float(reward)
        done = terminated or truncated
    agent.update()
    return total
