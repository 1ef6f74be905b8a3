"""The action distributions in machine code: sampling, log π and H, and ∂L/∂output from the cotangents.

Outputs are a network's last layer [B, K]; actions are [B, K] float32 with a choice as its index in column 0.
The same formulas in torch stand in `policies.distributions`.
"""

# pyright: basic
# compiled code: [B, K] arguments are float32 matrices, C-contiguous, other arrays float32 vectors

from __future__ import annotations

import math

import numpy as np

from policygrad.compiled import inlined, inner

CATEGORICAL, GAUSSIAN = 0, 1
f32 = np.float32
HALF_LOG_2PI = f32(0.5 * math.log(2 * math.pi))


@inlined
def log_normalizer(logits):
    """log Σ exp(logits) of one row, without overflow."""
    highest = logits[0]
    for k in range(1, logits.size):
        highest = max(highest, logits[k])
    total = f32(0)
    for k in range(logits.size):
        total += math.exp(logits[k] - highest)
    return highest + math.log(total)


@inner
def sample(head, outputs, log_std, noise, action):
    """Actions into `action`, from uniforms [B, 1] (inverse of the cumulative) or standard normals [B, K]."""
    rows, width = outputs.shape
    for i in range(rows):
        if head == GAUSSIAN:
            for k in range(width):
                action[i, k] = outputs[i, k] + math.exp(log_std[k]) * f32(noise[i, k])
        else:
            normalizer = log_normalizer(outputs[i])
            cumulative = f32(0)
            choice = 0
            for k in range(width - 1):
                cumulative += math.exp(outputs[i, k] - normalizer)
                choice += cumulative <= f32(noise[i, 0])
            action[i, 0] = f32(choice)


@inner
def evaluate(head, outputs, log_std, action, log_prob, entropy):
    """log π(a|s) and H(π(·|s)) into [B] each; leaves log π(·|s) in place of the logits."""
    rows, width = outputs.shape
    for i in range(rows):
        if head == GAUSSIAN:
            lp = f32(0)
            h = f32(0)
            for k in range(width):
                z = (action[i, k] - outputs[i, k]) * math.exp(-log_std[k])
                lp -= f32(0.5) * z * z + log_std[k] + HALF_LOG_2PI
                h += log_std[k] + HALF_LOG_2PI + f32(0.5)
            log_prob[i] = lp
            entropy[i] = h
        else:
            normalizer = log_normalizer(outputs[i])
            h = f32(0)
            for k in range(width):
                outputs[i, k] -= normalizer
                h -= math.exp(outputs[i, k]) * outputs[i, k]
            log_prob[i] = outputs[i, int(action[i, 0])]
            entropy[i] = h


@inner
def differentiate(head, outputs, log_std, action, entropy, w, e, log_std_slope):
    """From w = ∂L/∂log π and e = ∂L/∂H to ∂L/∂output, in place of what `evaluate` left; ∂L/∂log σ is added.

    Softmax: ∂log π(a)/∂z_k = [k = a] − π_k,   ∂H/∂z_k = −π_k (log π_k + H).
    Gaussian: ∂log π/∂μ = (a−μ)/σ²,   ∂log π/∂log σ = ((a−μ)/σ)² − 1,   ∂H/∂log σ = 1.
    """
    rows, width = outputs.shape
    for i in range(rows):
        if head == GAUSSIAN:
            for k in range(width):
                inverse = math.exp(-log_std[k])
                z = (action[i, k] - outputs[i, k]) * inverse
                outputs[i, k] = w[i] * z * inverse
                log_std_slope[k] += w[i] * (z * z - f32(1)) + e[i]
        else:
            for k in range(width):
                probability = math.exp(outputs[i, k])
                outputs[i, k] = -probability * (w[i] + e[i] * (outputs[i, k] + entropy[i]))
            outputs[i, int(action[i, 0])] += w[i]
