"""gSDE: a = μ + φᵀE with E_jk = σ_jk ε_jk, so var_k = v_k = Σ_j σ_jk² φ_j² + 1e-6; log σ [L·K] is a parameter.

See Raffin, Kober & Stulp 2021, section 3. φ [B, L] is the output of the last hidden layer; no gradient flows into it.
"""

# pyright: basic

from __future__ import annotations

import math

import numpy as np

from policygrad._support.compiling import inlined
from policygrad._support.function_pointers import addressable
from policygrad.engines.fused.heads import gaussian
from policygrad.engines.fused.heads.head import (
    DESCRIBE,
    DIFFERENTIATE,
    EVALUATE,
    FISHER,
    NO_CHOICES,
    SAMPLE,
    Head,
)
from policygrad.policies.distributions import gsde

f32 = np.float32
LEAST_VARIANCE = f32(gsde.LEAST_VARIANCE)
HALF_LOG_2PI = f32(0.5 * gsde.LOG_2PI)


def head_of(_distribution, _network):
    """Return the head of a `GSDE`."""
    return Head(NO_CHOICES)


@inlined
def variances(log_std):
    """Return σ² of each weight, [L · K]."""
    squares = np.empty(log_std.size, np.float32)
    for j in range(log_std.size):
        squares[j] = math.exp(f32(2) * log_std[j])
    return squares


@inlined
def variance_at(squares, features, i, k, K):
    """Return v_k in sample i."""
    total = LEAST_VARIANCE
    for j in range(features.shape[1]):
        total += features[i, j] * features[i, j] * squares[j * K + k]
    return total


@addressable(SAMPLE, makes_arrays=True)
def sample(head, outputs, features, log_std, noise, action):
    """Write μ + Σ_j φ_j σ_jk ε_jk from standard normals ε [B, L · K], or μ if greedy."""
    K = action.shape[1]
    std = np.empty(log_std.size, np.float32)
    for j in range(log_std.size):
        std[j] = math.exp(log_std[j])
    for i in range(action.shape[0]):
        for k in range(K):
            total = f32(0)
            if not head.greedy:
                for j in range(features.shape[1]):
                    total += features[i, j] * std[j * K + k] * f32(noise[i, j * K + k])
            action[i, k] = outputs[i, k] + total


@addressable(EVALUATE, makes_arrays=True)
def evaluate(head, outputs, features, log_std, action, log_prob, entropy):
    """Write log π = Σ −½(a − μ)²/v − ½ log 2πv and H = Σ ½ log 2πe v."""
    K = action.shape[1]
    squares = variances(log_std)
    for i in range(action.shape[0]):
        lp = f32(0)
        h = f32(0)
        for k in range(K):
            v = variance_at(squares, features, i, k, K)
            off = action[i, k] - outputs[i, k]
            half_log = f32(0.5) * math.log(v) + HALF_LOG_2PI
            lp -= f32(0.5) * off * off / v + half_log
            h += half_log + f32(0.5)
        log_prob[i] = lp
        entropy[i] = h


@addressable(DIFFERENTIATE, makes_arrays=True)
def differentiate(head, outputs, features, log_std, action, entropy, d_log_prob, d_entropy, log_std_slope):
    """Write ∂L/∂output over the outputs, and add ∂L/∂log σ to `log_std_slope`.

    ∂log π/∂μ = (a − μ)/v,   ∂log π/∂v = ½((a − μ)²/v² − 1/v),   ∂H/∂v = 1/(2v),   ∂v_k/∂log σ_jk = 2σ_jk²φ_j²
    """
    K = action.shape[1]
    squares = variances(log_std)
    slope = np.zeros(log_std.size, np.float32)
    for i in range(action.shape[0]):
        for k in range(K):
            v = variance_at(squares, features, i, k, K)
            off = (action[i, k] - outputs[i, k]) / v
            by_variance = f32(0.5) * (d_log_prob[i] * (off * off - f32(1) / v) + d_entropy[i] / v)
            outputs[i, k] = d_log_prob[i] * off
            for j in range(features.shape[1]):
                slope[j * K + k] += by_variance * features[i, j] * features[i, j]
    for j in range(slope.size):
        log_std_slope[j] += f32(2) * squares[j] * slope[j]


@addressable(FISHER, makes_arrays=True)
def apply_fisher(head, outputs, features, rate, log_std, log_std_rate, scale, log_std_slope):
    """Write M ż times `scale` over the outputs, and add its part for log σ to `log_std_slope`.

    M has 1/v for μ, and zeros between μ and log σ. The part for log σ is

        Σ_k ½ (1/v_k²) (∂v_k/∂log σ) v̇_k,    ∂v_k/∂log σ_jk = 2σ_jk²φ_j²,    v̇_k = Σ_j (∂v_k/∂log σ_jk) l̇_jk

    where l̇ is the rate of change of log σ; φ is constant, as in the gradient.
    """
    K = outputs.shape[1]
    squares = variances(log_std)
    slope = np.zeros(log_std.size, np.float32)
    for i in range(outputs.shape[0]):
        for k in range(K):
            v = variance_at(squares, features, i, k, K)
            v_rate = f32(0)
            for j in range(features.shape[1]):
                v_rate += features[i, j] * features[i, j] * squares[j * K + k] * log_std_rate[j * K + k]
            outputs[i, k] = scale * rate[i, k] / v
            # the factor 2 of v̇ and the ½ cancel
            by_variance = scale * v_rate / (v * v)
            for j in range(features.shape[1]):
                slope[j * K + k] += by_variance * features[i, j] * features[i, j]
    for j in range(slope.size):
        log_std_slope[j] += f32(2) * squares[j] * slope[j]


@addressable(DESCRIBE, makes_arrays=True)
def describe(head, outputs, features, log_std, parameters):
    """Write μ and ½ log v side by side, [B, 2K], as for any other Gaussian, whose KL applies too."""
    K = outputs.shape[1]
    squares = variances(log_std)
    for i in range(outputs.shape[0]):
        for k in range(K):
            parameters[i, k] = outputs[i, k]
            parameters[i, K + k] = f32(0.5) * math.log(variance_at(squares, features, i, k, K))


divergence = gaussian.divergence
