"""The action distributions in machine code: sampling, log π and H, and ∂L/∂output from the derivatives of the loss.

`outputs` [B, ·] are the outputs of a network's last layer, and `hidden` [B, L] are that layer's inputs. `log_std` are
the parameters before the perceptron's. Actions are as stored, [B, K] float32, with a choice as its index. The same
formulas in torch are in `policies.distributions`.
"""

# pyright: basic
# compiled code: [B, K] arguments are C-contiguous float32 matrices, other arrays are float32 vectors

from __future__ import annotations

from policygrad._support.compiling import inner
from policygrad.engines.fused.heads import beta, categorical, gaussian, gsde
from policygrad.engines.fused.heads.head import HEAD, Head
from policygrad.policies import Policy
from policygrad.policies.distributions import GSDE, Beta, Categorical, Gaussian, SquashedGaussian

HEADS = {
    Categorical: categorical.head_of,
    Gaussian: gaussian.head_of,
    SquashedGaussian: gaussian.head_of,
    Beta: beta.head_of,
    GSDE: gsde.head_of,
}
"""Functions that make the head of each distribution. A new one also needs a branch in each of the functions below."""
CHOICES, BETA, STATE_NOISE = categorical.KIND, beta.KIND, gsde.KIND


def head_of(policy: Policy) -> Head:
    """Return the head for a policy's distribution."""
    return HEADS[type(policy.distribution)](policy.distribution, policy.network)


sample_choices, evaluate_choices = categorical.sample, categorical.evaluate
sample_beta, evaluate_beta = beta.sample, beta.evaluate
sample_gsde, evaluate_gsde = gsde.sample, gsde.evaluate
sample_gaussian, evaluate_gaussian = gaussian.sample, gaussian.evaluate
differentiate_choices, differentiate_beta = categorical.differentiate, beta.differentiate
differentiate_gsde, differentiate_gaussian = gsde.differentiate, gaussian.differentiate
apply_fisher_categorical, apply_fisher_beta = categorical.apply_fisher, beta.apply_fisher
apply_fisher_gsde, apply_fisher_gaussian = gsde.apply_fisher, gaussian.apply_fisher
describe_choices, describe_beta = categorical.describe, beta.describe
describe_gsde, describe_gaussian = gsde.describe, gaussian.describe
divergence_of_choices, divergence_of_beta = categorical.divergence, beta.divergence
divergence_of_gaussian = gaussian.divergence


@inner
def sample(head, outputs, hidden, log_std, noise, action):
    """Write actions to `action`, from noise [B, ·] that `Policy.draw_noise` has drawn, or greedily."""
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
    """Write log π(a|s) and H(π(·|s)), [B] each; leave in `outputs` what `differentiate` needs."""
    if head.kind == CHOICES:
        evaluate_choices(head.sizes, outputs, action, log_prob, entropy)
    elif head.kind == BETA:
        evaluate_beta(head, outputs, action, log_prob, entropy)
    elif head.kind == STATE_NOISE:
        evaluate_gsde(outputs, hidden, log_std, action, log_prob, entropy)
    else:
        evaluate_gaussian(head, outputs, log_std, action, log_prob, entropy)


@inner
def differentiate(head, outputs, hidden, log_std, action, entropy, d_log_prob, d_entropy, log_std_slope):
    """Write ∂L/∂output over what `evaluate` left in `outputs`, and add ∂L/∂log σ to `log_std_slope`.

    `d_log_prob` is ∂L/∂log π and `d_entropy` is ∂L/∂H, [B] each.
    """
    if head.kind == CHOICES:
        differentiate_choices(head.sizes, outputs, action, entropy, d_log_prob, d_entropy)
    elif head.kind == BETA:
        differentiate_beta(outputs, action, d_log_prob, d_entropy)
    elif head.kind == STATE_NOISE:
        differentiate_gsde(outputs, hidden, log_std, action, d_log_prob, d_entropy, log_std_slope)
    else:
        differentiate_gaussian(head, outputs, log_std, action, d_log_prob, d_entropy, log_std_slope)


@inner
def apply_fisher(head, outputs, hidden, rate, log_std, log_std_rate, scale, log_std_slope):
    """Write M ż times `scale` over the outputs z, where M is the distribution's Fisher matrix in z and ż is `rate`.

    If log σ are parameters, their part of the product is added to `log_std_slope`.
    """
    if head.kind == CHOICES:
        apply_fisher_categorical(head.sizes, outputs, rate, scale)
    elif head.kind == BETA:
        apply_fisher_beta(outputs, rate, scale)
    elif head.kind == STATE_NOISE:
        apply_fisher_gsde(outputs, hidden, rate, log_std, log_std_rate, scale, log_std_slope)
    else:
        apply_fisher_gaussian(head, outputs, rate, log_std, log_std_rate, scale, log_std_slope)


@inner
def describe(head, outputs, hidden, log_std, parameters):
    """Write the distribution's parameters [B, n], which `divergence` needs, from what `evaluate` left in `outputs`."""
    if head.kind == CHOICES:
        describe_choices(outputs, parameters)
    elif head.kind == BETA:
        describe_beta(outputs, parameters)
    elif head.kind == STATE_NOISE:
        describe_gsde(outputs, hidden, log_std, parameters)
    else:
        describe_gaussian(head, outputs, log_std, parameters)


@inner
def divergence(head, old, new, kl):
    """Write KL(old ‖ new) to `kl` [B], for distributions that `describe` has written."""
    if head.kind == CHOICES:
        divergence_of_choices(old, new, kl)
    elif head.kind == BETA:
        divergence_of_beta(old, new, kl)
    else:
        divergence_of_gaussian(old, new, kl)


__all__ = [
    "apply_fisher",
    "HEAD",
    "Head",
    "describe",
    "differentiate",
    "divergence",
    "evaluate",
    "head_of",
    "sample",
]
