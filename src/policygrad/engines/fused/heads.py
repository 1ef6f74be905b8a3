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
GREEDY_CHOICE = 2
"""Of `sample` alone: the most probable choice; a Gaussian's mean is what zeros for noise give."""
f32 = np.float32
HALF_LOG_2PI = f32(0.5 * math.log(2 * math.pi))


@inlined
def exp(x):
    """e^x: relative error below 3e-7 for x in ±2, below 5e-6 anywhere; x below −87 is taken for −87.

    2^n from the exponent's bits, 2^f for f in ±½ by its Taylor polynomial: a fifth of a call to the C library.
    """
    t = min(max(x, f32(-87)), f32(88)) * f32(1.4426950408889634)
    # rounded by a cast, which cuts off: of a positive number that is its floor
    whole = np.int32(t + f32(128.5)) - np.int32(128)
    f = (t - f32(whole)) * f32(0.6931471805599453)
    p = f32(1 / 720)
    p = p * f + f32(1 / 120)
    p = p * f + f32(1 / 24)
    p = p * f + f32(1 / 6)
    p = p * f + f32(1 / 2)
    p = p * f + f32(1)
    p = p * f + f32(1)
    return p * np.int32((whole + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def log_normalizer(logits):
    """log Σ exp(logits) of one row, without overflow."""
    highest = logits[0]
    for k in range(1, logits.size):
        highest = max(highest, logits[k])
    total = f32(0)
    for k in range(logits.size):
        total += exp(logits[k] - highest)
    return highest + math.log(total)


@inner
def sample(head, outputs, log_std, noise, action):
    """Actions into `action`, from uniforms [B, 1] (inverse of the cumulative) or standard normals [B, K]."""
    rows, width = outputs.shape
    for i in range(rows):
        if head == GAUSSIAN:
            for k in range(width):
                action[i, k] = outputs[i, k] + math.exp(log_std[k]) * f32(noise[i, k])
        elif head == GREEDY_CHOICE:
            best = 0
            for k in range(1, width):
                if outputs[i, k] > outputs[i, best]:
                    best = k
            action[i, 0] = f32(best)
        else:
            highest = outputs[i, 0]
            for k in range(1, width):
                highest = max(highest, outputs[i, k])
            total = f32(0)
            for k in range(width):
                outputs[i, k] = exp(outputs[i, k] - highest)
                total += outputs[i, k]
            mark = f32(noise[i, 0]) * total
            cumulative = f32(0)
            choice = 0
            for k in range(width - 1):
                cumulative += outputs[i, k]
                choice += cumulative <= mark
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
                h -= exp(outputs[i, k]) * outputs[i, k]
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
                probability = exp(outputs[i, k])
                outputs[i, k] = -probability * (w[i] + e[i] * (outputs[i, k] + entropy[i]))
            outputs[i, int(action[i, 0])] += w[i]
