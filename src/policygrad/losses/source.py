"""Text forms of a loss's graph: source code to compile, and an equation to read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from policygrad.losses.symbol import Symbol, topological

CODE = {
    "negative": "-{0}",
    "absolute": "abs({0})",
    "exp": "math.exp({0})",
    "log": "math.log({0})",
    "log1p": "math.log1p({0})",
    "expm1": "math.expm1({0})",
    "sqrt": "math.sqrt({0})",
    "tanh": "math.tanh({0})",
    "sigmoid": "1.0 / (1.0 + math.exp(-{0}))",
    "minimum": "{0} if {0} <= {1} else {1}",
    "maximum": "{0} if {0} >= {1} else {1}",
    "where": "{1} if {0} else {2}",
    "stop_gradient": "{0}",
    "0 or *": "{0} * {1} if {0} != 0.0 else 0.0",
    "0 or /": "{0} / {1} if {0} != 0.0 else 0.0",
    "&": "{0} and {1}",
    "|": "{0} or {1}",
    "~": "not {0}",
}
"""Python code for each operation. Infix operators that are not listed here are written as they are."""

WORDS = {
    "log_prob": "log π",
    "entropy": "H",
    "value": "V",
    "advantage": "A",
    "target": "G",
    "old_log_prob": "log π_old",
    "old_value": "V_old",
}
"""The papers' notation for the numbers of a sample."""

PRECEDENCE = {"|": 1, "&": 2, "<": 3, ">": 3, "<=": 3, ">=": 3, "+": 4, "-": 4, "*": 5, "/": 5, "negative": 6, "~": 6,
              "power": 7}  # fmt: skip
ATOM = 9
"""Precedence of an expression that never needs parentheses."""


class Listing:
    """A list of Python statements that compute symbols, with each subexpression computed once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names: dict[int, str] = {}
        self._known: dict[str, str] = {}
        self._symbols: list[Symbol] = []
        """Kept alive, because the id of a freed symbol could be reused."""
        self._numbers = count(1)

    def name_of(self, root: Symbol) -> str:
        """Return the variable or the number that represents a symbol, after listing the statements that compute it."""
        for symbol in topological([root]):
            if id(symbol) not in self._names:
                self._symbols.append(symbol)
                self._names[id(symbol)] = self._listed(symbol)
        return self._names[id(root)]

    def _listed(self, symbol: Symbol) -> str:
        if symbol.operation == "constant":
            return _number(symbol.arguments[0])
        if symbol.operation == "column":
            return f"s_{symbol.arguments[0]}"
        if symbol.operation == "coefficient":
            return f"k_{symbol.arguments[0]}"
        names = [self._names[id(x)] for x in symbol.inputs]
        if symbol.operation == "power":
            text = f"{names[0]} ** {symbol.arguments[1]!r}"
        elif symbol.operation in CODE:
            text = CODE[symbol.operation].format(*names)
        else:
            text = f"{names[0]} {symbol.operation} {names[1]}"
        if text not in self._known:
            self._known[text] = f"x{next(self._numbers)}"
            self.lines.append(f"{self._known[text]} = {text}")
        return self._known[text]


def _number(number: float) -> str:
    # a negative number needs parentheses in powers and differences
    text = {"inf": "math.inf", "-inf": "(-math.inf)", "nan": "math.nan"}.get(repr(number), repr(number))
    return f"({text})" if text.startswith("-") else text


def derivatives_source(slopes: Sequence[Symbol], columns: Sequence[str], coefficients: Sequence[str]) -> str:
    """Return the source of a function that writes the derivatives: see `compiled_loss.DERIVATIVES`.

    Args:
        slopes: the derivatives with respect to log π, H and V.
        columns, coefficients: names, in the order in which the function receives the values.
    """
    listing = Listing()
    results = [listing.name_of(symbol) for symbol in slopes]
    return "\n".join(
        [
            "def derivatives(outputs, columns, start, stop, coefficients, scale, result):",
            *_coefficients(slopes, coefficients),
            "    for i in range(stop - start):",
            *(f"        {line}" for line in (*_reads(slopes, columns, "start + i"), *listing.lines)),
            *(f"        result[{row}, i] = scale * {name}" for row, name in enumerate(results)),
            "",
        ]
    )


def value_source(root: Symbol, columns: Sequence[str], coefficients: Sequence[str]) -> str:
    """Return the source of a function that returns the mean loss: see `compiled_loss.VALUE`."""
    listing = Listing()
    loss = listing.name_of(root)
    return "\n".join(
        [
            "def value(outputs, columns, coefficients):",
            *_coefficients([root], coefficients),
            "    total = 0.0",
            "    for i in range(outputs.shape[1]):",
            *(f"        {line}" for line in (*_reads([root], columns, "i"), *listing.lines)),
            f"        total += {loss}",
            "    return total / outputs.shape[1]",
            "",
        ]
    )


def _reads(roots: Sequence[Symbol], columns: Sequence[str], row: str) -> list[str]:
    used = _names(roots, "column")
    rows = [("outputs", name, k) for k, name in enumerate(OUTPUTS)]
    rows += [("columns", name, k) for k, name in enumerate(columns)]
    return [f"s_{name} = np.float64({matrix}[{k}, {row}])" for matrix, name, k in rows if name in used]


def _coefficients(roots: Sequence[Symbol], names: Sequence[str]) -> list[str]:
    used = _names(roots, "coefficient")
    return [f"    k_{name} = coefficients[{i}]" for i, name in enumerate(names) if name in used]


def _names(roots: Sequence[Symbol], operation: str) -> set[str]:
    return {symbol.arguments[0] for symbol in topological(list(roots)) if symbol.operation == operation}


OUTPUTS = ("log_prob", "entropy", "value")
"""Outputs of the networks for a sample, in the order of the rows of `outputs`."""


def graph(root: Symbol) -> str:
    """Return the graph with one operation per line. Losses that do the same computation have the same text."""
    listing = Listing()
    result = listing.name_of(root)
    return "\n".join([*listing.lines, f"loss = {result}"])


def equation(root: Symbol) -> str:
    """Return the loss as a formula. Subexpressions that it uses more than once are named first."""
    uses: dict[int, int] = {}
    order = topological([root])
    for symbol in order:
        for x in symbol.inputs:
            uses[id(x)] = uses.get(id(x), 0) + 1
    texts: dict[int, tuple[str, int]] = {}
    lines: list[str] = []
    known: dict[str, str] = {}
    for symbol in order:
        text, precedence = _formula(symbol, [texts[id(x)] for x in symbol.inputs])
        is_leaf = symbol.operation in ("constant", "column", "coefficient", "negative")
        if not is_leaf and symbol is not root and (uses[id(symbol)] > 1 or text in known):
            if text not in known:
                known[text] = f"x{len(known) + 1}"
                lines.append(f"{known[text]} = {text}")
            text, precedence = known[text], ATOM
        texts[id(symbol)] = text, precedence
    return "\n".join([*lines, f"L = {texts[id(root)][0]}"])


def _formula(symbol: Symbol, inputs: list[tuple[str, int]]) -> tuple[str, int]:
    """Return (text, precedence) of a symbol, given those of its inputs."""
    operation = symbol.operation
    if operation == "constant":
        number = symbol.arguments[0]
        return f"{number:g}".replace("-", "−"), ATOM if number >= 0 else PRECEDENCE["negative"]
    if operation in ("column", "coefficient"):
        name: str = symbol.arguments[0]
        word: str = WORDS.get(name, name) if operation == "column" else name
        return word, PRECEDENCE["*"] if " " in word else ATOM
    if operation not in PRECEDENCE:
        return f"{operation}({', '.join(text for text, _ in inputs)})", ATOM
    mine = PRECEDENCE[operation]
    if operation in ("negative", "~"):
        return f"{'−' if operation == 'negative' else '~'}{_within(inputs[0], mine)}", mine
    if operation == "power":
        return f"{_within(inputs[0], mine + 1)}^{symbol.arguments[1]:g}", mine
    # a − (b − c) and a / (b c) keep their parentheses
    right = mine + (operation in ("-", "/"))
    sign = {"-": "−", "*": "·"}.get(operation, operation)
    return f"{_within(inputs[0], mine)} {sign} {_within(inputs[1], right)}", mine


def _within(part: tuple[str, int], precedence: int) -> str:
    text, inner = part
    return text if inner >= precedence else f"({text})"
