"""Exercise `score`: the gradient of log π.

All policy gradients contain the score, which is the gradient of log π(a|s) with respect to the parameters of the
policy. It says in which direction the parameters must move so that the action a becomes more likely. Write it for two
policies, in closed form and with NumPy only.

1. A softmax policy has one logit z_i per action, and π_i = exp(z_i) / Σ_j exp(z_j). Differentiate log π_a with respect
   to each of the logits. The logits may be large, such as 1000, and the result must still be finite.
2. A Gaussian policy has a mean μ and the logarithm of its standard deviation, log σ. Its density is

       π(a) = exp(−(a − μ)² / (2σ²)) / (σ √(2π))

   Differentiate log π(a) with respect to μ, and with respect to log σ (which is not the same as with respect to σ).

Grade your work with `policygrad exercise check score.py`.
"""

import numpy as np

EXERCISE = "score"


def log_prob_gradient(logits: np.ndarray, action: int) -> np.ndarray:
    """Return the derivatives of log π(action) with respect to the logits of a softmax.

    Args:
        logits: [A] float64, one per action.
        action: the action that was taken, from 0 to A − 1.

    Returns:
        [A] float64.
    """
    raise NotImplementedError("Write the gradient of log π of a softmax policy here.")


def gaussian_log_prob_gradient(
    action: np.ndarray, mu: np.ndarray, log_sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of log π(action) of a Gaussian with respect to μ and to log σ.

    Args:
        action, mu, log_sigma: [B] float64, one of each per sample.

    Returns:
        Two arrays [B] float64: (∂/∂μ log π, ∂/∂log σ log π).
    """
    raise NotImplementedError("Write the two derivatives of log π of a Gaussian policy here.")
