"""Beta(α, β) on (0, 1) with α = 1 + softplus(r), and β likewise. Outputs are r [B, 2K], first for α, then for β."""

# pyright: basic

from __future__ import annotations

import math

import numpy as np

from policygrad._support.compiling import inlined
from policygrad._support.function_pointers import addressable, call_of_doubles, scipy_address
from policygrad.engines.fused.heads.functions import gammas, softplus
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
from policygrad.policies.distributions.beta import EDGE

f32, f64 = np.float32, np.float64


def head_of(distribution, _network):
    """Return the head of a `Beta`."""
    inverse = scipy_address("betaincinv")
    return Head(NO_CHOICES, log_volume=distribution.log_volume, inverse=inverse)


@inlined
def shape_at(outputs, i, k):
    """Return α or β, rounded to float32 as in torch, then in float64, because it is used in differences."""
    return f64(f32(1) + f32(softplus(f64(outputs[i, k]))))


@addressable(SAMPLE)
def sample(head, outputs, hidden, log_std, noise, action):
    """Write the inverse cumulative distribution at uniforms [B, K], or the mode (α − 1)/(α + β − 2) if greedy."""
    K = action.shape[1]
    for i in range(action.shape[0]):
        for k in range(K):
            alpha, beta = shape_at(outputs, i, k), shape_at(outputs, i, K + k)
            if not head.greedy:
                x = call_of_doubles(head.inverse, alpha, beta, noise[i, k])
            elif alpha + beta > 2:
                x = (alpha - 1) / (alpha + beta - 2)
            else:
                x = 0.5
            # min and max would turn a NaN into an edge, which would hide it
            action[i, k] = x if x != x else min(max(f32(x), f32(EDGE)), f32(1 - EDGE))


@addressable(EVALUATE)
def evaluate(head, outputs, hidden, log_std, action, log_prob, entropy):
    """Write log π and H, computed in float64.

    log π = Σ (α − 1) log x + (β − 1) log(1 − x) − log B(α, β) − log_volume
    H = Σ log B(α, β) − (α − 1)ψ(α) − (β − 1)ψ(β) + (α + β − 2)ψ(α + β) + log_volume
    """
    K = action.shape[1]
    for i in range(action.shape[0]):
        lp = -head.log_volume
        h = head.log_volume
        for k in range(K):
            alpha, beta = shape_at(outputs, i, k), shape_at(outputs, i, K + k)
            x = f64(action[i, k])
            log_gamma_a, psi_a, _ = gammas(alpha)
            log_gamma_b, psi_b, _ = gammas(beta)
            log_gamma_sum, psi_sum, _ = gammas(alpha + beta)
            log_beta = log_gamma_a + log_gamma_b - log_gamma_sum
            lp += (alpha - 1) * math.log(x) + (beta - 1) * math.log1p(-x) - log_beta
            h += log_beta - (alpha - 1) * psi_a - (beta - 1) * psi_b + (alpha + beta - 2) * psi_sum
        log_prob[i] = lp
        entropy[i] = h


@addressable(DIFFERENTIATE)
def differentiate(head, outputs, hidden, log_std, action, entropy, d_log_prob, d_entropy, log_std_slope):
    """Write ∂L/∂output over the outputs.

        ∂log π/∂α = log x − ψ(α) + ψ(α + β),   ∂H/∂α = −(α − 1)ψ′(α) + (α + β − 2)ψ′(α + β)

    The derivatives for β have 1 − x in place of x, and ∂α/∂r = 1/(1 + e^(−r)).
    """
    K = action.shape[1]
    for i in range(action.shape[0]):
        for k in range(K):
            alpha, beta = shape_at(outputs, i, k), shape_at(outputs, i, K + k)
            x = f64(action[i, k])
            _, psi_a, prime_a = gammas(alpha)
            _, psi_b, prime_b = gammas(beta)
            _, psi_sum, prime_sum = gammas(alpha + beta)
            shared = (alpha + beta - 2) * prime_sum
            by_alpha = d_log_prob[i] * (math.log(x) - psi_a + psi_sum) + d_entropy[i] * (
                shared - (alpha - 1) * prime_a
            )
            by_beta = d_log_prob[i] * (math.log1p(-x) - psi_b + psi_sum) + d_entropy[i] * (
                shared - (beta - 1) * prime_b
            )
            outputs[i, k] = by_alpha / (1 + math.exp(-f64(outputs[i, k])))
            outputs[i, K + k] = by_beta / (1 + math.exp(-f64(outputs[i, K + k])))


@addressable(FISHER)
def apply_fisher(head, outputs, hidden, rate, log_std, log_std_rate, scale, log_std_slope):
    """Write M ż times `scale` over the outputs. In (α, β) the Fisher matrix is, with s = ψ′(α + β),

        [[ψ′(α) − s, −s], [−s, ψ′(β) − s]].

    It is multiplied by ∂α/∂r = 1/(1 + e^(−r)), and likewise ∂β/∂r, on both sides.
    """
    K = outputs.shape[1] // 2
    for i in range(outputs.shape[0]):
        for k in range(K):
            alpha, beta = shape_at(outputs, i, k), shape_at(outputs, i, K + k)
            _, _, prime_a = gammas(alpha)
            _, _, prime_b = gammas(beta)
            _, _, prime_sum = gammas(alpha + beta)
            slope_a = 1 / (1 + math.exp(-f64(outputs[i, k])))
            slope_b = 1 / (1 + math.exp(-f64(outputs[i, K + k])))
            rate_a, rate_b = slope_a * rate[i, k], slope_b * rate[i, K + k]
            shared = prime_sum * (rate_a + rate_b)
            outputs[i, k] = scale * slope_a * (prime_a * rate_a - shared)
            outputs[i, K + k] = scale * slope_b * (prime_b * rate_b - shared)


@addressable(DESCRIBE)
def describe(head, outputs, hidden, log_std, parameters):
    """Write α and β side by side, [B, 2K]."""
    for i in range(outputs.shape[0]):
        for k in range(outputs.shape[1]):
            parameters[i, k] = shape_at(outputs, i, k)


@addressable(DIVERGENCE)
def divergence(old, new, kl):
    """Write KL(old ‖ new), computed in float64.

    KL = Σ_k log B(α', β')/B(α, β) + (α − α')ψ(α) + (β − β')ψ(β) + (α' − α + β' − β)ψ(α + β)
    """
    K = old.shape[1] // 2
    for i in range(old.shape[0]):
        total = 0.0
        for k in range(K):
            a, b, a2, b2 = f64(old[i, k]), f64(old[i, K + k]), f64(new[i, k]), f64(new[i, K + k])
            log_a, psi_a, _ = gammas(a)
            log_b, psi_b, _ = gammas(b)
            log_sum, psi_sum, _ = gammas(a + b)
            log_a2, _, _ = gammas(a2)
            log_b2, _, _ = gammas(b2)
            log_sum2, _, _ = gammas(a2 + b2)
            total += (log_a2 - log_a) + (log_b2 - log_b) - (log_sum2 - log_sum)
            total += (a - a2) * psi_a + (b - b2) * psi_b + (a2 - a + b2 - b) * psi_sum
        kl[i] = total
