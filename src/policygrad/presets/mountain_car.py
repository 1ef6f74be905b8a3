"""MountainCar-v0: drive an underpowered car up a hill. Each step costs 1, and episodes are truncated after 200."""

from policygrad.algorithms import PPO
from policygrad.policies import Normalization
from policygrad.presets.preset import Preset

PRESETS = {
    "ppo": Preset(
        PPO(
            # as in stable-baselines3's zoo: many updates with few steps each, which are cheap until the goal is found
            gae_lambda=0.98,
            horizon=16,
            epochs=4,
            minibatch_size=64,
            # with a constant rate of 0.0003, two of ten seeds stayed below -120
            learning_rate=0.001,
            learning_rate_end=0.0,
        ),
        # unless observations are normalized, speeds of up to 0.07 have no effect next to positions of about 1. Before
        # the goal is found, all returns are -200, and the drift of V(s) between states drives the car to new ones
        normalization=Normalization(normalize_observations=True, normalize_rewards=True),
        num_envs=16,
        # the zoo's budget
        steps=1_000_000,
    ),
}
