"""Losses that are written once as a function of one sample, for torch tensors and for compiled code."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections import namedtuple
from collections.abc import Callable, Collection, Mapping
from functools import cache, cached_property
from types import CodeType, SimpleNamespace
from typing import Any, TypeAlias

import numba
import numpy as np
from numba.core.errors import NumbaError
from torch import Tensor

from policygrad._support.code_cache import fingerprint
from policygrad.errors import LossError
from policygrad.losses import compiled_loss
from policygrad.losses.differentiate import ZERO, derivatives
from policygrad.losses.source import OUTPUTS, derivatives_source, equation, graph, value_source
from policygrad.losses.symbol import Symbol, topological
from policygrad.losses.trace import names_in, place_of, trace, try_by_hand
from policygrad.types import F32, F64

LossFunction: TypeAlias = Callable[[Any, Any], Any]
"""loss(s, k) -> the loss of one sample.

`s.log_prob`, `s.entropy` and `s.value` are the networks' current outputs for the sample. All other attributes of `s`,
such as `s.advantage`, are constants. `k` contains the coefficients. The function may use arithmetic and the functions
of `policygrad.losses`.
"""

DerivativesFunction: TypeAlias = Callable[[Any, Any], tuple[Any, Any, Any]]
"""derivatives(s, k) -> (d_log_prob, d_entropy, d_value) of one sample. It uses plain numbers; Numba compiles it."""


class Loss:
    """A traced loss, or the hand-written derivatives of one. It can be evaluated, differentiated and compiled.

    Args:
        function: loss(s, k), or derivatives(s, k).
        root: the traced graph of the loss; None for hand-written derivatives.
        columns: names of the constants of a sample that the function reads.
        coefficients: names of the coefficients that the function reads.
        outputs: for hand-written derivatives, names of the outputs whose derivative is not 0.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        root: Symbol | None,
        columns: tuple[str, ...],
        coefficients: tuple[str, ...],
        outputs: tuple[str, ...] = OUTPUTS,
    ) -> None:
        self.function = function
        self.root = root
        self.columns = columns
        self.coefficients = coefficients
        self._outputs = outputs

    @cached_property
    def derivatives(self) -> list[Symbol] | None:
        """Graphs of the derivatives with respect to log π, H and V; None for hand-written derivatives."""
        if self.root is None:
            return None
        symbols = {s.arguments[0]: s for s in topological([self.root]) if s.operation == "column"}
        return derivatives(self.root, [symbols.get(name, ZERO) for name in OUTPUTS])

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names among log_prob, entropy and value that the loss has a derivative with respect to."""
        if self.derivatives is None:
            return self._outputs
        return tuple(name for name, d in zip(OUTPUTS, self.derivatives, strict=True) if d is not ZERO)

    @cached_property
    def separates(self) -> bool:
        """True if the policy's derivatives do not depend on V(s), nor those of V(s) on the policy.

        Each network may then be updated separately, on its own core.
        """
        if self.derivatives is None:
            return False
        of_policy, of_value = (
            {s.arguments[0] for s in topological(roots) if s.operation == "column"}
            for roots in (self.derivatives[:2], self.derivatives[2:])
        )
        return "value" not in of_policy and not {"log_prob", "entropy"} & of_value

    @cached_property
    def source(self) -> str:
        """Python source of the loop that computes the derivatives, to be compiled."""
        if self.derivatives is not None:
            return derivatives_source(self.derivatives, self.columns, self.coefficients)
        s = [f"outputs[{row}, start + i]" for row in range(3)]
        s += [f"columns[{row}, start + i]" for row in range(len(self.columns))]
        k = [f"coefficients[{i}]" for i in range(len(self.coefficients))]
        return "\n".join(
            [
                "def derivatives(outputs, columns, start, stop, coefficients, scale, result):",
                f"    k = Coefficients({', '.join(k)})",
                "    for i in range(stop - start):",
                f"        d_log_prob, d_entropy, d_value = by_hand(Sample({', '.join(s)}), k)",
                "        result[0, i] = scale * d_log_prob",
                "        result[1, i] = scale * d_entropy",
                "        result[2, i] = scale * d_value",
                "",
            ]
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 hash of what the loss computes. Losses with the same graph have the same digest."""
        text = digest_of_function(self.function) if self.root is None else graph(self.root)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def address(self) -> int:
        """Address of the machine code of the derivatives; see `compiled_loss.DERIVATIVES`."""
        if self.root is not None:
            return _compiled(self.source, compiled_loss.DERIVATIVES)
        try:
            return compiled_loss.compile_source(
                self.source,
                compiled_loss.DERIVATIVES,
                by_hand=numba.njit(error_model="numpy")(self.function),
                Sample=_tuple_of("Sample", (*OUTPUTS, *self.columns)),
                Coefficients=_tuple_of("Coefficients", self.coefficients),
            )
        except NumbaError as error:
            raise LossError(
                f"{place_of(self.function)}: Numba cannot compile these derivatives. Functions that they call need "
                f"numba.njit, and the functions of policygrad.losses cannot be used in them. Numba says: {error}"
            ) from error

    @cached_property
    def value_address(self) -> int:
        """Address of the machine code of the loss itself; see `compiled_loss.VALUE`."""
        assert self.root is not None, "hand-written derivatives have no value"
        source = value_source(self.root, self.columns, self.coefficients)
        return _compiled(source, compiled_loss.VALUE)

    def numbers(self, coefficients: Mapping[str, float]) -> F64:
        """Return the coefficients, [C] float64, in the order that the machine code expects."""
        return np.array([coefficients[name] for name in self.coefficients], np.float64)

    def of_tensors(self, sample: Mapping[str, Tensor], coefficients: Mapping[str, Tensor | float]) -> Tensor:
        """Return the loss [B] of samples whose columns are tensors [B]; torch can differentiate it.

        Coefficients should be tensors too, so that the loss can apply the same functions to them as to a column.
        """
        return self.function(SimpleNamespace(**sample), SimpleNamespace(**coefficients))

    def mean(self, outputs: F32, columns: F32, coefficients: Mapping[str, float]) -> float:
        """Return the mean loss of B samples, computed in float64; NaN for hand-written derivatives.

        Args:
            outputs: [3, B] float32: log π(a|s), H and V(s).
            columns: [C, B] float32, in the order of `columns`.
            coefficients: values by name; names that the loss does not read are ignored.
        """
        if self.root is None:
            return math.nan
        return compiled_loss.mean_value(self.value_address, outputs, columns, self.numbers(coefficients))

    def differentiated(
        self, outputs: F32, columns: F32, coefficients: Mapping[str, float], scale: float = 1.0
    ) -> F32:
        """Return `scale` times the derivatives [3, B] with respect to log π, H and V. See `mean` for the arguments."""
        result = np.empty_like(outputs)
        compiled_loss.write_derivatives(
            self.address, outputs, columns, self.numbers(coefficients), scale, result
        )
        return result


def _tuple_of(name: str, fields: tuple[str, ...]) -> Any:
    """Return a named-tuple class, which Numba can compile."""
    return namedtuple(name, fields)  # pyright: ignore[reportUntypedNamedTuple]


@cache
def _compiled(source: str, signature: Any) -> int:
    return compiled_loss.compile_source(source, signature)


def traced(
    function: LossFunction,
    columns: Collection[str] | None = None,
    coefficients: Collection[str] | None = None,
    missing: Mapping[str, str] | None = None,
) -> Loss:
    """Trace a function and return its loss; see `trace.trace` for the arguments and errors."""
    root = trace(function, columns, coefficients, missing)
    return Loss(function, root, names_in(root, "column"), names_in(root, "coefficient"))


def from_derivatives(
    function: DerivativesFunction,
    columns: Collection[str],
    coefficients: Collection[str],
    missing: Mapping[str, str] | None = None,
) -> Loss:
    """Return a loss with hand-written derivatives, which Numba compiles; see `trace.try_by_hand`."""
    python = getattr(function, "py_func", function)
    columns, coefficients, outputs = try_by_hand(python, columns, coefficients, missing)
    return Loss(python, None, columns, coefficients, outputs)


def digest_of_function(function: Any) -> str:
    """Return a digest of a function's code and of all that it refers to, or of its code alone if that is unknown."""
    python = getattr(function, "__func__", function)
    if not inspect.isfunction(python):
        return hashlib.sha256(repr(type(function)).encode()).hexdigest()
    return fingerprint(python, {}) or hashlib.sha256(repr(_of_code(python.__code__)).encode()).hexdigest()


def _of_code(code: Any) -> Any:
    constants = [_of_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return code.co_code, constants, code.co_names


def description(loss: Loss) -> str:
    """Return text with the equation, the graph and the derived code of a loss."""
    if loss.root is None:
        try:
            written = inspect.getsource(loss.function)
        except OSError:
            # a function typed into an interpreter has no source file
            written = place_of(loss.function)
        return f"hand-written derivatives\n{written}\n\ncode\n{loss.source}"
    return f"equation\n{equation(loss.root)}\n\ngraph\n{graph(loss.root)}\n\ncode\n{loss.source}"
