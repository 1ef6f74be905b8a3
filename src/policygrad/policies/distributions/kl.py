"""How far one policy is from another, as far as its actions tell."""

from __future__ import annotations

import math

import numpy as np

from policygrad._support.compiling import compiled_when_called, inlined
from policygrad.types import F32, F64


def kl_estimate(log_prob: F32, old_log_prob: F32) -> F64:
    """r − 1 − log r of each sample [B], r = π(a|s) / π_old(a|s): never negative.

    For actions of π_old its mean estimates KL(π_old ‖ π), without bias and with less variance than that of −log r
    (http://joschu.net/blog/kl-approx.html, k3).
    """
    return _estimates(log_prob, old_log_prob)


@inlined
def kl_of(log_ratio):  # pyright: ignore
    """r − 1 − log r of one sample, for compiled code: the one place where it is written."""
    return math.expm1(log_ratio) - log_ratio


@compiled_when_called
def _estimates(log_prob: F32, old_log_prob: F32) -> F64:
    found = np.empty(len(log_prob))
    for i in range(len(log_prob)):
        found[i] = kl_of(np.float64(log_prob[i]) - np.float64(old_log_prob[i]))
    return found
