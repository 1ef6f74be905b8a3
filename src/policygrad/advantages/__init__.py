"""Returns, baselines and advantages: pure functions on arrays [T, N].

`valid` marks the rows that are samples. Functions that take it ignore all other rows. Everything is float64.
"""

from policygrad._support.lookup import renamed
from policygrad.advantages.baselines import (
    leave_one_out_baseline,
    mean_baseline,
    optimal_baseline,
    time_baseline,
)
from policygrad.advantages.bootstrapped import generalized_advantages, n_step_returns, td_errors, vtrace
from policygrad.advantages.estimators import Estimator, estimate_at
from policygrad.advantages.returns import (
    check_whole_episodes,
    continue_discount_weights,
    discount_weights,
    returns_to_go,
)
from policygrad.advantages.scaling import (
    ROUNDING,
    normalize,
    normalize_in_place,
    normalize_parts,
    rounding_error,
)

__all__ = [
    "ROUNDING",
    "Estimator",
    "check_whole_episodes",
    "continue_discount_weights",
    "discount_weights",
    "estimate_at",
    "generalized_advantages",
    "leave_one_out_baseline",
    "mean_baseline",
    "n_step_returns",
    "normalize",
    "normalize_in_place",
    "normalize_parts",
    "optimal_baseline",
    "returns_to_go",
    "rounding_error",
    "td_errors",
    "time_baseline",
    "vtrace",
]

__getattr__ = renamed(
    __name__,
    {"explained_variance": "algorithms.diagnostics.value_metrics"},
)
