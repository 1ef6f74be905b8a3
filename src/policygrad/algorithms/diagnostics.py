"""What an update tells of itself: how far the policy moved, and how good V(s) was. See `metrics.METRICS`.

Compiled, for algorithms that learn from a few samples at a time: there NumPy's calls would cost more than learning.
"""

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad.advantages.scaling import ROUNDING
from policygrad.interfaces import Engine
from policygrad.policies import kl_of
from policygrad.types import F32, F64, Batch

MAX_KL_SAMPLES = 256
"""Samples that say how far a single step took the policy: to look at all of them would cost a tenth of learning."""
RELATIVE_ROUNDING = ROUNDING * float(np.finfo(np.float32).eps)
"""Targets whose standard deviation is at most this share of their mean differ by float32's rounding alone."""


def log_prob_before(engine: Engine, batch: Batch) -> F32 | None:
    """log π [B] before an update, for `policy_change_metrics`; None where the update's own says the same.

    An update may compute it in training mode, while afterwards it is looked at in evaluation mode.
    """
    return engine.evaluate(batch.inputs, batch.action)[0] if engine.has_modes else None


def policy_change_metrics(
    engine: Engine, batch: Batch, old_log_prob: F32, *, clip: float | None = None, at_most: int | None = None
) -> dict[str, float]:
    """How far the policy has come from the one that acted, as the samples tell.

    Args:
        engine: has the policy as it is now.
        batch: the samples.
        old_log_prob: [B], log π of the policy that acted; see `log_prob_before`.
        clip: ε, for the share of the samples whose ratio is beyond 1 ± ε.
        at_most: as many of the samples, evenly spaced, are enough.
    """
    inputs, action = batch.inputs, batch.action
    if at_most is not None and len(batch) > at_most:
        every = np.arange(0, len(batch), -(-len(batch) // at_most))
        inputs, action, old_log_prob = inputs.rows(every), action[every], old_log_prob[every]
    log_prob, _ = engine.evaluate(inputs, action)
    kl, largest, share = _policy_change(log_prob, old_log_prob, np.inf if clip is None else clip)
    metrics = {"kl": kl, "largest_ratio": largest}
    return metrics if clip is None else metrics | {"clip_share": share}


def value_metrics(value: F32, target: F32, moments: F64 | None = None, kept: float = 0.0) -> dict[str, float]:
    """How good V(s) [B] was for the targets [B] that it is regressed on.

    Args:
        value, target: V(s) before the update, and what it is to become.
        moments: [2, 3] float64, changed in place: the weight of the samples before these, and the mean and the sum of
            squared distances from it of G − V and of G. What V(s) explains is then of them too: of very few samples
            that would say nothing.
        kept: the share of that weight that is left, in [0, 1].
    """
    loss, bias, explained = _errors(value, target, np.zeros((2, 3)) if moments is None else moments, kept)
    return {"value_loss": loss, "value_bias": bias, "explained_variance": explained}


@compiled_when_called
def mean(column: F32) -> float:
    """Return the mean of [B], summed in float64."""
    total = 0.0
    for i in range(len(column)):
        total += np.float64(column[i])
    return total / len(column)


@compiled_when_called
def _policy_change(log_prob: F32, old_log_prob: F32, clip: float) -> tuple[float, float, float]:
    """(mean of `kl_estimate`, largest ratio, share beyond 1 ± ε)."""
    kl, largest, beyond = 0.0, 0.0, 0
    for i in range(len(log_prob)):
        log_ratio = np.float64(log_prob[i]) - np.float64(old_log_prob[i])
        kl += kl_of(log_ratio)
        change = np.expm1(log_ratio)
        largest = max(largest, 1 + change)
        beyond += abs(change) > clip
    return kl / len(log_prob), largest, beyond / len(log_prob)


@compiled_when_called
def _errors(value: F32, target: F32, moments: F64, kept: float) -> tuple[float, float, float]:
    """(½ mean (V − G)², mean (V − G), explained variance or NaN where G is constant up to rounding)."""
    B = len(value)
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
        apart = means[k] - moments[k, 1]
        moments[k, 1] += apart * B / weight
        moments[k, 2] = moments[k, 2] * kept + arounds[k] + apart**2 * before * B / weight
        moments[k, 0] = weight
    noise = moments[1, 0] * (RELATIVE_ROUNDING * moments[1, 1]) ** 2
    explained = 1 - moments[0, 2] / moments[1, 2] if moments[1, 2] > noise else np.nan
    return loss, -means[0], explained
