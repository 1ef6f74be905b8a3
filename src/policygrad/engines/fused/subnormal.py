"""Numbers so small that processors take 20 times as long over them, and that may as well be 0."""

# pyright: basic

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import inlined

FLUSH_BELOW = 1e-30
"""Less than this is 0. float32 is normal down to 1.2e-38, which leaves room for the products to come: a certain
softmax's probabilities of the others are as small as 1e-38, and go on through a network; an optimiser's mean of
gradients that have stopped halves every 7 steps, until it stays at 1e-44 for good. The root of the mean of squares
loses 3e-14 at most, beside an ε of 1e-8."""
FLUSH_BEFORE_SQUARING = 1e-15
"""Of what is to be squared."""
f32 = np.float32


@inlined
def flushed(x):
    """x, or 0 where it is less than `FLUSH_BELOW`; NaN of NaN."""
    return f32(0) if abs(x) < f32(FLUSH_BELOW) else x


@inlined
def flushed_square(x):
    """x², or 0 where that is less than `FLUSH_BELOW`; NaN of NaN."""
    # cut off before it is squared: the square is what takes long
    x = f32(0) if abs(x) < f32(FLUSH_BEFORE_SQUARING) else x
    return x * x
