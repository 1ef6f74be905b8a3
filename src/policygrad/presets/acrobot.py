"""Acrobot-v1: swing the tip of a two-link arm up; each step costs 1, an episode is cut after 500."""

from policygrad.algorithms import PPO
from policygrad.policies import Normalization
from policygrad.presets.preset import Preset

PRESETS = {
    "ppo": Preset(
        PPO(
            # the zoo's; a swing is some 80 steps
            gae_lambda=0.94,
            horizon=256,
            epochs=4,
            minibatch_size=64,
        ),
        # velocities are ten times the angles' sines and cosines; returns go from -500 to -80
        normalization=Normalization(normalize_observations=True, normalize_rewards=True),
        num_envs=16,
        # solved after 60,000 to 75,000; the zoo takes 1,000,000
        steps=300_000,
    ),
}
