"""The docstrings of the fields of dataclasses, which Python does not keep: they are read from the source code."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import is_dataclass
from functools import cache
from typing import Any


def field_docs(*classes: type[Any]) -> dict[str, str]:
    """Return the docstring of each field of dataclasses, by name, in one line; later classes replace earlier ones."""
    found: dict[str, str] = {}
    for kind in classes:
        body: Any = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if not (isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr)):
                continue
            target, text = statement.target, getattr(following.value, "value", None)
            if isinstance(target, ast.Name) and isinstance(text, str):
                found[target.id] = " ".join(text.split())
    return found


@cache
def inherited_field_docs(kind: type[Any]) -> dict[str, str]:
    """Return the docstrings of the fields of a dataclass, including those of its base classes.

    Classes without source code, such as those of `dataclasses.make_dataclass`, have none of their own.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            try:
                found |= field_docs(base)
            except (OSError, TypeError):
                continue
    return found
