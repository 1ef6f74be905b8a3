"""A recipe as numbers, which the compiled loop executes. `plan.make_plan` makes them."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from policygrad._support.function_pointers import ADDRESS
from policygrad.types import F64, I64

_I2, _D1, _D2, _D3 = types.int64[:, ::1], types.float64[::1], types.float64[:, ::1], types.float64[:, :, ::1]

NEVER, AT_TRUNCATIONS, EVERYWHERE = range(3)
POLICY, VALUE_ONLY, BOTH = range(3)
NO_NORMALIZATION, BATCH, MINIBATCH, EPISODES = range(4)
(
    NETWORKS,
    EPOCHS,
    SIZE,
    NORMALIZE,
    AGAIN,
    LOSS,
    COLUMNS,
    COEFFICIENTS,
    TOGETHER,
    OLD_LOG_PROB,
    MAIN,
    TRACES,
) = range(12)
"""Columns of `Plan.passes`. COLUMNS and COEFFICIENTS are numbers of columns and coefficients of the loss, TOGETHER says
that each network's derivatives depend on the other one, MAIN is 1 for the algorithm's loss, and TRACES is 1 for a step
along eligibility traces."""
SCHEDULED, PER_EPISODE, ADAPTED = range(3)
"""How a coefficient is computed."""


class Plan(NamedTuple):
    """A recipe as numbers. See `recipe.Recipe` for fields of the same name."""

    horizon: int
    """0 collects one whole episode of each environment."""
    estimator: int
    """Address of the estimator."""
    parameters: F64
    bootstrap: int
    """`NEVER`, `AT_TRUNCATIONS` or `EVERYWHERE`."""
    reads_value: bool
    reads_log_ratio: bool
    relative_rounding: float
    """Relative difference below which advantages count as equal."""
    early_pass: int
    """−1 for none."""
    evaluates_policy_first: bool
    discount_weighting: bool
    per_episode: bool
    gamma: float
    passes: I64
    """[passes, fields]: see `NETWORKS` and the other constants of this module."""
    max_kl: F64
    """[passes]."""
    columns: I64
    """[passes, columns]: the columns that a pass reads, as rows of `Work.columns`."""
    coefficients: F64
    """[passes, 3, coefficients]: start, end and current value of each coefficient."""
    computed: I64
    """[passes, coefficients]: `SCHEDULED`, or `PER_EPISODE` or `ADAPTED` for a coefficient that is computed."""
    rates: F64
    """[2, 2]: start and end of the learning rates of the policy and of V(s)."""
    optimizer: int
    max_grad_norm: float
    loss_value: int
    """Address of the machine code of the loss itself; 0 if it has none."""
    clip: F64
    """[2]: start and end of the clip range; infinite if it is not measured."""
    kl_samples: int
    penalty: F64
    """[3]: current weight, initial weight, and target of the KL, which is 0 for a constant weight."""
    remembered: float
    """0 for the explained variance of single updates."""
    values: int
    evaluations: int
    take_steps: int
    """Addresses of the functions of `engines.fused.forward_loop` and of `update_loop`."""
    walk: int
    """Address of the function of `rollout.compiled_steps`."""
    step_along_traces: int
    """Address of the function of `engines.fused.traces`; 0 without traces."""
    decays: F64
    """[2]: γλ of the policy's and of the value network's traces."""
    limits: F64
    """[2, K]: stored actions below the first or above the second are clipped; [2, 0] if they never are."""
    std: float
    """If the parameters ahead of the policy's layers are log σ, this number times the mean σ is logged; otherwise 0."""
    potential: int
    """Address of the potential that shapes the rewards; 0 for none."""
    normalizes_observations: bool
    normalizes_rewards: bool
    """See `policies.Normalization`."""
    reward_limit: float
    """Scaled rewards are clipped to ± this number."""


PLAN: Any = types.NamedTuple(
    [
        types.int64, ADDRESS, _D1, types.int64, types.boolean, types.boolean, types.float64, types.int64, types.boolean,
        types.boolean, types.boolean, types.float64, _I2, _D1, _I2, _D3, _I2, _D2, types.int64, types.float64, ADDRESS,
        _D1, types.int64, _D1, types.float64, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, _D1, _D2,
        types.float64, ADDRESS, types.boolean, types.boolean, types.float64,
    ],
    Plan,
)  # fmt: skip
