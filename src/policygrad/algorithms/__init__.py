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
from policygrad.algorithms.natural import TRPO, NaturalGradient
from policygrad.algorithms.ppo import PPO
from policygrad.algorithms.reinforce import Reinforce

__all__ = [
    "ALGORITHMS",
    "A2C",
    "ActorCritic",
    "Algorithm",
    "NaturalGradient",
    "PPO",
    "Reinforce",
    "TRPO",
    "algorithm_class",
    "critic_sees_action",
    "name_of",
    "register",
]
