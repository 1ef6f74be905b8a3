"""How noisy the policy's gradient is, measured while training, from the gradients of successive optimizer steps.

Two independent estimates g₁ and g₂ of the gradient G, each from B samples, have

    E[g₁ · g₂] = ‖G‖²     and     E[½ ‖g₁ − g₂‖²] = tr Cov(g)

The squared signal-to-noise ratio of a step is ‖G‖² / tr Cov(g). Its inverse times B is the gradient noise scale
B_simple = tr Σ / ‖G‖² of McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", eq. 2.9, where Σ is the
covariance of the gradient of a single sample.
"""

# pyright: basic
# partly compiled code

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from torch import nn

from policygrad._support.compiling import compiled, compiled_when_called, inlined
from policygrad._support.function_pointers import ADDRESS, addressable, function_at
from policygrad._support.state import copy_into, unpack
from policygrad.engines.signatures import NUMBERS, VECTOR
from policygrad.types import F32, F64, State

WANTED, SINCE, PAIRS, SIGNAL, NOISE, SAMPLES = range(6)
"""Entries of `GradientNoise.numbers`: which gradient of a pair the next one is (`FIRST`, `SECOND`, or 0 for neither);
the samples since the last pair; the number of pairs; and the running means of g₁ · g₂, of ½ ‖g₁ − g₂‖² and of B."""
FIRST, SECOND = 1, 2
NOISE_METRICS = ("gradient_snr", "noise_scale")
"""Names of the metrics that a run logs."""
BETWEEN = 1_024
"""Number of samples between two pairs, which keeps the cost near one percent unless an update takes only a few
microseconds."""
MEMORY = 100
"""Number of pairs after which the running means forget older ones."""


MEASURE: Any = types.void(VECTOR, types.float64, VECTOR, NUMBERS)


@addressable(MEASURE)
def measure(gradient, samples, previous, numbers):
    """Use the gradient of a step over some samples as the first or the second of a pair, whichever is wanted."""
    if numbers[WANTED] == SECOND:
        signal = noise = 0.0
        for i in range(gradient.size):
            now, before = types.float64(gradient[i]), types.float64(previous[i])
            signal += now * before
            noise += (now - before) * (now - before)
        numbers[WANTED] = 0
        numbers[PAIRS] += 1
        share = 1 / min(numbers[PAIRS], MEMORY)
        numbers[SIGNAL] += share * (signal - numbers[SIGNAL])
        numbers[NOISE] += share * (noise / 2 - numbers[NOISE])
        numbers[SAMPLES] += share * (samples - numbers[SAMPLES])
    else:
        for i in range(gradient.size):
            previous[i] = gradient[i]
        numbers[WANTED] = SECOND


@inlined
def begin_update(numbers, samples):
    """Let the next gradient be the first of a pair, if one is due before an update from a number of samples."""
    if numbers[WANTED] == 0 and (numbers[SINCE] >= BETWEEN or numbers[PAIRS] == 0):
        numbers[WANTED], numbers[SINCE] = FIRST, 0
    numbers[SINCE] += samples


measure_at = function_at(MEASURE)
"""Calls `measure` by its address: a copy in the loop of optimizer steps would make each of them slower."""


@compiled(types.void(ADDRESS, VECTOR, types.float64, VECTOR, NUMBERS), at_first_call=True)
def _measure(address, gradient, samples, previous, numbers):
    measure_at(address)(gradient, samples, previous, numbers)


@compiled(types.void(NUMBERS, types.float64), at_first_call=True)
def _begin_update(numbers, samples):
    begin_update(numbers, samples)


@compiled_when_called
def ratios(numbers):
    """Return (squared signal-to-noise ratio, noise scale in samples); NaN where they are not known.

    The estimate of ‖G‖² may be negative while the noise is much larger. Then the noise scale is not known.
    """
    if numbers[PAIRS] == 0 or not numbers[NOISE] > 0:
        return np.nan, np.nan
    ratio = numbers[SIGNAL] / numbers[NOISE]
    return ratio, numbers[SAMPLES] / ratio if ratio > 0 else np.nan


class GradientNoise:
    """Measures the noise of a gradient with P entries.

    A pair of gradients is from one update if its first epoch takes several steps, whose minibatches have no samples in
    common, and otherwise from two updates. Later epochs are left out, because the policy has already been fitted to
    their samples.
    """

    def __init__(self, size: int) -> None:
        self.previous: F32 = np.zeros(size, np.float32)
        """[P]: first gradient of the next pair."""
        self.numbers: F64 = np.zeros(6)
        """See `WANTED` and the other constants."""

    @classmethod
    def of(cls, module: nn.Module) -> GradientNoise:
        """Return one for the gradient of all parameters of a module."""
        return cls(sum(p.numel() for p in module.parameters()))

    def begin_update(self, samples: int) -> None:
        """Let the next gradient be the first of a pair, if one is due; call it before an update from some samples."""
        _begin_update(self.numbers, float(samples))

    def add(self, gradient: Callable[[], F32], samples: int) -> None:
        """Use the gradient [P] of a step over some samples, which a function returns, if it is wanted."""
        if self.numbers[WANTED]:
            _measure(measure.address, gradient(), float(samples), self.previous, self.numbers)

    def metrics(self) -> dict[str, float]:
        """Return the metrics of a run; NaN while they are not known."""
        ratio, scale = ratios(self.numbers)
        return dict(zip(NOISE_METRICS, (ratio, scale), strict=True))

    def state(self) -> State:
        """Return the serializable state."""
        return {"previous": self.previous.copy(), "numbers": self.numbers.copy()}

    def restore(self, state: State) -> None:
        """Restore a `state`; raise CheckpointError if it belongs to another network."""
        previous, numbers = unpack(state, "previous", "numbers")
        copy_into(self.previous, previous, "gradient noise's previous gradient")
        copy_into(self.numbers, numbers, "gradient noise's numbers")
