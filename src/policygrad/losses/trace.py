"""Calling a loss with symbols, and what to say where that fails."""

from __future__ import annotations

import difflib
import inspect
import linecache
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from policygrad.errors import LossError
from policygrad.losses.source import OUTPUTS
from policygrad.losses.symbol import Symbol, topological

HERE = str(Path(__file__).parent)


class Names:
    """`s` or `k` of a loss: each attribute is a symbol.

    Args:
        operation: `column` or `coefficient`.
        known: the names that there are; None if all are allowed.
        missing: what to say of names that there are not, and of any other.
    """

    def __init__(self, operation: str, known: Collection[str] | None, missing: Mapping[str, str]) -> None:
        self._operation = operation
        self._known = known
        self._missing = missing
        self._symbols: dict[str, Symbol] = {}

    def __getattr__(self, name: str) -> Symbol:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._missing or (self._known is not None and name not in self._known):
            raise LossError(self._message(name, self._known or ()))
        return self._symbols.setdefault(name, Symbol(self._operation, name))

    def _message(self, name: str, known: Collection[str]) -> str:
        letter = "s" if self._operation == "column" else "k"
        if name in self._missing:
            return f"{letter}.{name}: {self._missing[name]}"
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {letter}.{near[0]}? " if near else ""
        more = (
            "columns={'name': function} adds one of your own"
            if letter == "s"
            else f"coefficients={{{name!r}: 0.1}} adds one of your own"
        )
        return f"there is no {letter}.{name}: {hint}There are {', '.join(sorted(known))}; {more}"


def trace(
    function: Callable[..., Any],
    columns: Collection[str] | None = None,
    coefficients: Collection[str] | None = None,
    missing: Mapping[str, str] | None = None,
) -> Symbol:
    """Call a loss with symbols; returns the symbol of its result.

    Args:
        function: loss(s, k).
        columns: names of the numbers of a sample, log_prob, entropy and value among them; None allows any.
        coefficients: names of the coefficients; None allows any.
        missing: why certain columns are not among them.

    Raises:
        LossError: it cannot be called so, or does what cannot be traced.
    """
    if not callable(function):
        raise LossError(f"a loss is a function of a sample and of coefficients, loss(s, k); got {function!r}")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise LossError(
            f"{place_of(function)}: a loss takes a sample and coefficients, as in `def loss(s, k)`: {error}"
        ) from None
    s = Names("column", columns, {"kl": RESERVED, **(missing or {})})
    k = Names("coefficient", coefficients, {})
    try:
        result = function(s, k)
    except Exception as error:
        reason = str(error) if isinstance(error, LossError) else f"{type(error).__name__}: {error}"
        raise LossError(f"{_line(error.__traceback__) or place_of(function)}: {reason}") from error
    if not isinstance(result, Symbol) or result.is_condition:
        what = "a condition" if isinstance(result, Symbol) else repr(result)[:100]
        raise LossError(f"{place_of(function)}: a loss returns the loss of one sample, a number; got {what}")
    return result


RESERVED = (
    "the exact KL of a sample is not among a loss's columns: estimate KL(π_old ‖ π) by r − 1 − log(r) with "
    "r = exp(s.log_prob − s.old_log_prob)"
)


def names_in(root: Symbol, operation: str) -> tuple[str, ...]:
    """Return the names of the columns, or of the coefficients, that a graph reads, in the order of their first use."""
    found = (symbol.arguments[0] for symbol in topological([root]) if symbol.operation == operation)
    return tuple(dict.fromkeys(name for name in found if name not in OUTPUTS))


def _line(traceback: TracebackType | None) -> str | None:
    """Return `file:line: source` of the last line of a traceback that is not this library's."""
    found = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(HERE):
            text = linecache.getline(file, traceback.tb_lineno, traceback.tb_frame.f_globals).strip()
            found = f"{file}:{traceback.tb_lineno}" + (f": `{text}`" if text else "")
        traceback = traceback.tb_next
    return found


def place_of(function: Any) -> str:
    """Return `name (file:line)` of a function."""
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", repr(function))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name
