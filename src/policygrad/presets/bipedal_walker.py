"""BipedalWalker-v3: walk over slightly uneven ground without falling. Solved at a mean return of 300."""

from policygrad.algorithms import PPO
from policygrad.policies import Normalization
from policygrad.presets.preset import Preset

PRESETS = {
    "ppo": Preset(
        PPO(
            # as in stable-baselines3's zoo, but with shorter rollouts: 8,192 samples per update
            gamma=0.999,
            horizon=256,
            epochs=10,
            minibatch_size=64,
            clip=0.18,
            learning_rate=0.0003,
            learning_rate_end=0.0,
        ),
        # a fall costs 100, while the reward of a step is less than 1
        normalization=Normalization(normalize_observations=True, normalize_rewards=True),
        num_envs=32,
        # the zoo uses 5,000,000
        steps=2_000_000,
    ),
}
