"""Policy-gradient reinforcement learning: correct, fast, and a pleasure to read.

>>> import policygrad as pg
>>> run = pg.train("CartPole-v1", "reinforce", seed=0, steps=2_000)
>>> pg.evaluate(run.policy, "CartPole-v1", episodes=10).mean > 0
True
"""

__version__ = "0.1.0"

from policygrad.garbage import collection_paused

with collection_paused():
    from policygrad.agent import Agent
    from policygrad.algorithms import A2C, PPO, TRPO, ActorCritic, NaturalGradient, Reinforce, register
    from policygrad.envs import Kernel, PotentialShaping, elementwise, make
    from policygrad.errors import CheckpointError, EnvironmentFault, NonFiniteError, PolicyFileError
    from policygrad.evaluation import Evaluation, evaluate
    from policygrad.launch import train
    from policygrad.policies import (
        BetaPolicy,
        DiscretePolicy,
        GaussianPolicy,
        GSDEPolicy,
        Network,
        Normalization,
        Policy,
        ValueNetwork,
    )
    from policygrad.policy_file import load, save
    from policygrad.run import Run
    from policygrad.settings import Settings

__all__ = [
    "train",
    "evaluate",
    "load",
    "save",
    "make",
    "Kernel",
    "Reinforce",
    "ActorCritic",
    "A2C",
    "PPO",
    "NaturalGradient",
    "TRPO",
    "register",
    "Network",
    "Normalization",
    "DiscretePolicy",
    "GaussianPolicy",
    "BetaPolicy",
    "GSDEPolicy",
    "ValueNetwork",
    "Policy",
    "Run",
    "Settings",
    "Evaluation",
    "Agent",
    "PotentialShaping",
    "elementwise",
    "EnvironmentFault",
    "NonFiniteError",
    "PolicyFileError",
    "CheckpointError",
]
