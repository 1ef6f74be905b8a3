"""Acrobot-v1: swing the tip of a two-link arm up; each step costs 1, an episode is cut after 500."""

from policygrad.algorithms import PPO
from policygrad.policies import Normalization
from policygrad.presets.preset import Preset

PRESETS = {
    "ppo": Preset(
        PPO(
            # the zoo's; a swing is some 80 steps
            gae_lambda=0.94,
            # half the zoo's 256 steps, and three times its rate: some five better, and solved in half the steps
            horizon=128,
            epochs=4,
            minibatch_size=64,
            learning_rate=0.001,
            learning_rate_end=0.0,
        ),
        # velocities are ten times the angles' sines and cosines; returns go from -500 to -80
        normalization=Normalization(normalize_observations=True, normalize_rewards=True),
        num_envs=16,
        # half the zoo's
        steps=500_000,
    ),
}
