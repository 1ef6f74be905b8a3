"""Parse arguments of the form `key=value` on the command line."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from policygrad.envs import EnvOptions

OPENING = tuple(option.name for option in fields(EnvOptions))
"""Names of the settings that control how environments are opened. Training and evaluation share them."""


def keywords(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return the arguments in `key=value` texts. A value is parsed as a Python literal if possible, else kept as text.

    >>> keywords("--env-kwargs", ["size=5", "obs_type=ram", "goal=(1, 2)"])
    {'size': 5, 'obs_type': 'ram', 'goal': (1, 2)}

    Raises:
        ValueError: a text has no `=`, or a key is not an identifier or is given twice.
    """
    found: dict[str, Any] = {}
    for key, value in pairs(option, texts, "key").items():
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    return found


def pairs(option: str, texts: Sequence[str], what: str = "name") -> dict[str, str]:
    """Return the values of `name=value` texts by name.

    Args:
        option: name of the option, for error messages.
        texts: arguments of the command line.
        what: what error messages call the left side.

    Raises:
        ValueError: a text has no `=`, or its left side is not an identifier or is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"{option} {text}: expected {what}=value")
        if name in found:
            raise ValueError(f"{option}: {name} is given twice")
        found[name] = value
    return found
