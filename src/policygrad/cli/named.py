"""What module:name on the command line names."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def found(option: str, text: str, otherwise: str = "") -> Any:
    """What module:name names, found from the working directory."""
    module, _, name = text.partition(":")
    if not name:
        raise ValueError(f"{option} {text}: expected {otherwise}module:name")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{option} {text}: {error}") from error
    finally:
        # by its name, for the module may have put others before it, or removed this one
        if folder in sys.path:
            sys.path.remove(folder)
    return found


def environment(name: str) -> Any:
    """An id as it is; of module:name what stands there, unless it is a module that registers Gymnasium ids."""
    attribute = name.partition(":")[2]
    if not attribute or "-v" in attribute:
        return name
    return found("ENV", name)
