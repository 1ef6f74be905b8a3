"""Common settings for all of Gymnasium's MuJoCo tasks. The files of the tasks contain the differences.

The settings are those of tianshou, whose published scores are the best among the libraries that were compared.
"""

from policygrad.algorithms import A2C, PPO, TRPO, Algorithm, NaturalGradient, Reinforce
from policygrad.policies import Network, Normalization
from policygrad.presets.preset import Preset

# positions, angles and speeds differ in scale, and rewards grow by a factor of one hundred as the policy learns
BOTH = Normalization(normalize_observations=True, normalize_rewards=True)
# a standard deviation of 0.6 in boxes from -1 to 1; with 1, a third of the actions would be clipped
NETWORK = Network(hidden=(64, 64), activation="tanh", log_std=-0.5)


def _in_sixteen(algorithm: Algorithm) -> Preset:
    return Preset(algorithm, NETWORK, normalization=BOTH, num_envs=16, steps=1_000_000)


def a2c(entropy_coef: float) -> Preset:
    """Return a preset of A2C with this weight of the entropy bonus, on which the results depend most."""
    return _in_sixteen(
        A2C(
            # 80 samples per update and λ as in tianshou
            horizon=5,
            gae_lambda=0.95,
            learning_rate=0.0007,
            learning_rate_end=0.0,
            entropy_coef=entropy_coef,
        )
    )


def a2c_of_large_batches(learning_rate: float, gamma: float = 0.99) -> Preset:
    """Return a preset of A2C with fewer, more accurate steps, for tasks whose most important samples (falls) are rare.

    If one of 80 samples is a fall, its gradient is so large that clipping removes most of it, and the division by
    RMSprop's running magnitude of gradients removes the rest.
    """
    return _in_sixteen(
        A2C(
            # 1,024 samples per update as in TRPO, and λ as in tianshou
            horizon=64,
            gae_lambda=0.95,
            gamma=gamma,
            optimizer="adam",
            learning_rate=learning_rate,
            learning_rate_end=0.0,
            # V(s) has only one step per update, so the step must be large
            value_learning_rate=0.003,
            max_grad_norm=None,
        )
    )


CLIPPED = PPO(
    # 2,048 samples per update
    horizon=32,
    epochs=10,
    minibatch_size=64,
    learning_rate=0.0003,
    learning_rate_end=0.0,
    # rewards are scaled already
    normalize_advantages="none",
    recompute_advantages=True,
    value_coef=0.25,
)
"""Settings of PPO, unless a task overrides them."""

# 1,024 samples per update and λ as in tianshou. A KL divergence determines the step size, and it is the same for all
# tasks, so few other settings matter
TRUSTED = TRPO(horizon=64, gae_lambda=0.95)
"""Settings of TRPO, unless a task overrides them."""
NATURAL = NaturalGradient(horizon=64, gae_lambda=0.95)
"""Settings of the natural gradient, unless a task overrides them."""

MONTE_CARLO = Reinforce(
    # the rate of tianshou, decreasing to 0
    learning_rate=0.001,
    learning_rate_end=0.0,
    # a third of this and three times as much are equally good on HalfCheetah
    value_learning_rate=0.001,
    # the advantages of the next update are relative to V(s) after this one
    value_steps=10,
)
"""Settings of REINFORCE, unless a task overrides them."""

PRESETS = {
    "ppo": Preset(
        CLIPPED,
        NETWORK,
        normalization=BOTH,
        num_envs=64,
        steps=1_000_000,
    ),
    # the entropy bonus is as in tianshou
    "a2c": a2c(entropy_coef=0.01),
    "trpo": _in_sixteen(TRUSTED),
    "npg": _in_sixteen(NATURAL),
    "reinforce": Preset(
        MONTE_CARLO,
        NETWORK,
        normalization=BOTH,
        # eight whole episodes of up to 1,000 steps are enough for a gradient
        num_envs=8,
        # the budget of tianshou
        steps=3_000_000,
    ),
}
