"""The distribution that a network's outputs describe, as compiled code sees it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad._support.function_pointers import ADDRESS
from policygrad.engines.signatures import MATRIX, SIZES, VECTOR
from policygrad.types import I64

NO_CHOICES: I64 = np.zeros(0, np.int64)


class Head(NamedTuple):
    """A distribution over actions. It has only one array, because each array adds 0.3 µs to every call."""

    sizes: I64
    """[K]: number of alternatives of each choice; empty for other distributions."""
    greedy: bool = False
    """True if `sample` returns the mode."""
    squashed: bool = False
    """True if a Gaussian is squashed into the box by tanh."""
    per_state: bool = False
    """True if a Gaussian's log σ are outputs after its means, as `middle` + `half` · tanh(output / `half`)."""
    middle: float = 0.0
    half: float = 1.0
    log_volume: float = 0.0
    """Log volume of the map from stored actions to the box.

    It is Σ log((high − low)/2) for tanh, and Σ log(high − low) for a Beta."""
    inverse: int = 0
    """Address of SciPy's `betaincinv`."""
    sample: int = 0
    """Address of the distribution's `sample`; `evaluate` and `differentiate` are those of the next two functions."""
    evaluate: int = 0
    differentiate: int = 0


HEAD: Any = types.NamedTuple(
    [
        SIZES, types.boolean, types.boolean, types.boolean,
        types.float64, types.float64, types.float64, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
    ],
    Head,
)  # fmt: skip

NOISE: Any = types.float64[:, ::1]
SAMPLE: Any = types.void(HEAD, MATRIX, MATRIX, VECTOR, NOISE, MATRIX)
"""sample(head, outputs, hidden, log_std, noise, action)

Writes actions to `action`, from noise [B, ·] that `Policy.draw_noise` has drawn, or greedily.
"""
EVALUATE: Any = types.void(HEAD, MATRIX, MATRIX, VECTOR, MATRIX, VECTOR, VECTOR)
"""evaluate(head, outputs, hidden, log_std, action, log_prob, entropy)

Writes log π(a|s) and H(π(·|s)), [B] each, and leaves in `outputs` what `differentiate` needs.
"""
DIFFERENTIATE: Any = types.void(HEAD, MATRIX, MATRIX, VECTOR, MATRIX, VECTOR, VECTOR, VECTOR, VECTOR)
"""differentiate(head, outputs, hidden, log_std, action, entropy, d_log_prob, d_entropy, log_std_slope)

Writes ∂L/∂output over what `evaluate` left in `outputs`, and adds ∂L/∂log σ to `log_std_slope`. `d_log_prob` is
∂L/∂log π and `d_entropy` is ∂L/∂H, [B] each.
"""
FISHER: Any = types.void(HEAD, MATRIX, MATRIX, MATRIX, VECTOR, VECTOR, types.float32, VECTOR)
"""apply_fisher(head, outputs, hidden, rate, log_std, log_std_rate, scale, log_std_slope)

Writes M ż times `scale` over the outputs z, where M is the distribution's Fisher matrix in z and ż is `rate`. If log σ
are parameters, their part of the product is added to `log_std_slope`.
"""
DESCRIBE: Any = types.void(HEAD, MATRIX, MATRIX, VECTOR, MATRIX)
"""describe(head, outputs, hidden, log_std, parameters)

Writes the distribution's parameters [B, n], which `divergence` needs, from what `evaluate` left in `outputs`.
"""
DIVERGENCE: Any = types.void(MATRIX, MATRIX, VECTOR)
"""divergence(old, new, kl)

Writes KL(old ‖ new) to `kl` [B], for distributions that `describe` has written.
"""
