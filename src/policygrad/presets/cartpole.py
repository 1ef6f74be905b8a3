"""CartPole-v1: balance a pole for 500 steps. Solved at a mean return of 475."""

from policygrad.algorithms import PPO, Reinforce
from policygrad.policies import Network
from policygrad.presets.preset import Preset

PRESETS = {
    "reinforce": Preset(
        Reinforce(
            # 0.99 is too short-sighted for a slow drift to the edge: one greedy policy of ten left the track late in
            # an episode
            gamma=0.995,
            # without it, the slowest of ten seeds needed twice as many steps, and one was not solved in 200,000
            baseline="value",
            # 0.01 is equally fast, but the returns of some seeds drop again; decreasing the rate prevents this
            learning_rate=0.005,
            learning_rate_end=0.0001,
            # V(s) must follow returns that grow from 20 to 500 in 50 updates. With 4 steps, the slowest seed needed
            # 143,000 environment steps; with 8, the slowest of 100 seeds needed 131,000
            value_learning_rate=0.01,
            value_steps=8,
        ),
        Network(hidden=(64, 64), activation="tanh"),
        # eight episodes per update; fewer are noisier, and more need more steps
        num_envs=8,
        # twice the number of steps after which the median seed is solved
        steps=150_000,
    ),
    "ppo": Preset(
        PPO(
            # as in stable-baselines3's zoo: short rollouts, many epochs, and a learning rate and clip range that
            # decrease to 0
            gamma=0.98,
            gae_lambda=0.8,
            horizon=32,
            epochs=20,
            minibatch_size=256,
            learning_rate=0.001,
            learning_rate_end=0.0,
            clip_end=0.0,
        ),
        num_envs=8,
        # the zoo's budget
        steps=100_000,
    ),
}
