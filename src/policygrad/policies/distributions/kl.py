"""How far one policy is from another, as far as its actions tell."""

from __future__ import annotations

import numpy as np

from policygrad.surroundings import ignored_numpy_errors
from policygrad.types import F32, F64


def kl_estimate(log_prob: F32, old_log_prob: F32) -> F64:
    """r − 1 − log r of each sample [B], r = π(a|s) / π_old(a|s): never negative.

    For actions of π_old its mean estimates KL(π_old ‖ π), without bias and with less variance than that of −log r
    (http://joschu.net/blog/kl-approx.html, k3).
    """
    log_ratio = log_prob.astype(np.float64) - old_log_prob
    with ignored_numpy_errors():
        return np.expm1(log_ratio) - log_ratio
