"""Metrics of an update: how far the policy moved, and how accurate V(s) was. See `metrics.METRICS`.

The functions are compiled for the sake of algorithms that learn from a few samples at a time: NumPy calls would take
longer than the learning itself.
"""

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad.advantages.scaling import ROUNDING
from policygrad.interfaces import Engine
from policygrad.policies import kl_of
from policygrad.types import F32, F64, Batch

MAX_KL_SAMPLES = 256
"""Maximum number of samples on which the change of the policy is measured. All would cost a tenth of learning."""
RELATIVE_ROUNDING = ROUNDING * float(np.finfo(np.float32).eps)
"""Targets whose standard deviation is at most this fraction of their mean differ only by float32 rounding."""


def log_prob_before(engine: Engine, batch: Batch) -> F32 | None:
    """Return log π [B] before an update, for `policy_change_metrics`; None if the update itself returns the same.

    The two differ if the network has modes: an update may compute log π in training mode, whereas the metrics compare
    it in evaluation mode.
    """
    return engine.evaluate(batch.inputs, batch.action)[0] if engine.has_modes else None


def policy_change_metrics(
    engine: Engine, batch: Batch, old_log_prob: F32, *, clip: float | None = None, at_most: int | None = None
) -> dict[str, float]:
    """Measure on the samples how far the policy has moved from the one that acted.

    Args:
        engine: engine with the current policy.
        batch: the samples.
        old_log_prob: [B], log π of the policy that acted; see `log_prob_before`.
        clip: ε; if given, the share of samples whose ratio is outside 1 ± ε is measured too.
        at_most: maximum number of samples to use, evenly spaced.
    """
    inputs, action = batch.inputs, batch.action
    if at_most is not None and len(batch) > at_most:
        rows = np.arange(0, len(batch), -(-len(batch) // at_most))
        inputs, action, old_log_prob = inputs.rows(rows), action[rows], old_log_prob[rows]
    log_prob, _ = engine.evaluate(inputs, action)
    kl, largest, share = policy_change(log_prob, old_log_prob, np.inf if clip is None else clip)
    metrics = {"kl": kl, "largest_ratio": largest}
    return metrics if clip is None else metrics | {"clip_share": share}


def value_metrics(
    value: F32, target: F32, moments: F64 | None = None, remembered: float = 0.0
) -> dict[str, float]:
    """Measure how accurate V(s) [B] was for the targets [B] that it is regressed on.

    Args:
        value, target: V(s) before the update, and its regression target G.
        moments: [2, 3] float64, updated in place: for G − V and for G, the weight, the mean and the sum of squared
            deviations of earlier samples. The explained variance then covers these samples too, because that of a few
            samples alone would be meaningless.
        remembered: number of recent samples that the explained variance covers; the weight of earlier samples
            decreases by 1/e for as many new ones. 0 forgets earlier samples.
    """
    loss, bias, explained = value_errors(
        value, target, np.zeros((2, 3)) if moments is None else moments, remembered
    )
    return {"value_loss": loss, "value_bias": bias, "explained_variance": explained}


@compiled_when_called
def mean(column: F32 | F64) -> float:
    """Return the mean of a column [B], summed in float64."""
    total = 0.0
    for i in range(len(column)):
        total += np.float64(column[i])
    return total / len(column)


@compiled_when_called
def policy_change(log_prob: F32, old_log_prob: F32, clip: float) -> tuple[float, float, float]:
    """Return (mean of `kl_estimate`, largest ratio, share of ratios outside 1 ± ε)."""
    kl, largest, beyond = 0.0, 0.0, 0
    for i in range(len(log_prob)):
        log_ratio = np.float64(log_prob[i]) - np.float64(old_log_prob[i])
        kl += kl_of(log_ratio)
        change = np.expm1(log_ratio)
        largest = max(largest, 1 + change)
        beyond += abs(change) > clip
    return kl / len(log_prob), largest, beyond / len(log_prob)


@compiled_when_called
def value_errors(value: F32, target: F32, moments: F64, remembered: float) -> tuple[float, float, float]:
    """Return (½ mean (V − G)², mean (V − G), explained variance): see `value_metrics`.

    The last one is NaN if G is constant up to rounding.
    """
    B = len(value)
    kept = np.exp(-B / remembered) if remembered > 0 else 0.0
    error = total = 0.0
    for i in range(B):
        error += np.float64(target[i]) - np.float64(value[i])
        total += np.float64(target[i])
    means = (error / B, total / B)
    around_error = around_total = 0.0
    for i in range(B):
        around_error += (np.float64(target[i]) - np.float64(value[i]) - means[0]) ** 2
        around_total += (np.float64(target[i]) - means[1]) ** 2
    arounds = (around_error, around_total)
    loss = 0.5 * (around_error / B + means[0] ** 2)
    for k in range(2):
        # Chan, Golub & LeVeque 1983, eq. 2.1
        before = moments[k, 0] * kept
        weight = before + B
        shift = means[k] - moments[k, 1]
        moments[k, 1] += shift * B / weight
        moments[k, 2] = moments[k, 2] * kept + arounds[k] + shift**2 * before * B / weight
        moments[k, 0] = weight
    noise = moments[1, 0] * (RELATIVE_ROUNDING * moments[1, 1]) ** 2
    explained = 1 - moments[0, 2] / moments[1, 2] if moments[1, 2] > noise else np.nan
    return loss, -means[0], explained
