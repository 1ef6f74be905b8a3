"""Keyword arguments on the command line: `key=value`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from policygrad.envs import EnvOptions

OPENING = tuple(option.name for option in fields(EnvOptions))
"""The settings that say how environments are opened, which training and evaluation share."""


def keywords(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `key=value` texts, each value a Python literal where it is one, else text.

    >>> keywords("--env-kwargs", ["size=5", "obs_type=ram", "goal=(1, 2)"])
    {'size': 5, 'obs_type': 'ram', 'goal': (1, 2)}

    Raises:
        ValueError: a text has no `=`, or a key is no name.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{option} {text}: expected key=value")
        if key in found:
            raise ValueError(f"{option}: {key} is given twice")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    return found
