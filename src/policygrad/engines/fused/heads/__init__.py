"""The action distributions in machine code: sampling, log π and H, and ∂L/∂output from the cotangents.

Outputs are a network's last layer, [B, ·], `hidden` what that layer was given [B, L], `log_std` the parameters
ahead of the perceptron's; actions are as stored, [B, K] float32, a choice as its index. The same formulas in torch
stand in `policies.distributions`.
"""

# pyright: basic
# compiled code: [B, K] arguments are float32 matrices, C-contiguous, other arrays float32 vectors

from __future__ import annotations

from policygrad.compiled import inner
from policygrad.engines.fused.heads import beta, categorical, gaussian, gsde
from policygrad.engines.fused.heads.head import BETA, CHOICES, HEAD, STATE_NOISE, Head, head_of

sample_choices, evaluate_choices = categorical.sample, categorical.evaluate
sample_beta, evaluate_beta = beta.sample, beta.evaluate
sample_gsde, evaluate_gsde = gsde.sample, gsde.evaluate
sample_gaussian, evaluate_gaussian = gaussian.sample, gaussian.evaluate
differentiate_choices, differentiate_beta = categorical.differentiate, beta.differentiate
differentiate_gsde, differentiate_gaussian = gsde.differentiate, gaussian.differentiate


@inner
def sample(head, outputs, hidden, log_std, noise, action):
    """Actions into `action`, from noise [B, ·] as `Policy.draw_noise` gives it, or greedily."""
    if head.kind == CHOICES:
        sample_choices(head.sizes, head.greedy, outputs, noise, action)
    elif head.kind == BETA:
        sample_beta(head, outputs, noise, action)
    elif head.kind == STATE_NOISE:
        sample_gsde(head, outputs, hidden, log_std, noise, action)
    else:
        sample_gaussian(head, outputs, log_std, noise, action)


@inner
def evaluate(head, outputs, hidden, log_std, action, log_prob, entropy):
    """log π(a|s) and H(π(·|s)) into [B] each; what it leaves in the outputs is for `differentiate`."""
    if head.kind == CHOICES:
        evaluate_choices(head.sizes, outputs, action, log_prob, entropy)
    elif head.kind == BETA:
        evaluate_beta(head, outputs, action, log_prob, entropy)
    elif head.kind == STATE_NOISE:
        evaluate_gsde(outputs, hidden, log_std, action, log_prob, entropy)
    else:
        evaluate_gaussian(head, outputs, log_std, action, log_prob, entropy)


@inner
def differentiate(head, outputs, hidden, log_std, action, entropy, w, e, log_std_slope):
    """From w = ∂L/∂log π and e = ∂L/∂H to ∂L/∂output, in place of what `evaluate` left; ∂L/∂log σ is added."""
    if head.kind == CHOICES:
        differentiate_choices(head.sizes, outputs, action, entropy, w, e)
    elif head.kind == BETA:
        differentiate_beta(outputs, action, w, e)
    elif head.kind == STATE_NOISE:
        differentiate_gsde(outputs, hidden, log_std, action, w, e, log_std_slope)
    else:
        differentiate_gaussian(head, outputs, log_std, action, w, e, log_std_slope)


__all__ = ["HEAD", "Head", "differentiate", "evaluate", "head_of", "sample"]
