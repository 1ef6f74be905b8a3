"""An estimate of the KL divergence between two policies from the log-probabilities of sampled actions."""

from __future__ import annotations

import math

import numpy as np

from policygrad._support.compiling import compiled_when_called, inlined
from policygrad.types import F32, F64


def kl_estimate(log_prob: F32, old_log_prob: F32) -> F64:
    """Return r − 1 − log r [B] with r = π(a|s) / π_old(a|s) for each sample. It is never negative.

    If the actions were sampled from π_old, the mean is an unbiased estimate of KL(π_old ‖ π) with less variance than
    the mean of −log r (k3 in http://joschu.net/blog/kl-approx.html).
    """
    return _estimates(log_prob, old_log_prob)


@inlined
def kl_of(log_ratio):  # pyright: ignore
    """Return r − 1 − log r of one sample; compiled code uses this function wherever it needs the formula."""
    return math.expm1(log_ratio) - log_ratio


@compiled_when_called
def _estimates(log_prob: F32, old_log_prob: F32) -> F64:
    found = np.empty(len(log_prob))
    for i in range(len(log_prob)):
        found[i] = kl_of(np.float64(log_prob[i]) - np.float64(old_log_prob[i]))
    return found
