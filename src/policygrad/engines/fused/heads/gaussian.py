"""Independent Gaussians, clipped to the box or squashed into it by tanh; log σ is a parameter or an output.

Outputs are the means [B, K], or the means followed by the numbers that give log σ, [B, 2K]. The stored action of a
squashed Gaussian is u, before tanh.
"""

# pyright: basic

from __future__ import annotations

import math

import numpy as np

from policygrad._support.compiling import inlined
from policygrad._support.function_pointers import addressable
from policygrad.engines.fused.heads.functions import log_slope, tanh
from policygrad.engines.fused.heads.head import (
    DESCRIBE,
    DIFFERENTIATE,
    DIVERGENCE,
    EVALUATE,
    FISHER,
    NO_CHOICES,
    SAMPLE,
    Head,
)
from policygrad.policies.distributions import gaussian
from policygrad.policies.networks import middle_and_half

f32 = np.float32
HALF_LOG_2PI = f32(0.5 * gaussian.LOG_2PI)


def head_of(distribution, network):
    """Return the head of a `Gaussian` or a `SquashedGaussian`."""
    head = Head(NO_CHOICES, per_state=network.state_dependent_std)
    if isinstance(distribution, gaussian.SquashedGaussian):
        head = head._replace(squashed=True, log_volume=distribution.log_volume)
    if network.state_dependent_std:
        middle, half = middle_and_half(network.log_std_bounds)
        head = head._replace(middle=middle, half=half)
    return head


NODES, WEIGHTS = gaussian.NODES.astype(np.float32), gaussian.WEIGHTS.astype(np.float32)


@inlined
def scaled_tanh(head, output):
    """Return tanh(output / half), which determines a state's log σ and its derivative."""
    return f32(math.tanh(output / f32(head.half)))


@inlined
def log_std_at(head, outputs, log_std, i, k):
    """Return log σ of dimension k in sample i."""
    if head.per_state:
        return f32(head.middle) + f32(head.half) * scaled_tanh(head, outputs[i, outputs.shape[1] // 2 + k])
    return log_std[k]


@inlined
def mean_log_slope(mean, std):
    """Return E[log(1 − tanh²u)], u ~ N(mean, std²), by quadrature."""
    total = f32(0)
    for j in range(NODES.size):
        total += WEIGHTS[j] * log_slope(mean + std * NODES[j])
    return total


@inlined
def slopes_of_mean_log_slope(mean, std):
    """Return (∂/∂mean, ∂/∂log std) of this quadrature: E[−2 tanh u] and E[−2 tanh u · std z]."""
    by_mean, by_log_std = f32(0), f32(0)
    for j in range(NODES.size):
        slope = f32(-2) * WEIGHTS[j] * tanh(mean + std * NODES[j])
        by_mean += slope
        by_log_std += slope * std * NODES[j]
    return by_mean, by_log_std


@addressable(SAMPLE)
def sample(head, outputs, hidden, log_std, noise, action):
    """Write μ + σz from standard normals z [B, K], or μ if greedy."""
    for i in range(action.shape[0]):
        for k in range(action.shape[1]):
            action[i, k] = outputs[i, k]
            if not head.greedy:
                action[i, k] += math.exp(log_std_at(head, outputs, log_std, i, k)) * f32(noise[i, k])


@addressable(EVALUATE)
def evaluate(head, outputs, hidden, log_std, action, log_prob, entropy):
    """Write log π = Σ −½z² − log σ − ½ log 2π and H = Σ log σ + ½ log 2πe, with z = (a − μ)/σ.

    For the squashed Gaussian, −Σ log(1 − tanh²u) − log_volume is added to log π, and Σ E[log(1 − tanh²u)] + log_volume
    to H (Haarnoja et al. 2018, appendix C).
    """
    for i in range(action.shape[0]):
        lp = f32(-head.log_volume)
        h = f32(head.log_volume)
        for k in range(action.shape[1]):
            log_s = log_std_at(head, outputs, log_std, i, k)
            z = (action[i, k] - outputs[i, k]) * math.exp(-log_s)
            lp -= f32(0.5) * z * z + log_s + HALF_LOG_2PI
            h += log_s + HALF_LOG_2PI + f32(0.5)
            if head.squashed:
                lp -= log_slope(action[i, k])
                h += mean_log_slope(outputs[i, k], math.exp(log_s))
        log_prob[i] = lp
        entropy[i] = h


@addressable(DIFFERENTIATE)
def differentiate(head, outputs, hidden, log_std, action, entropy, d_log_prob, d_entropy, log_std_slope):
    """Write ∂L/∂output over the outputs, and add ∂L/∂log σ to `log_std_slope` if log σ is a parameter.

        ∂log π/∂μ = z/σ,   ∂log π/∂log σ = z² − 1,   ∂H/∂log σ = 1

    For the squashed Gaussian, the derivatives of the quadrature are added to those of H. If log σ = m + h tanh(r/h) is
    computed from an output r, ∂log σ/∂r = 1 − tanh²(r/h).
    """
    K = action.shape[1]
    for i in range(action.shape[0]):
        for k in range(K):
            log_s = log_std_at(head, outputs, log_std, i, k)
            inverse = math.exp(-log_s)
            z = (action[i, k] - outputs[i, k]) * inverse
            by_mean = d_log_prob[i] * z * inverse
            by_log_std = d_log_prob[i] * (z * z - f32(1)) + d_entropy[i]
            if head.squashed:
                mean_slope, std_slope = slopes_of_mean_log_slope(outputs[i, k], math.exp(log_s))
                by_mean += d_entropy[i] * mean_slope
                by_log_std += d_entropy[i] * std_slope
            outputs[i, k] = by_mean
            if head.per_state:
                t = scaled_tanh(head, outputs[i, K + k])
                outputs[i, K + k] = by_log_std * (f32(1) - t * t)
            else:
                log_std_slope[k] += by_log_std


@addressable(FISHER)
def apply_fisher(head, outputs, hidden, rate, log_std, log_std_rate, scale, log_std_slope):
    """Write M ż times `scale` over the outputs, where M is diagonal: 1/σ² for μ and 2 for log σ.

    If log σ is computed from an output r, the entry for r is 2 (∂log σ/∂r)². If it is a parameter, each state adds 2 to
    its entry. Squashing changes neither M nor the KL, because it adds a term to log π that has no parameters.
    """
    rows, width = outputs.shape
    K = width // 2 if head.per_state else width
    for i in range(rows):
        for k in range(K):
            log_s = log_std_at(head, outputs, log_std, i, k)
            outputs[i, k] = scale * rate[i, k] * math.exp(f32(-2) * log_s)
            if head.per_state:
                t = scaled_tanh(head, outputs[i, K + k])
                slope = f32(1) - t * t
                outputs[i, K + k] = f32(2) * scale * slope * slope * rate[i, K + k]
    for k in range(log_std.size):
        log_std_slope[k] += f32(2 * rows) * scale * log_std_rate[k]


@addressable(DESCRIBE)
def describe(head, outputs, hidden, log_std, parameters):
    """Write μ and log σ side by side, [B, 2K]."""
    rows, K = outputs.shape[0], parameters.shape[1] // 2
    for i in range(rows):
        for k in range(K):
            parameters[i, k] = outputs[i, k]
            parameters[i, K + k] = log_std_at(head, outputs, log_std, i, k)


@addressable(DIVERGENCE)
def divergence(old, new, kl):
    """Write KL(old ‖ new) = Σ_k ½ (σ²/σ'² − 1) − log σ/σ' + ½ ((μ − μ')/σ')².

    The first two terms are computed without cancellation.
    """
    K = old.shape[1] // 2
    for i in range(old.shape[0]):
        total = f32(0)
        for k in range(K):
            wider = f32(2) * (old[i, K + k] - new[i, K + k])
            z = (old[i, k] - new[i, k]) * math.exp(-new[i, K + k])
            total += f32(0.5) * (math.expm1(wider) - wider + z * z)
        kl[i] = total
