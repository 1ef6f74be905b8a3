"""Machine code on disk: a function is compiled again exactly when something that it is made of has changed.

Numba's own cache lies beside the sources, where nothing can be written in many installations, and looks at one source
file: it does not notice that a function which a cached one calls has changed. Here the key is a fingerprint of the
function's bytecode and, recursively, of every global that it refers to.
"""

from __future__ import annotations

import glob
import hashlib
import os
import pickle
import sys
import time
import types as python
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import serialize
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.typing.templates import Signature
from platformdirs import user_cache_path

from policygrad.files import write_atomically
from policygrad.output import say

TRUSTED = {"builtins", "math", "cmath", "operator", "numpy", "numba", "llvmlite", "scipy"}
"""Modules whose objects are known by their names: they change with their versions, which are part of the key."""

TESTED = ((0, 61), (0, 68))
"""The oldest and the newest version of Numba that this module, which uses private parts of it, was tested with."""
KEPT = 7 * 24 * 3600.0
"""Seconds after which a file may be removed when the same function is compiled again."""


@cache
def folder() -> Path:
    """Where machine code is kept: in POLICYGRAD_CACHE, else NUMBA_CACHE_DIR, else the user's cache folder.

    There is a folder for each version of Python, Numba and NumPy.
    """
    given = os.environ.get("POLICYGRAD_CACHE") or os.environ.get("NUMBA_CACHE_DIR")
    base = Path(given) if given else user_cache_path("policygrad", appauthor=False)
    return base / f"{sys.implementation.cache_tag}-numba-{numba.__version__}-numpy-{np.__version__}"


def check_numba(version: str) -> None:
    """Warn of a version of Numba that was not tested; pip does not install one, unless it is told to."""
    found = tuple(int(part) for part in version.split(".")[:2])
    if not TESTED[0] <= found <= TESTED[1]:
        oldest, newest = (".".join(map(str, each)) for each in TESTED)
        warnings.warn(
            f"policygrad uses private parts of Numba, and was tested with Numba {oldest} to {newest}; this is "
            f"{version}. If something fails, install one of those: pip install 'numba>={oldest},<={newest}.*'",
            RuntimeWarning,
            stacklevel=2,
        )


check_numba(numba.__version__)


class CodeCache(NullCache):
    """The cache of one function, as a Numba dispatcher uses it.

    Each compiled signature is a file of its own, written whole or not at all. A file that is damaged is compiled anew.

    Args:
        function: the Python function.
        options: how it is compiled.
    """

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        code = function.__code__
        source = hashlib.sha256(code.co_filename.encode()).hexdigest()[:12]
        self._folder = folder() / f"{Path(code.co_filename).stem}-{source}"
        self._name = f"{function.__qualname__.replace('<', '').replace('>', '')}-{code.co_firstlineno}"
        self._fingerprint = fingerprint(function, options)

    @property
    def cache_path(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Folder of the function's files."""
        return str(self._folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled for this signature; None if it has to be compiled."""
        target_context.refresh()
        try:
            data = self._file(sig, target_context.codegen()).read_bytes()
        except OSError:
            return None
        digest, payload = data[:32], data[32:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        # whatever stands against it, such as a function whose module cannot be imported here: it can be compiled
        with suppress(Exception):
            return CompileResult._rebuild(target_context, *pickle.loads(payload))  # pyright: ignore
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Keep what was compiled for this signature, and remove what was compiled of earlier states of the function."""
        if cres.library.has_dynamic_globals:
            return
        try:
            payload: bytes = serialize.dumps(cres._reduce())  # pyright: ignore
        except Exception:
            # a function that was typed in, and refers to what cannot be pickled: it is compiled in each process
            return
        file = self._file(sig, cres.codegen)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(file, hashlib.sha256(payload).digest() + payload, on_disk=False)
        except OSError as error:
            _say_once(
                f"policygrad: machine code cannot be kept ({error}), so each process compiles it again. "
                "Set POLICYGRAD_CACHE to a folder that can be written."
            )
            return
        for other in self._folder.glob(f"{glob.escape(self._name)}-*.code"):
            with suppress(OSError):
                if time.time() - other.stat().st_mtime > KEPT:
                    other.unlink()

    def _file(self, sig: Any, codegen: Any) -> Path:
        for_whom = hashlib.sha256(f"{sig} {codegen.magic_tuple()}".encode()).hexdigest()
        return self._folder / f"{self._name}-{self._fingerprint[:16]}-{for_whom[:16]}.code"


_said: set[str] = set()


def _say_once(message: str) -> None:
    if not _said:
        _said.add(message)
        say(message)


def fingerprint(function: Any, options: dict[str, Any]) -> str:
    """Return a digest of all that the machine code of a function depends on.

    It covers the bytecode, constants, default arguments and closure of the function and, recursively, the globals that
    it refers to: functions, intrinsics, the fields of named tuples, and numbers and arrays by their values. What cannot
    be told by its contents makes the digest another one in each process, so that stale code never runs.
    """
    return hashlib.sha256(repr((_of_value(options, set()), _of_function(function))).encode()).hexdigest()


_functions: dict[Any, str] = {}


def _of_function(function: Any) -> str:
    if function not in _functions:
        # for one that refers to itself
        _functions[function] = f"function {function.__qualname__}"
        closure = [_of_value(cell.cell_contents, set()) for cell in function.__closure__ or ()]
        names = set[str]()
        parts = (_of_code(function.__code__, names), _of_value(function.__defaults__, names), closure)
        referred = {
            name: _of_value(function.__globals__[name], names)
            for name in sorted(names)
            if name in function.__globals__
        }
        digest = hashlib.sha256(repr((parts, referred)).encode()).hexdigest()
        _functions[function] = digest
    return _functions[function]


def _of_code(code: Any, names: set[str]) -> Any:
    """Describe bytecode, and collect the names of globals and attributes in it."""
    names.update(code.co_names)
    constants = [_of_value(constant, names) for constant in code.co_consts]
    return code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars


def _of_value(value: Any, names: set[str]) -> Any:
    """Describe the value of a global; of a module only the attributes in `names` count."""
    if hasattr(value, "py_func"):
        return "compiled", _of_function(value.py_func), _of_value(value.targetoptions, names)
    if hasattr(value, "_defn"):
        return "intrinsic", _of_function(value._defn)
    if isinstance(value, python.FunctionType) and not _is_trusted(value.__module__):
        return "function", _of_function(value)
    if isinstance(value, python.ModuleType):
        if _is_trusted(value.__name__):
            return "module", value.__name__
        return value.__name__, {
            name: _of_value(vars(value)[name], names) for name in sorted(names & vars(value).keys())
        }
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
        return "named tuple", value.__qualname__, value._fields  # pyright: ignore
    if isinstance(value, tuple | list):
        return type(value).__name__, [_of_value(item, names) for item in value]
    if isinstance(value, frozenset | set):
        # whose order differs from process to process
        return "set", sorted(repr(_of_value(item, names)) for item in value)
    if isinstance(value, dict):
        return "dict", sorted((repr(key), repr(_of_value(item, names))) for key, item in value.items())
    if isinstance(value, python.CodeType):
        return _of_code(value, names)
    if isinstance(value, type | python.BuiltinFunctionType | np.ufunc | python.FunctionType):
        return getattr(value, "__module__", None), value.__name__, _is_trusted(value.__module__) or id(value)
    if (
        value is None
        or value is ...
        or isinstance(value, bool | int | float | complex | str | bytes | np.generic | np.dtype)
    ):
        return type(value).__name__, repr(value)
    if isinstance(value, numba.types.Type | ir.Type | Signature):
        return str(value)
    return "unknown", id(value), os.getpid()


def _is_trusted(module: str | None) -> bool:
    return module is not None and module.split(".")[0] in TRUSTED
