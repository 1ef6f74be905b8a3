"""The algorithms. Each is a typed configuration with a loss, which prepares rollouts and learns from them."""

from policygrad.algorithms.a2c import A2C
from policygrad.algorithms.actor_critic import ActorCritic
from policygrad.algorithms.algorithm import (
    ALGORITHMS,
    Algorithm,
    algorithm_class,
    critic_sees_action,
    engine_for,
    name_of,
    register,
)
from policygrad.algorithms.describe import described, loss_of, show
from policygrad.algorithms.natural import TRPO, NaturalGradient
from policygrad.algorithms.ppo import PPO
from policygrad.algorithms.reinforce import Reinforce
from policygrad.algorithms.schedule import linear
from policygrad.algorithms.with_loss import WithLoss
from policygrad.algorithms.with_recipe import WithRecipe

__all__ = [
    "ALGORITHMS",
    "A2C",
    "ActorCritic",
    "Algorithm",
    "NaturalGradient",
    "PPO",
    "Reinforce",
    "TRPO",
    "WithLoss",
    "WithRecipe",
    "algorithm_class",
    "critic_sees_action",
    "described",
    "engine_for",
    "linear",
    "loss_of",
    "show",
    "name_of",
    "register",
]
