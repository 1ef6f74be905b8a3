"""Objects by name: what `module:name` stands for, in settings and on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any


def named(option: str, text: str, otherwise: str = "") -> Any:
    """Return the object that `module:name` stands for; the module may lie in the working directory.

    Args:
        option: the setting that was given, for messages.
        text: `module:name`.
        otherwise: what else the setting accepts, for messages ("preset, none or ").

    Raises:
        ValueError: the text has another form, or there is no such module or name.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise ValueError(f"{option} {text}: expected {otherwise}module:name")
    with working_directory_importable():
        try:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{option} {text}: {error}") from error
    return found


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
    """Return a `__getattr__` for a module some of whose names are gone: it raises with what to write instead.

    Args:
        module: its name.
        names: what to write, by the name that is gone.
    """

    def get(name: str) -> Any:
        hint = f": write {names[name]} (see CHANGELOG.md)" if name in names else ""
        raise AttributeError(f"module {module!r} has no attribute {name!r}{hint}")

    return get


def name_of_object(thing: Any) -> str:
    """Return `module:qualname` of a function or a class, or of the class of any other object: see `named`."""
    named_thing = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named_thing.__module__}:{named_thing.__qualname__}"
