"""What flows through the library: arrays, rollouts, batches.

Arrays are time-major: `[T, N, ...]` is T steps of N environments, `[B, ...]` is B samples with time and
environment folded together. Learning is float32; rewards and statistics are float64.
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
        "Cotangents": "policygrad.losses.LossFunction, or DerivativesFunction for derivatives by hand",
    },
)
