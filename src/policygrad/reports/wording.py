"""Numbers, intervals and lists in the words of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from policygrad.statistics import Estimate


def number(x: float | None) -> str:
    """Return a number with four significant digits, or all digits of a whole number; "—" if there is none.

    >>> number(497.3333), number(-0.0123412), number(21504.0), number(1e-9), number(math.nan)
    ('497.3', '−0.01234', '21,504', '1e−09', '—')
    """
    if x is None or math.isnan(x):
        return "—"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    size = abs(x)
    if size >= 1e15 or 0 < size < 1e-4:
        text = f"{x:.4g}"
    elif size >= 1000 or x == int(x):
        text = f"{x:,.0f}"
    else:
        text = f"{x:.4g}"
    return ("0" if text == "-0" else text).replace("-", "−")


def ends(low: float, high: float, level: float) -> str:
    """Return an interval in words, which are not torn apart at a space: "95 % interval 490.1 to 500"."""
    return f"{100 * level:.3g}\u00a0% interval {number(low)} to {number(high)}"


def estimate_in_words(estimate: Estimate) -> str:
    """Return an estimate with its interval, or why it has none."""
    if math.isnan(estimate.low):
        return f"{number(estimate.value)} ({estimate.method})"
    return f"{number(estimate.value)} ({ends(estimate.low, estimate.high, estimate.level)})"


def p_value(p: float) -> str:
    """Return a p-value in words.

    >>> p_value(0.0251).replace("\u00a0", " ")
    'p = 0.025'
    """
    return f"p\u00a0=\u00a0{p:.2g}"


def counted(count: int, name: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names as a list in a sentence.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def seconds_in_words(seconds: float | None) -> str:
    """Return a time.

    >>> seconds_in_words(0.1234), seconds_in_words(75.0), seconds_in_words(7320.0)
    ('0.12 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds is None or math.isnan(seconds):
        return "—"
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
