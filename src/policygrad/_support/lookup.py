"""Lookup of objects by the name `module:name`, in settings and on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any


def named(option: str, text: str, otherwise: str = "") -> Any:
    """Return the object that `module:name` stands for. The module may be in the working directory.

    Args:
        option: name of the setting, for messages.
        text: the name, as `module:name`.
        otherwise: other values that the setting accepts, for messages ("preset, none or ").

    Raises:
        ValueError: the text does not have this form, or there is no such module or name.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise ValueError(f"{option} must be {otherwise}module:name; got {text!r}")
    with working_directory_importable():
        try:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{option} {text} could not be imported: {error}") from error
    return found


def import_also_from(folders: Iterable[str]) -> None:
    """Let modules be imported from the folders from which another process imports them."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)


@contextmanager
def working_directory_importable() -> Generator[None]:
    """Let modules in the working directory be imported within the block."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for a module with removed names, whose errors say what to write instead.

    Args:
        module: name of the module.
        names: what to write instead, by removed name.
    """

    def get(name: str) -> Any:
        hint = f": write {names[name]} (see CHANGELOG.md)" if name in names else ""
        raise AttributeError(f"module {module!r} has no attribute {name!r}{hint}")

    return get


def name_of_object(thing: Any) -> str:
    """Return the `module:qualname` of a function or class, or of the class of any other object: see `named`."""
    named_thing = thing if hasattr(thing, "__qualname__") else type(thing)
    # methods of built-in types have no module
    module = getattr(named_thing, "__module__", None) or type(thing).__module__
    return f"{module}:{named_thing.__qualname__}"
