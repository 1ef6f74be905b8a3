"""MountainCar-v0: drive an underpowered car up a hill; each step costs 1, an episode is cut after 200."""

from policygrad.algorithms import PPO
from policygrad.policies import Normalization
from policygrad.presets.preset import Preset

PRESETS = {
    "ppo": Preset(
        PPO(
            # the zoo's: many updates from few steps each, before the goal was ever seen they are cheap
            gae_lambda=0.98,
            horizon=16,
            epochs=4,
            minibatch_size=64,
            # a rate that stays at 0.0003 left two seeds of ten below -120
            learning_rate=0.001,
            learning_rate_end=0.0,
        ),
        # without the deviation of what was seen so far, speeds of 0.07 say nothing beside positions of 1;
        # and V(s) drifting between states that all lead to -200 is what pushes the car to new ones
        normalization=Normalization(normalize_observations=True, normalize_rewards=True),
        num_envs=16,
        # the zoo's budget
        steps=1_000_000,
    ),
}
