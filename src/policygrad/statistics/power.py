"""How many seeds would decide a comparison, and which difference the seeds at hand could have shown."""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy.special import nctdtr, nctdtrinc, stdtrit

POWER = 0.8
"""Probability of a decision for which seeds are planned, as is usual (Cohen 1988)."""
MOST_SEEDS = 1000
"""Larger numbers of seeds are not computed."""
MANY = 15
"""Number of seeds from which on skewed scores need no wider interval."""


def fewest_seeds(level: float) -> int:
    """Return the number of seeds below which nothing is decided: 6 at 95 %.

    The two-sided sign-flip test of n seeds has p ≥ 2^{1−n}. Configurations with different seeds need as many of each.
    Permutations of labels could reach p ≤ 0.05 with 4, but if the scores of one configuration are exponential and those
    of the other are not, with equal means, 4 and 5 seeds would decide in more than 10 % of studies.

    >>> fewest_seeds(0.95), fewest_seeds(0.99)
    (6, 8)
    """
    n = 6
    while 2.0 ** (1 - n) > 1 - level:
        n += 1
    return n


def cautious_level(n: int, level: float) -> float:
    """Return the level of the interval that decides: 98 % instead of 95 % for fewer than 15 seeds.

    With differences that have mean 0 and an exponential distribution, an interval of 95 % would decide in 5 to 7 % of
    studies with 6 to 14 seeds.

    >>> f"{cautious_level(10, 0.95):.2f} {cautious_level(20, 0.95):.2f}"
    '0.98 0.95'
    """
    return level if n >= MANY else 1 - 0.4 * (1 - level)


def seeds_needed(effect: float, level: float, *, paired: bool) -> int | None:
    """Return the number of seeds of each configuration with which a t test would decide with probability 0.8.

        P(T' > t_{df, 1−α/2}) ≥ 0.8,    T' noncentral t with df degrees of freedom and noncentrality δ √n or δ √(n/2)

    df is n − 1 for shared seeds and 2n − 2 for others, and 1 − α is `cautious_level`. The number assumes that the true
    effect is the given one. An effect that was estimated from few seeds is uncertain, and so is the number. The verdict
    of a comparison needs a little more than the t test, so these seeds lead to one with probability 0.7 to 0.8.

    >>> seeds_needed(0.5, 0.95, paired=True), seeds_needed(0.5, 0.95, paired=False)
    (34, 64)

    Args:
        effect: δ, the difference of the means divided by the standard deviation of the paired differences, or of the
            scores of a configuration.
        level: level of the comparison, such as 0.95.
        paired: True for shared seeds.

    Returns:
        None if more than `MOST_SEEDS` would be needed.
    """

    def is_enough(n: int) -> bool:
        df, scale = (n - 1, math.sqrt(n)) if paired else (2 * n - 2, math.sqrt(n / 2))
        critical = stdtrit(df, (1 + cautious_level(n, level)) / 2)
        # far above the critical value the power is 1, where the noncentral distribution is not computed accurately
        return 1 - nctdtr(df, min(abs(effect) * scale, 5 * critical), critical) >= POWER

    numbers = range(fewest_seeds(level), MOST_SEEDS + 1)
    place = bisect_left(numbers, True, key=is_enough)
    return numbers[place] if place < len(numbers) else None


def detectable(df: float, error: float, level: float) -> float:
    """Return the smallest true difference that a t test would decide with probability 0.8.

        Δ = λ se,    where P(T' > t_{df, 1−α/2}) = 0.8 for T' noncentral t with noncentrality λ

    >>> f"{detectable(33, 1 / math.sqrt(34), 0.95):.2f}"
    '0.50'

    Args:
        df: degrees of freedom of the t test.
        error: standard error of the difference.
        level: 1 − α.
    """
    return float(nctdtrinc(df, 1 - POWER, stdtrit(df, (1 + level) / 2))) * error
