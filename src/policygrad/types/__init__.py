"""The data that flows through the library: arrays, rollouts and batches.

Arrays are time-major: `[T, N, ...]` is T steps of N environments, and `[B, ...]` is B samples with the time and
environment axes folded together. Learning uses float32; rewards and statistics use float64.
"""

from policygrad._support.lookup import renamed
from policygrad._support.state import State
from policygrad.types.arrays import F32, F64, I64, Array, Bool, check_shape
from policygrad.types.batch import (
    Batch,
    Inputs,
    LearnerState,
    Minibatches,
    Outputs,
    PolicyOutputs,
    check_inputs,
)
from policygrad.types.rollout import Rollout

__all__ = [
    "F32",
    "F64",
    "I64",
    "Array",
    "Batch",
    "Bool",
    "Inputs",
    "LearnerState",
    "Minibatches",
    "Outputs",
    "PolicyOutputs",
    "Rollout",
    "State",
    "check_inputs",
    "check_shape",
]

__getattr__ = renamed(
    __name__,
    {
        "Sample": "the loss as a function loss(s, k), a policygrad.losses.LossFunction",
        "Cotangents": "policygrad.losses.LossFunction, or DerivativesFunction for derivatives written by hand",
    },
)
