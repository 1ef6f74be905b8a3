"""Tracing: calls a loss with symbols, and explains what is wrong if that fails."""

from __future__ import annotations

import difflib
import inspect
import linecache
from collections.abc import Callable, Collection, Mapping
from numbers import Real
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from policygrad.errors import LossError
from policygrad.losses.source import OUTPUTS
from policygrad.losses.symbol import Symbol, topological

HERE = str(Path(__file__).parent)


class Names:
    """The `s` or `k` that a loss is called with. Each attribute is a symbol.

    Args:
        operation: `column` or `coefficient`.
        known: the names that the loss may read; None allows any name.
        missing: names that the loss may not read, each with the reason.
    """

    def __init__(self, operation: str, known: Collection[str] | None, missing: Mapping[str, str]) -> None:
        self._operation = operation
        self._known = known
        self._missing = missing
        self._symbols: dict[str, Symbol] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._missing or (self._known is not None and name not in self._known):
            raise LossError(self._message(name, self._known or ()))
        return self._symbol(name)

    def _symbol(self, name: str) -> Any:
        return self._symbols.setdefault(name, Symbol(self._operation, name))

    def _message(self, name: str, known: Collection[str]) -> str:
        letter = "s" if self._operation == "column" else "k"
        if name in self._missing:
            return f"{letter}.{name}: {self._missing[name]}"
        near = difflib.get_close_matches(name, known, n=1)
        hint = f": did you mean {letter}.{near[0]}?" if near else "."
        argument = "columns={'name': function}" if letter == "s" else f"coefficients={{{name!r}: 0.1}}"
        return (
            f"there is no {letter}.{name}{hint} The loss can read {', '.join(sorted(known))}. "
            f"Add your own with {argument}."
        )


class Numbers(Names):
    """Like `Names`, but each attribute is a random number."""

    def __init__(
        self, operation: str, known: Collection[str], missing: Mapping[str, str], rng: np.random.Generator
    ) -> None:
        super().__init__(operation, known, missing)
        self._rng = rng
        self._drawn: dict[str, float] = {}
        self._read: set[str] = set()

    def _symbol(self, name: str) -> float:
        self._read.add(name)
        if name not in self._drawn:
            normal = float(self._rng.normal())
            # coefficients are usually positive
            self._drawn[name] = abs(normal) if self._operation == "coefficient" else normal
        return self._drawn[name]

    def draw(self) -> None:
        """Discard the numbers, so that new ones are drawn."""
        self._drawn = {}

    def was_read(self, name: str) -> bool:
        """Return True if a number of this name was read."""
        return name in self._read


def trace(
    function: Callable[..., Any],
    columns: Collection[str] | None = None,
    coefficients: Collection[str] | None = None,
    missing: Mapping[str, str] | None = None,
) -> Symbol:
    """Call a loss with symbols and return the symbol of its result.

    Args:
        function: loss(s, k).
        columns: names of the columns that it may read, including log_prob, entropy and value; None allows any.
        coefficients: names of the coefficients that it may read; None allows any.
        missing: names of columns that it may not read, each with the reason.

    Raises:
        LossError: the function cannot be called with (s, k), or contains something that cannot be traced.
    """
    if not callable(function):
        raise LossError(f"a loss is a function of a sample and coefficients, loss(s, k); got {function!r}")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise LossError(
            f"{place_of(function)}: a loss takes a sample and coefficients, as in `def loss(s, k)`: {error}"
        ) from None
    s = Names("column", columns, {"kl": RESERVED, **(missing or {})})
    k = Names("coefficient", coefficients, {})
    result = _called(function, s, k)
    if not isinstance(result, Symbol) or result.is_condition:
        if isinstance(result, tuple):
            raise LossError(
                f"{place_of(function)}: a loss returns one number; got a tuple. Pass hand-written derivatives to an "
                "algorithm as derivatives=..., and print them with pg.show(algorithm)."
            )
        what = "a condition" if isinstance(result, Symbol) else repr(result)[:100]
        raise LossError(f"{place_of(function)}: a loss returns the loss of one sample, a number; got {what}")
    return result


def try_by_hand(
    function: Callable[..., Any],
    columns: Collection[str],
    coefficients: Collection[str],
    missing: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Call hand-written derivatives with random numbers, to find which names they read.

    A column or a coefficient counts as read if one of the calls read it, or if the function's code mentions it.

    Returns:
        Names of (columns read, coefficients read, outputs whose derivative is not always 0).

    Raises:
        LossError: the function reads a name that does not exist, fails, or does not return three numbers.
    """
    if not callable(function):
        raise LossError(
            f"derivatives must be a function of a sample and coefficients, (s, k); got {function!r}"
        )
    rng = np.random.default_rng(0)
    s = Numbers("column", columns, {"kl": RESERVED, **(missing or {})}, rng)
    k = Numbers("coefficient", coefficients, {}, rng)
    slopes = np.zeros(3)
    for _ in range(TRIALS):
        found = _called(function, s, k)
        if not (isinstance(found, tuple) and len(found) == 3 and all(isinstance(x, Real) for x in found)):  # pyright: ignore
            raise LossError(
                f"{place_of(function)}: hand-written derivatives must return three numbers, the derivatives with "
                f"respect to log π, H and V; got {found!r}"[:400]
            )
        slopes += np.abs(np.array(found, np.float64))
        s.draw()
        k.draw()
    mentioned = getattr(getattr(function, "__code__", None), "co_names", ())

    def read(names: Collection[str], numbers: Numbers) -> tuple[str, ...]:
        used = [name for name in names if name in mentioned or numbers.was_read(name)]
        return tuple(name for name in used if name not in OUTPUTS and name not in (missing or {}))

    with_slope = tuple(name for name, slope in zip(OUTPUTS, slopes, strict=True) if slope != 0)
    return read(columns, s), read(coefficients, k), with_slope


TRIALS = 20
"""Number of random samples that hand-written derivatives are tried with, so that most of their branches run."""

RESERVED = (
    "the exact KL divergence of a sample is not available to a loss: estimate KL(π_old ‖ π) by exp(x) − 1 − x with "
    "x = s.log_prob − s.old_log_prob"
)


def names_in(root: Symbol, operation: str) -> tuple[str, ...]:
    """Return the names of the columns, or of the coefficients, that a graph reads, in order of first use."""
    names = (symbol.arguments[0] for symbol in topological([root]) if symbol.operation == operation)
    return tuple(dict.fromkeys(name for name in names if name not in OUTPUTS))


def _called(function: Callable[..., Any], s: Names, k: Names) -> Any:
    """Return function(s, k). Raises LossError with the line that failed."""
    try:
        return function(s, k)
    except Exception as error:
        reason = str(error) if isinstance(error, LossError) else f"{type(error).__name__}: {error}"
        raise LossError(f"{_line(error.__traceback__) or place_of(function)}: {reason}") from error


def _line(traceback: TracebackType | None) -> str | None:
    """Return `file:line: source` of the last line of a traceback that is not in this folder."""
    line = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(HERE):
            text = linecache.getline(file, traceback.tb_lineno, traceback.tb_frame.f_globals).strip()
            line = f"{file}:{traceback.tb_lineno}" + (f": `{text}`" if text else "")
        traceback = traceback.tb_next
    return line


def place_of(function: Any) -> str:
    """Return `name (file:line)` of a function, or only its name if it has no Python code."""
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", repr(function))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name
