"""BipedalWalker-v3: walk over gentle ground without falling; solved at a mean return of 300."""

from policygrad.algorithms import PPO
from policygrad.policies import Normalization
from policygrad.presets.preset import Preset

PRESETS = {
    "ppo": Preset(
        PPO(
            # the zoo's, with shorter rollouts: 8,192 samples an update
            gamma=0.999,
            horizon=256,
            epochs=10,
            minibatch_size=64,
            clip=0.18,
            learning_rate=0.0003,
            learning_rate_end=0.0,
        ),
        # a fall costs 100, a step of the way less than 1
        normalization=Normalization(normalize_observations=True, normalize_rewards=True),
        num_envs=32,
        # the zoo takes 5,000,000
        steps=2_000_000,
    ),
}
