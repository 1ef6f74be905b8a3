"""Reverse-mode differentiation of a loss's graph."""

from __future__ import annotations

from policygrad.losses.symbol import Symbol, apply, topological

ZERO, ONE, HALF = (Symbol("constant", number) for number in (0.0, 1.0, 0.5))


def derivatives(root: Symbol, inputs: list[Symbol]) -> list[Symbol]:
    """Return the derivative of the root with respect to each input, or `ZERO` if the root does not depend on it."""
    order = topological([root])
    depends = {id(x) for x in inputs}
    for symbol in order:
        if symbol.operation != "stop_gradient" and any(id(x) in depends for x in symbol.inputs):
            depends.add(id(symbol))
    adjoints = {id(root): ONE}
    for symbol in reversed(order):
        if id(symbol) in depends and id(symbol) in adjoints:
            for argument, slope in _slopes(symbol, adjoints[id(symbol)]):
                if id(argument) in depends and slope is not ZERO:
                    before = adjoints.get(id(argument))
                    adjoints[id(argument)] = slope if before is None else before + slope
    return [adjoints.get(id(x), ZERO) for x in inputs]


def _slopes(y: Symbol, g: Symbol) -> list[tuple[Symbol, Symbol]]:
    """Return (argument, contribution to its derivative) for each argument of y, given the derivative g for y itself."""
    a = y.arguments
    match y.operation:
        case "column" | "coefficient" | "constant":
            return []
        case "+":
            return [(a[0], g), (a[1], g)]
        case "-":
            return [(a[0], g), (a[1], _negative(g))]
        case "*":
            return [(a[0], _times(g, a[1])), (a[1], _times(g, a[0]))]
        case "/":
            by_denominator = _over(g, a[1])
            return [(a[0], by_denominator), (a[1], _negative(_times(by_denominator, y)))]
        case "negative":
            return [(a[0], _negative(g))]
        case "power":
            return [(a[0], _times(g, a[1] * a[0] ** (a[1] - 1)))]
        case "exp":
            return [(a[0], _times(g, y))]
        case "log":
            return [(a[0], _over(g, a[0]))]
        case "log1p":
            return [(a[0], _over(g, 1 + a[0]))]
        case "expm1":
            return [(a[0], _times(g, y + 1))]
        case "sqrt":
            return [(a[0], _over(_times(g, HALF), y))]
        case "tanh":
            return [(a[0], _times(g, 1 - y * y))]
        case "sigmoid":
            return [(a[0], _times(g, y * (1 - y)))]
        case "absolute":
            return [(a[0], _where(a[0] < 0, _negative(g), _where(a[0] > 0, g, ZERO)))]
        case "minimum":
            first = a[0] <= a[1]
            return [(a[0], _where(first, g, ZERO)), (a[1], _where(first, ZERO, g))]
        case "maximum":
            first = a[0] >= a[1]
            return [(a[0], _where(first, g, ZERO)), (a[1], _where(first, ZERO, g))]
        case "where":
            return [(a[1], _where(a[0], g, ZERO)), (a[2], _where(a[0], ZERO, g))]
        case other:
            raise NotImplementedError(f"there is no rule for the derivative of {other!r}")


def _times(a: Symbol, b: Symbol) -> Symbol:
    """Return a · b. For samples where a `where` made a zero, the product is zero too, even if b is infinite."""
    if a is ZERO or b is ONE:
        return a
    if a is ONE:
        return b
    if (constant := _constant_or_zero(a)) is not None:
        condition, first, second = constant
        return _where(condition, _times(first, b), _times(second, b))
    return apply("0 or *" if _may_be_zero(a) else "*", a, b)


def _over(a: Symbol, b: Symbol) -> Symbol:
    """Return a / b, with zeros treated as in `_times`."""
    if a is ZERO:
        return a
    return apply("0 or /" if _may_be_zero(a) else "/", a, b)


def _negative(a: Symbol) -> Symbol:
    if a.operation == "negative":
        return a.arguments[0]
    if a.operation == "constant":
        return a if a is ZERO else Symbol("constant", -a.arguments[0])
    if (constant := _constant_or_zero(a)) is not None:
        condition, first, second = constant
        return _where(condition, _negative(first), _negative(second))
    return -a


def _constant_or_zero(a: Symbol) -> tuple[Symbol, Symbol, Symbol] | None:
    """Return the arguments of a `where` that chooses between ZERO and another constant; None if a is not one."""
    if a.operation == "where" and _may_be_zero(a) and all(x.operation == "constant" for x in a.arguments[1:]):
        return a.arguments
    return None


def _may_be_zero(a: Symbol) -> bool:
    """Return True if a `where` may have made a, or a term of it, ZERO."""
    if a.operation == "where":
        return any(x is ZERO or _may_be_zero(x) for x in a.arguments[1:])
    if a.operation in ("0 or *", "0 or /"):
        return True
    return a.operation in ("+", "-", "negative") and any(map(_may_be_zero, a.inputs))


def _where(condition: Symbol, a: Symbol, b: Symbol) -> Symbol:
    return a if a is b else apply("where", condition, a, b)
