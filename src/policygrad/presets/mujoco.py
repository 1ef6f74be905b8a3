"""What all of Gymnasium's MuJoCo tasks begin from; their own files say where they differ.

The settings are tianshou's, whose published scores are the best of the libraries that were compared.
"""

from policygrad.algorithms import A2C, PPO, TRPO, Algorithm, NaturalGradient, Reinforce
from policygrad.policies import Network, Normalization
from policygrad.presets.preset import Preset

# positions, angles and speeds are of all sizes, and rewards grow a hundredfold as the policy learns
BOTH = Normalization(normalize_observations=True, normalize_rewards=True)
# a standard deviation of 0.6 in boxes of -1 to 1: at 1 a third of the actions would be clipped
NETWORK = Network(hidden=(64, 64), activation="tanh", log_std=-0.5)


def _in_sixteen(algorithm: Algorithm) -> Preset:
    return Preset(algorithm, NETWORK, normalization=BOTH, num_envs=16, steps=1_000_000)


def a2c(entropy_coef: float) -> Preset:
    """A2C with this weight of the entropy bonus, on which its tasks depend most."""
    return _in_sixteen(
        A2C(
            # 80 samples an update, and λ, are tianshou's
            horizon=5,
            gae_lambda=0.95,
            learning_rate=0.0007,
            learning_rate_end=0.0,
            entropy_coef=entropy_coef,
        )
    )


def a2c_of_large_batches(learning_rate: float, gamma: float = 0.99) -> Preset:
    """A2C with fewer and surer steps, for tasks where what matters most is rare among the samples: a fall.

    Of 80 samples one that is of a fall has a gradient so large that clipping takes most of it away, and RMSprop's
    running size of gradients the rest.
    """
    return _in_sixteen(
        A2C(
            # 1,024 samples an update, as TRPO has them; λ is tianshou's
            horizon=64,
            gae_lambda=0.95,
            gamma=gamma,
            optimizer="adam",
            learning_rate=learning_rate,
            learning_rate_end=0.0,
            # one step of V(s) an update: it has to be a long one
            value_learning_rate=0.003,
            max_grad_norm=None,
        )
    )


CLIPPED = PPO(
    # 2,048 samples an update
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
"""PPO, as far as no task says otherwise."""

# 1,024 samples an update, and λ, are tianshou's. The step's length is a KL, the same on every task, so there is little
# else to choose
TRUSTED = TRPO(horizon=64, gae_lambda=0.95)
"""TRPO, likewise."""
NATURAL = NaturalGradient(horizon=64, gae_lambda=0.95)
"""The natural gradient, likewise."""

MONTE_CARLO = Reinforce(
    # tianshou's rate, falling to 0
    learning_rate=0.001,
    learning_rate_end=0.0,
    # a third of it and three times as much are as good on HalfCheetah
    value_learning_rate=0.001,
    # V(s) of the last update is what the next one's advantages are measured against
    value_steps=10,
)
"""REINFORCE, likewise."""

PRESETS = {
    "ppo": Preset(
        CLIPPED,
        NETWORK,
        normalization=BOTH,
        num_envs=64,
        steps=1_000_000,
    ),
    # the bonus is tianshou's
    "a2c": a2c(entropy_coef=0.01),
    "trpo": _in_sixteen(TRUSTED),
    "npg": _in_sixteen(NATURAL),
    "reinforce": Preset(
        MONTE_CARLO,
        NETWORK,
        normalization=BOTH,
        # whole episodes of up to 1,000 steps: eight are enough for a gradient
        num_envs=8,
        # tianshou's budget
        steps=3_000_000,
    ),
}
