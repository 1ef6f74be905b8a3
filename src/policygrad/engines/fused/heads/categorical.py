"""Softmax over the alternatives of one choice, or of several: `sizes` [K] says how many each has.

The choices' logits stand side by side [B, Σ n_k]; an action is the chosen indices [B, K], −1 where a choice's logits
are no softmax. A logit of −inf masks its alternative: see `policies.distributions.Categorical`.
"""

# pyright: basic

from __future__ import annotations

import math

import numpy as np

from policygrad._support.compiling import inlined, inner
from policygrad.engines.fused.heads.functions import exp, log
from policygrad.engines.fused.heads.head import Head
from policygrad.engines.fused.subnormal import FLUSH_BELOW

f32, f64 = np.float32, np.float64
LOG_FLUSH_BELOW = f32(math.log(FLUSH_BELOW))
KIND = 0


def head_of(distribution, _network):
    """The head of a `Categorical`."""
    return Head(KIND, np.array(distribution.sizes, np.int64))


@inlined
def log_normalizer(logits):
    """log Σ exp(logits) of one row, without overflow."""
    highest = logits[0]
    for k in range(1, logits.size):
        highest = max(highest, logits[k])
    total = f32(0)
    for k in range(logits.size):
        total += exp(logits[k] - highest)
    return highest + log(total)


@inlined
def weight(z):
    """exp(z) of a logit less the highest one, and 0 where float32 has no normal number for it."""
    return f32(0) if z < f32(-87) else exp(z)


@inlined
def probability(log):
    """π from log π, and 0 where it is less than `FLUSH_BELOW`; only that keeps a certain choice's updates quick."""
    return f32(0) if log < LOG_FLUSH_BELOW else exp(log)


@inlined
def bounded(log):
    """log π, or −1000 where it is less: the product with π is 0 either way, where 0 · −inf would be NaN."""
    return max(log, f32(-1000))


@inlined
def most_probable(logits):
    """argmax, the first of equals; −1 where one is NaN or +inf, or all are −inf."""
    best = 0
    sound = True
    for k in range(logits.size):
        if logits[k] > logits[best]:
            best = k
        sound = sound and logits[k] < np.inf
    return best if sound and logits[best] > -np.inf else -1


@inlined
def chosen(logits, uniform):
    """The first alternative whose cumulative probability exceeds the uniform number, in float64; −1 as above.

    Never one of probability 0: the last alternative above 0 takes what rounding leaves. Leaves
    its `weight` in place of each logit.
    """
    highest = logits[0]
    for k in range(1, logits.size):
        highest = max(highest, logits[k])
    total = 0.0
    for k in range(logits.size):
        logits[k] = weight(logits[k] - highest)
        total += f64(logits[k])
    mark = uniform * total
    cumulative = 0.0
    choice = 0
    for k in range(logits.size):
        # the last one of those above 0 before which the mark has not been passed; without a jump
        choice = k if (logits[k] > f32(0)) & (cumulative <= mark) else choice
        cumulative += f64(logits[k])
    # where a logit was NaN or infinite, so is the total
    return choice if total > 0 else -1


@inner
def sample(sizes, greedy, outputs, noise, action):
    """From uniforms [B, K], or the most probable."""
    for i in range(outputs.shape[0]):
        first = 0
        for k in range(sizes.size):
            logits = outputs[i, first : first + sizes[k]]
            action[i, k] = f32(most_probable(logits) if greedy else chosen(logits, noise[i, k]))
            first += sizes[k]


@inner
def evaluate(sizes, outputs, action, log_prob, entropy):
    """log π = Σ_k log π_k(a_k) and H = −Σ_k Σ_j π_kj log π_kj; leaves log π_k in place of the logits."""
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
            # −Σ π log π, with log π = z − log Σ exp z: no second exponential
            h += log_total - weighted / total
            for j in range(logits.size):
                logits[j] -= log_total
            lp += logits[int(action[i, k])]
            first += sizes[k]
        log_prob[i] = lp
        entropy[i] = h


@inner
def differentiate(sizes, outputs, action, entropy, d_log_prob, d_entropy):
    """∂log π(a)/∂z_kj = [j = a_k] − π_kj,   ∂H/∂z_kj = −π_kj (log π_kj + H_k)."""
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


@inner
def apply_fisher(sizes, outputs, rate, scale):
    """M ż in place of the logits, times `scale`: diag(π_k) − π_k π_kᵀ of each choice, none between choices."""
    for i in range(outputs.shape[0]):
        first = 0
        for size in sizes:
            normalizer = log_normalizer(outputs[i, first : first + size])
            mean = f32(0)
            for j in range(first, first + size):
                outputs[i, j] = probability(outputs[i, j] - normalizer)
                mean += outputs[i, j] * rate[i, j]
            for j in range(first, first + size):
                outputs[i, j] *= scale * (rate[i, j] - mean)
            first += size


@inner
def describe(outputs, parameters):
    """log π_k side by side, as `evaluate` left them."""
    for i in range(outputs.shape[0]):
        for j in range(outputs.shape[1]):
            parameters[i, j] = outputs[i, j]


@inner
def divergence(old, new, kl):
    """Σ_k Σ_j π_kj (log π_kj − log π'_kj)."""
    for i in range(old.shape[0]):
        total = f32(0)
        for j in range(old.shape[1]):
            p = probability(old[i, j])
            total += p * (old[i, j] - new[i, j]) if p != f32(0) else f32(0)
        kl[i] = total
