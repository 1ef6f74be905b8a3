"""Losses: how they are written, differentiated and compiled.

An algorithm's loss is a function of one sample `s` and the coefficients `k`, written as in its paper. Calling it once
with symbols yields a graph. The graph is differentiated with respect to log π(a|s), H(π(·|s)) and V(s), and the
derivatives are compiled to machine code. The autograd engine calls the same function with torch tensors.
"""

from policygrad.losses.loss import (
    DerivativesFunction,
    Loss,
    LossFunction,
    description,
    digest_of_function,
    from_derivatives,
    traced,
)
from policygrad.losses.source import OUTPUTS
from policygrad.losses.trace import place_of
from policygrad.losses.vocabulary import (
    absolute,
    clip,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    sigmoid,
    sqrt,
    stop_gradient,
    tanh,
    where,
)

__all__ = [
    "OUTPUTS",
    "DerivativesFunction",
    "Loss",
    "LossFunction",
    "absolute",
    "clip",
    "description",
    "digest_of_function",
    "exp",
    "expm1",
    "from_derivatives",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "place_of",
    "sigmoid",
    "sqrt",
    "stop_gradient",
    "tanh",
    "traced",
    "where",
]
