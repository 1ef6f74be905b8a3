"""Functions that a loss may use. Each accepts symbols, torch tensors, and NumPy arrays or numbers.

Both engines use the same derivatives at kinks. At a tie, `minimum` and `maximum` have the derivative of their first
argument. `absolute` has the derivative 0 at 0, and `clip` passes the gradient at its bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policygrad.losses.symbol import Symbol, apply


def exp(x: Any) -> Any:
    """Return e raised to the power of x."""
    return _call("exp", x)


def log(x: Any) -> Any:
    """Return the natural logarithm of x, which must be positive."""
    return _call("log", x)


def log1p(x: Any) -> Any:
    """Return log(1 + x), computed accurately also for small x."""
    return _call("log1p", x)


def expm1(x: Any) -> Any:
    """Return exp(x) − 1, computed accurately also for small x."""
    return _call("expm1", x)


def sqrt(x: Any) -> Any:
    """Return the square root of x, which must be positive: at 0 its derivative is infinite."""
    return _call("sqrt", x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent of x."""
    return _call("tanh", x)


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(−x))."""
    return _call("sigmoid", x)


def absolute(x: Any) -> Any:
    """Return |x|, as the built-in `abs` does. Its derivative at 0 is 0."""
    return _call("absolute", x)


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller of two numbers. Where they are equal, the derivative is that of a."""
    return _call("minimum", a, b)


def maximum(a: Any, b: Any) -> Any:
    """Return the larger of two numbers. Where they are equal, the derivative is that of a."""
    return _call("maximum", a, b)


def clip(x: Any, low: Any, high: Any) -> Any:
    """Return x limited to [low, high]. The derivative is 1 inside and at the bounds, and 0 outside.

    >>> clip(np.array([0.5, 1.1, 3.0]), 0.8, 1.2)
    array([0.8, 1.1, 1.2])
    """
    return minimum(maximum(x, low), high)


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition is true, and b elsewhere.

    Both are computed for every sample. Guard a logarithm or a division that would be undefined in the branch that is
    not chosen: write `log(maximum(x, 1e-8))` rather than `where(x > 0, log(x), 0.0)`.
    """
    if isinstance(condition, bool | np.bool_):
        return a if condition else b
    return _call("where", condition, a, b)


def stop_gradient(x: Any) -> Any:
    """Return x as a constant, whose derivative is 0."""
    return _call("stop_gradient", x)


def _torch_minimum(a: Any, b: Any) -> Tensor:
    return _torch_where(a <= b, a, b)


def _torch_maximum(a: Any, b: Any) -> Tensor:
    return _torch_where(a >= b, a, b)


def _torch_where(condition: Tensor, a: Any, b: Any) -> Tensor:
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        # torch.where would give two Python numbers torch's default dtype
        dtype = torch.float32 if condition.device.type == "mps" else torch.float64
        a = torch.as_tensor(a, dtype=dtype, device=condition.device)
    return torch.where(condition, a, b)


def _numpy_sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


OF_TENSORS: dict[str, Callable[..., Tensor]] = {
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "absolute": torch.abs,
    "minimum": _torch_minimum,
    "maximum": _torch_maximum,
    "where": _torch_where,
    "stop_gradient": torch.Tensor.detach,
}
OF_ARRAYS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": _numpy_sigmoid,
    "absolute": np.abs,
    "minimum": lambda a, b: np.where(a <= b, a, b),
    "maximum": lambda a, b: np.where(a >= b, a, b),
    "where": np.where,
    "stop_gradient": lambda x: x,
}


def _call(name: str, *arguments: Any) -> Any:
    if any(isinstance(argument, Symbol) for argument in arguments):
        return apply(name, *arguments)
    if any(isinstance(argument, Tensor) for argument in arguments):
        return OF_TENSORS[name](*arguments)
    return OF_ARRAYS[name](*arguments)
