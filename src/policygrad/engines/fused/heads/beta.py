"""Beta(α, β) on (0, 1), α = 1 + softplus(r) and β likewise: outputs are [B, 2K], first of α, then of β."""

# pyright: basic

from __future__ import annotations

import math

import numpy as np

from policygrad.compiled import inlined, inner
from policygrad.engines.fused.heads.functions import gammas, softplus
from policygrad.pointers import call_of_doubles
from policygrad.policies.distributions.beta import EDGE

f32, f64 = np.float32, np.float64


@inlined
def shape_at(outputs, i, k):
    """α or β: rounded to float32, as torch has it, and then float64, for what follows are differences."""
    return f64(f32(1) + f32(softplus(f64(outputs[i, k]))))


@inner
def sample(head, outputs, noise, action):
    """The inverse of the cumulative distribution at uniforms [B, K]; greedily (α − 1)/(α + β − 2)."""
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
            # a comparison would make an edge of a NaN, which then nobody sees
            action[i, k] = x if x != x else min(max(f32(x), f32(EDGE)), f32(1 - EDGE))


@inner
def evaluate(head, outputs, action, log_prob, entropy):
    """log π = Σ (α − 1) log x + (β − 1) log(1 − x) − log B(α, β) − log_volume, in float64, and

    H = Σ log B(α, β) − (α − 1)ψ(α) − (β − 1)ψ(β) + (α + β − 2)ψ(α + β) + log_volume.
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


@inner
def differentiate(outputs, action, w, e):
    """∂log π/∂α = log x − ψ(α) + ψ(α + β),   ∂H/∂α = −(α − 1)ψ′(α) + (α + β − 2)ψ′(α + β),

    those of β with 1 − x for x, and ∂α/∂r = 1/(1 + e^(−r)).
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
            by_alpha = w[i] * (math.log(x) - psi_a + psi_sum) + e[i] * (shared - (alpha - 1) * prime_a)
            by_beta = w[i] * (math.log1p(-x) - psi_b + psi_sum) + e[i] * (shared - (beta - 1) * prime_b)
            outputs[i, k] = by_alpha / (1 + math.exp(-f64(outputs[i, k])))
            outputs[i, K + k] = by_beta / (1 + math.exp(-f64(outputs[i, K + k])))
