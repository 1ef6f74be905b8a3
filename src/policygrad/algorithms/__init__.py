"""The algorithms: each a typed configuration, what it takes from a rollout, and its three numbers a sample."""

from policygrad.algorithms.a2c import A2C
from policygrad.algorithms.actor_critic import ActorCritic
from policygrad.algorithms.algorithm import (
    ALGORITHMS,
    Algorithm,
    algorithm_class,
    critic_sees_action,
    name_of,
    register,
)
from policygrad.algorithms.ppo import PPO
from policygrad.algorithms.reinforce import Reinforce

__all__ = [
    "A2C",
    "ALGORITHMS",
    "PPO",
    "Algorithm",
    "Reinforce",
    "ActorCritic",
    "algorithm_class",
    "critic_sees_action",
    "name_of",
    "register",
]
