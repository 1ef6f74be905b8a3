"""CartPole-v1: balance a pole for 500 steps; solved at a mean return of 475."""

from policygrad.algorithms import Reinforce
from policygrad.policies import Network
from policygrad.presets.preset import Preset

PRESETS = {
    "reinforce": Preset(
        Reinforce(
            gamma=0.99,
            baseline="value",
            learning_rate=0.005,
            learning_rate_end=0.0005,
            value_learning_rate=0.01,
            value_steps=4,
        ),
        Network(hidden=(64, 64), activation="tanh"),
        num_envs=8,
        steps=150_000,
    ),
}
