"""The action distributions in machine code: sampling, log π and H, and ∂L/∂output from the derivatives of the loss.

Each distribution is a module with the same functions, whose arguments and results are in `heads.head`. Compiled code
calls them by their addresses, so only the functions of the distribution that a run uses are compiled. `outputs` [B, ·]
are the outputs of a network's last layer, and `hidden` [B, L] are that layer's inputs. `log_std` are the parameters
before the perceptron's. Actions are as stored, [B, K] float32, with a choice as its index. The same formulas in torch
are in `policies.distributions`.
"""

# pyright: basic

from __future__ import annotations

from types import ModuleType

from policygrad._support.compiling import inlined
from policygrad._support.function_pointers import function_at
from policygrad.engines.fused.heads import beta, categorical, gaussian, gsde
from policygrad.engines.fused.heads.head import DIFFERENTIATE, EVALUATE, HEAD, SAMPLE, Head
from policygrad.policies import Policy
from policygrad.policies.distributions import GSDE, Beta, Categorical, Gaussian, SquashedGaussian

MODULES: dict[type, ModuleType] = {
    Categorical: categorical,
    Gaussian: gaussian,
    SquashedGaussian: gaussian,
    Beta: beta,
    GSDE: gsde,
}


def module_of(policy: Policy) -> ModuleType:
    """Return the module with the functions of a policy's distribution."""
    return MODULES[type(policy.distribution)]


def head_of(policy: Policy) -> Head:
    """Return the head for a policy's distribution."""
    module = module_of(policy)
    head: Head = module.head_of(policy.distribution, policy.network)
    return head._replace(
        sample=module.sample.address,
        evaluate=module.evaluate.address,
        differentiate=module.differentiate.address,
    )


_sample_at, _evaluate_at = function_at(SAMPLE), function_at(EVALUATE)
_differentiate_at = function_at(DIFFERENTIATE)


@inlined
def sample(head, outputs, hidden, log_std, noise, action):
    """Call the distribution's `sample`: see `SAMPLE`."""
    _sample_at(head.sample)(head, outputs, hidden, log_std, noise, action)


@inlined
def evaluate(head, outputs, hidden, log_std, action, log_prob, entropy):
    """Call the distribution's `evaluate`: see `EVALUATE`."""
    _evaluate_at(head.evaluate)(head, outputs, hidden, log_std, action, log_prob, entropy)


@inlined
def differentiate(head, outputs, hidden, log_std, action, entropy, d_log_prob, d_entropy, log_std_slope):
    """Call the distribution's `differentiate`: see `DIFFERENTIATE`."""
    _differentiate_at(head.differentiate)(
        head, outputs, hidden, log_std, action, entropy, d_log_prob, d_entropy, log_std_slope
    )


__all__ = ["HEAD", "Head", "differentiate", "evaluate", "head_of", "module_of", "sample"]
