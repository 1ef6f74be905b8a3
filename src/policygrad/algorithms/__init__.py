"""The algorithms: each a typed configuration, what it takes from a rollout, and its three numbers a sample."""

from policygrad.algorithms.a2c import A2C
from policygrad.algorithms.algorithm import ALGORITHMS, Algorithm, algorithm_class, name_of, register
from policygrad.algorithms.ppo import PPO
from policygrad.algorithms.reinforce import Reinforce

__all__ = ["A2C", "ALGORITHMS", "PPO", "Algorithm", "Reinforce", "algorithm_class", "name_of", "register"]
