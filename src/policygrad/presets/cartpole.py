"""CartPole-v1: balance a pole for 500 steps; solved at a mean return of 475."""

from policygrad.algorithms import Reinforce
from policygrad.policies import Network
from policygrad.presets.preset import Preset

PRESETS = {
    "reinforce": Preset(
        Reinforce(
            # an episode is at most 500 steps, and a fall is decided within some 100
            gamma=0.99,
            # against no baseline: the slowest of ten seeds needs about half the steps
            baseline="value",
            # 0.01 is as quick, but its greedy policy missed 490 on some seeds; falling to a tenth keeps it there
            learning_rate=0.005,
            learning_rate_end=0.0005,
            # V(s) has to follow returns that grow from 20 to 500 in 50 updates
            value_learning_rate=0.01,
            value_steps=4,
        ),
        Network(hidden=(64, 64), activation="tanh"),
        # eight episodes an update: fewer is noisier, more needs more steps
        num_envs=8,
        # twice what the median seed needs until solved
        steps=150_000,
    ),
}
