"""Softmax over the alternatives of one choice, or of several; `sizes` [K] is the number of alternatives of each.

The choices' logits are side by side, [B, Σ n_k]. An action is the chosen indices [B, K], with −1 if a choice's logits
do not define a softmax. A logit of −inf masks its alternative: see `policies.distributions.Categorical`.
"""

# pyright: basic

from __future__ import annotations

import math

import numpy as np

from policygrad._support.compiling import inlined
from policygrad._support.function_pointers import addressable
from policygrad.engines.fused.heads.functions import exp, log
from policygrad.engines.fused.heads.head import (
    DESCRIBE,
    DIFFERENTIATE,
    DIVERGENCE,
    EVALUATE,
    FISHER,
    SAMPLE,
    Head,
)
from policygrad.engines.fused.subnormal import FLUSH_BELOW

f32, f64 = np.float32, np.float64
LOG_FLUSH_BELOW = f32(math.log(FLUSH_BELOW))


def head_of(distribution, _network):
    """Return the head of a `Categorical`."""
    return Head(np.array(distribution.sizes, np.int64))


@inlined
def log_normalizer(logits):
    """Return log Σ exp(logits) of one row, without overflow."""
    highest = logits[0]
    for k in range(1, logits.size):
        highest = max(highest, logits[k])
    total = f32(0)
    for k in range(logits.size):
        total += exp(logits[k] - highest)
    return highest + log(total)


@inlined
def weight(z):
    """Return exp(z) of a logit minus the highest one, or 0 if float32 has no normal number for it."""
    return f32(0) if z < f32(-87) else exp(z)


@inlined
def probability(log):
    """Return π from log π, or 0 if it is less than `FLUSH_BELOW`.

    Otherwise updates are slow once a choice is nearly certain.
    """
    return f32(0) if log < LOG_FLUSH_BELOW else exp(log)


@inlined
def bounded(log):
    """Return log π, but at least −1000: the product with π is 0 either way, whereas 0 · −inf would be NaN."""
    return max(log, f32(-1000))


@inlined
def most_probable(logits):
    """Return the argmax, the first one of equals, or −1 if a logit is NaN or +inf, or if all are −inf."""
    best = 0
    valid = True
    for k in range(logits.size):
        if logits[k] > logits[best]:
            best = k
        valid = valid and logits[k] < np.inf
    return best if valid and logits[best] > -np.inf else -1


@inlined
def chosen(logits, uniform):
    """Return the first alternative whose cumulative probability exceeds the uniform number.

    It returns −1 in the same cases as `most_probable`. Sums are computed in float64. An alternative of probability 0 is
    never chosen: if rounding leaves the cumulative probability too small, the last one above 0 is chosen. Each logit
    is overwritten by its `weight`.
    """
    highest = logits[0]
    for k in range(1, logits.size):
        highest = max(highest, logits[k])
    total = 0.0
    for k in range(logits.size):
        logits[k] = weight(logits[k] - highest)
        total += f64(logits[k])
    threshold = uniform * total
    cumulative = 0.0
    choice = 0
    for k in range(logits.size):
        # the last alternative above 0 before which the sum has not passed the threshold; without a branch
        choice = k if (logits[k] > f32(0)) & (cumulative <= threshold) else choice
        cumulative += f64(logits[k])
    # the total is NaN if a logit is NaN or +inf, or if all are −inf
    return choice if total > 0 else -1


@addressable(SAMPLE)
def sample(head, outputs, hidden, log_std, noise, action):
    """Write actions from uniforms [B, K], or the most probable ones if greedy."""
    sizes = head.sizes
    for i in range(outputs.shape[0]):
        first = 0
        for k in range(sizes.size):
            logits = outputs[i, first : first + sizes[k]]
            action[i, k] = f32(most_probable(logits) if head.greedy else chosen(logits, noise[i, k]))
            first += sizes[k]


@addressable(EVALUATE)
def evaluate(head, outputs, hidden, log_std, action, log_prob, entropy):
    """Write log π = Σ_k log π_k(a_k) and H = −Σ_k Σ_j π_kj log π_kj; overwrite the logits by log π_k."""
    sizes = head.sizes
    for i in range(outputs.shape[0]):
        lp = f32(0)
        h = f32(0)
        first = 0
        for k in range(sizes.size):
            logits = outputs[i, first : first + sizes[k]]
            highest = logits[0]
            for j in range(1, logits.size):
                highest = max(highest, logits[j])
            total, weighted = f32(0), f32(0)
            for j in range(logits.size):
                logits[j] -= highest
                part = exp(logits[j])
                total += part
                weighted += part * bounded(logits[j])
            log_total = log(total)
            # −Σ π log π, with log π = z − log Σ exp z, which saves a second exponential
            h += log_total - weighted / total
            for j in range(logits.size):
                logits[j] -= log_total
            lp += logits[int(action[i, k])]
            first += sizes[k]
        log_prob[i] = lp
        entropy[i] = h


@addressable(DIFFERENTIATE)
def differentiate(head, outputs, hidden, log_std, action, entropy, d_log_prob, d_entropy, log_std_slope):
    """Write ∂L/∂z over the outputs: ∂log π(a)/∂z_kj = [j = a_k] − π_kj,   ∂H/∂z_kj = −π_kj (log π_kj + H_k)."""
    sizes = head.sizes
    for i in range(outputs.shape[0]):
        first = 0
        for k in range(sizes.size):
            logs = outputs[i, first : first + sizes[k]]
            h = entropy[i]
            if sizes.size > 1:
                h = f32(0)
                for j in range(logs.size):
                    h -= exp(logs[j]) * bounded(logs[j])
            for j in range(logs.size):
                logs[j] = -probability(logs[j]) * (d_log_prob[i] + d_entropy[i] * (bounded(logs[j]) + h))
            logs[int(action[i, k])] += d_log_prob[i]
            first += sizes[k]


@addressable(FISHER)
def apply_fisher(head, outputs, hidden, rate, log_std, log_std_rate, scale, log_std_slope):
    """Write M ż times `scale` over the logits; M is diag(π_k) − π_k π_kᵀ for each choice, with 0 between choices."""
    for i in range(outputs.shape[0]):
        first = 0
        for size in head.sizes:
            normalizer = log_normalizer(outputs[i, first : first + size])
            mean = f32(0)
            for j in range(first, first + size):
                outputs[i, j] = probability(outputs[i, j] - normalizer)
                mean += outputs[i, j] * rate[i, j]
            for j in range(first, first + size):
                outputs[i, j] *= scale * (rate[i, j] - mean)
            first += size


@addressable(DESCRIBE)
def describe(head, outputs, hidden, log_std, parameters):
    """Write log π_k side by side, as `evaluate` left them."""
    for i in range(outputs.shape[0]):
        for j in range(outputs.shape[1]):
            parameters[i, j] = outputs[i, j]


@addressable(DIVERGENCE)
def divergence(old, new, kl):
    """Write KL(old ‖ new) = Σ_k Σ_j π_kj (log π_kj − log π'_kj)."""
    for i in range(old.shape[0]):
        total = f32(0)
        for j in range(old.shape[1]):
            p = probability(old[i, j])
            total += p * (old[i, j] - new[i, j]) if p != f32(0) else f32(0)
        kl[i] = total
