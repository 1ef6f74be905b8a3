"""Symbolic numbers. Calling a loss with them once records its arithmetic as a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any, NoReturn

import numpy as np

from policygrad.errors import LossError

CONDITIONS = {"<", ">", "<=", ">=", "&", "|", "~"}
"""Operations whose result is true or false."""
FUNCTIONS = (
    "exp", "log", "log1p", "expm1", "sqrt", "tanh", "sigmoid", "minimum", "maximum", "clip", "where", "absolute",
    "stop_gradient",
)  # fmt: skip
"""Names of the functions of `policygrad.losses`, for error messages."""
ELSEWHERE = {
    "abs": "absolute", "clamp": "clip", "min": "minimum", "max": "maximum", "fmin": "minimum", "fmax": "maximum",
    "detach": "stop_gradient", "expit": "sigmoid", "square": "x**2", "pow": "x**2",
}  # fmt: skip
"""What to write here, by the name that other libraries use."""


class Symbol:
    """A node of a loss's graph.

    Args:
        operation: the operation that this node applies, or `constant`, `column` or `coefficient`.
        arguments: the operands; for a constant its number, and for a column or a coefficient its name.
    """

    __slots__ = ("arguments", "operation")
    __hash__ = object.__hash__

    def __init__(self, operation: str, *arguments: Any) -> None:
        self.operation = operation
        self.arguments = arguments

    @property
    def is_condition(self) -> bool:
        """True if this is a comparison or a combination of comparisons."""
        return self.operation in CONDITIONS

    @property
    def inputs(self) -> Iterator[Symbol]:
        """The symbols that this one is computed from."""
        return (argument for argument in self.arguments if isinstance(argument, Symbol))

    def __add__(self, other: Any) -> Symbol:
        return apply("+", self, other)

    def __radd__(self, other: Any) -> Symbol:
        return apply("+", other, self)

    def __sub__(self, other: Any) -> Symbol:
        return apply("-", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return apply("-", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return apply("*", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return apply("*", other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return apply("/", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return apply("/", other, self)

    def __neg__(self) -> Symbol:
        return apply("negative", self)

    def __pos__(self) -> Symbol:
        return self

    def __abs__(self) -> Symbol:
        return apply("absolute", self)

    def __pow__(self, exponent: Any) -> Symbol:
        if isinstance(exponent, bool) or not isinstance(exponent, Real):
            raise LossError("the exponent of a power must be a number: write x**y as exp(y * log(x))")
        if exponent == 0:
            return Symbol("constant", 1.0)
        if exponent == 1:
            return self
        return apply("*", self, self) if exponent == 2 else apply("power", self, float(exponent))

    def __rpow__(self, base: Any) -> NoReturn:
        raise LossError("the exponent of a power must be a number: write 2**x as exp(x * log(2))")

    def __lt__(self, other: Any) -> Symbol:
        return apply("<", self, other)

    def __gt__(self, other: Any) -> Symbol:
        return apply(">", self, other)

    def __le__(self, other: Any) -> Symbol:
        return apply("<=", self, other)

    def __ge__(self, other: Any) -> Symbol:
        return apply(">=", self, other)

    def __and__(self, other: Any) -> Symbol:
        return apply("&", self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Symbol:
        return apply("|", self, other)

    __ror__ = __or__

    def __invert__(self) -> Symbol:
        return apply("~", self)

    def __bool__(self) -> NoReturn:
        raise LossError(
            "a loss is traced once for all samples, so it cannot branch on the numbers of one. Write "
            "where(condition, a, b) instead of `if`; &, | and ~ instead of `and`, `or`, `not` and a < b < c; "
            "minimum(a, b) and maximum(a, b) instead of min(a, b) and max(a, b)."
        )

    def __eq__(self, other: object) -> NoReturn:
        raise LossError(
            "numbers of a sample are almost never exactly equal: instead of == and != write <, <=, > or >="
        )

    __ne__ = __eq__

    def __float__(self) -> NoReturn:
        raise LossError(
            "the numbers of a sample are not known while a loss is traced: instead of float(), int() and the functions "
            f"of `math` use those of policygrad.losses: {', '.join(FUNCTIONS)}"
        )

    __int__ = __index__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = __float__

    def __getitem__(self, _index: Any = None) -> NoReturn:
        raise LossError(
            "a loss is a function of one sample, whose numbers have no items to index or iterate over. Compute what "
            "depends on the whole batch before the loss, as a column: columns={'name': function}."
        )

    __iter__ = __len__ = __getitem__

    def __mod__(self, other: Any) -> NoReturn:
        raise LossError("a loss cannot use %, // and @: write it with +, −, *, / and powers")

    __rmod__ = __floordiv__ = __rfloordiv__ = __matmul__ = __rmatmul__ = __divmod__ = __mod__

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise LossError(f"a number of a sample has no attribute {name!r}: {instead_of(name)}")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Symbol:
        arithmetic = ARITHMETIC.get(ufunc)
        if arithmetic is None or method != "__call__" or options:
            raise LossError(
                f"numpy.{ufunc.__name__} cannot be differentiated here: {instead_of(ufunc.__name__)}"
            )
        return arithmetic(*inputs)

    def __array_function__(self, function: Any, *_: Any) -> NoReturn:
        raise LossError(
            f"numpy.{function.__name__} cannot be differentiated here: {instead_of(function.__name__)}"
        )

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> NoReturn:
        name = getattr(function, "__name__", "function")
        raise LossError(f"torch's {name} cannot be differentiated here: {instead_of(name.strip('_'))}")


def instead_of(name: str) -> str:
    """Return advice on what to write instead of another library's function."""
    name = ELSEWHERE.get(name, name)
    if "*" in name:
        return f"write {name}"
    if name in FUNCTIONS:
        return f"use policygrad.losses.{name}"
    return f"a loss may use arithmetic and the functions of policygrad.losses: {', '.join(FUNCTIONS)}"


def symbol_of(value: Any) -> Symbol:
    """Return a symbol unchanged, and a number as a constant symbol."""
    if isinstance(value, Symbol):
        return value
    if isinstance(value, bool | np.bool_):
        raise LossError("True and False are not numbers in a loss: write 1.0 and 0.0")
    if isinstance(value, Real):
        return Symbol("constant", float(value))
    raise LossError(
        f"a loss may contain the sample's numbers, coefficients and constants; it cannot contain "
        f"{type(value).__name__} {value!r}"[:300]
    )


def apply(operation: str, *arguments: Any) -> Symbol:
    """Return the symbol of an operation. Raises LossError if a condition is used as a number, or vice versa."""
    if operation == "power":
        return Symbol("power", _number(symbol_of(arguments[0])), arguments[1])
    symbols = [symbol_of(argument) for argument in arguments]
    if operation in ("&", "|", "~"):
        return Symbol(operation, *map(_condition, symbols))
    if operation == "where":
        return Symbol("where", _condition(symbols[0]), *map(_number, symbols[1:]))
    return Symbol(operation, *map(_number, symbols))


def _condition(symbol: Symbol) -> Symbol:
    if not symbol.is_condition:
        raise LossError("&, |, ~ and where need a condition, such as s.advantage > 0; got a number")
    return symbol


def _number(symbol: Symbol) -> Symbol:
    if symbol.is_condition:
        raise LossError("a condition is not a number: write where(condition, 1.0, 0.0)")
    return symbol


ARITHMETIC: dict[np.ufunc, Callable[..., Symbol]] = {
    np.add: lambda a, b: apply("+", a, b),
    np.subtract: lambda a, b: apply("-", a, b),
    np.multiply: lambda a, b: apply("*", a, b),
    np.true_divide: lambda a, b: apply("/", a, b),
    np.less: lambda a, b: apply("<", a, b),
    np.greater: lambda a, b: apply(">", a, b),
    np.less_equal: lambda a, b: apply("<=", a, b),
    np.greater_equal: lambda a, b: apply(">=", a, b),
}
"""Operations by the ufunc that NumPy calls when one of its scalars is the left operand."""


def topological(roots: list[Symbol]) -> list[Symbol]:
    """Return the roots and all symbols that they are computed from, each after its inputs."""
    order: list[Symbol] = []
    seen: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        symbol, inputs_are_done = stack.pop()
        if inputs_are_done:
            order.append(symbol)
        elif id(symbol) not in seen:
            seen.add(id(symbol))
            stack.append((symbol, True))
            stack += [(x, False) for x in reversed(list(symbol.inputs))]
    return order
