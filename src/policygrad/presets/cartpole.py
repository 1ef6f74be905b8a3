"""CartPole-v1: balance a pole for 500 steps; solved at a mean return of 475."""

from policygrad.algorithms import PPO, Reinforce
from policygrad.policies import Network
from policygrad.presets.preset import Preset

PRESETS = {
    "reinforce": Preset(
        Reinforce(
            # at 0.99 a slow drift to the edge is out of sight: the greedy policy of one seed in ten fell off late
            gamma=0.995,
            # without it the slowest of ten seeds needed twice the steps, and one was not solved in 200,000
            baseline="value",
            # 0.01 is as quick but single seeds fall back; going down keeps what was learned
            learning_rate=0.005,
            learning_rate_end=0.0001,
            # V(s) has to follow returns that grow from 20 to 500 in 50 updates: with 4 steps the slowest seed
            # needed 143,000 steps, with 8 the slowest of 100 needed 131,000
            value_learning_rate=0.01,
            value_steps=8,
        ),
        Network(hidden=(64, 64), activation="tanh"),
        # eight episodes an update: fewer is noisier, more needs more steps
        num_envs=8,
        # twice what the median seed needs until solved
        steps=150_000,
    ),
    "ppo": Preset(
        PPO(
            # stable-baselines3's zoo: short rollouts, many epochs, rate and clip range falling to 0 with the budget
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
