"""Functions that a package calls and that a package after it in the order of imports provides."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

_providers: dict[str, str] = {}


def provide(**providers: str) -> None:
    """Register functions as `name="module:function"`. The module is imported when the function is first needed."""
    _providers.update(providers)


@cache
def provided(name: str) -> Any:
    """Return the function that was registered under a name."""
    module, _, function = _providers[name].partition(":")
    return getattr(import_module(module), function)
