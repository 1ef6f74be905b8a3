"""A cache of machine code on disk: a function is recompiled exactly when something that it consists of has changed.

Numba's own cache is stored next to the sources, which are read-only in many installations. It also looks at one source
file only, so it does not notice a change in a function that a cached function calls. The key of this cache is a
fingerprint of the function's bytecode and, recursively, of every global that it refers to.
"""

from __future__ import annotations

import glob
import hashlib
import inspect
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
from numba.core import config, serialize
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.typing.templates import Signature
from platformdirs import user_cache_path

from policygrad._support.console import say
from policygrad._support.files import write_atomically

TRUSTED = {"builtins", "math", "cmath", "operator", "numpy", "numba", "llvmlite"}
"""Modules whose objects are identified by their names. They change only with the versions of Python, NumPy and Numba
(llvmlite's version follows Numba's), which are part of the folder's name."""

TESTED = ((0, 61), (0, 68))
"""Oldest and newest version of Numba with which this module was tested, because it uses private parts of Numba."""
SETTINGS = ("BOUNDSCHECK", "OPT", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "FULL_TRACEBACKS")
"""Settings that Numba reads from environment variables and that change what it compiles."""
KEPT = 7 * 24 * 3600.0
"""Age in seconds after which a file may be removed when the same function is compiled again."""


@cache
def folder() -> Path:
    """Return the folder of the cache: in POLICYGRAD_CACHE, else in NUMBA_CACHE_DIR, else in the user's cache folder.

    Each combination of versions of Python, Numba and NumPy has its own folder.
    """
    given = os.environ.get("POLICYGRAD_CACHE") or os.environ.get("NUMBA_CACHE_DIR")
    base = Path(given) if given else user_cache_path("policygrad", appauthor=False)
    return base / f"{sys.implementation.cache_tag}-numba-{numba.__version__}-numpy-{np.__version__}"


def check_numba(version: str) -> None:
    """Warn about an untested version of Numba, which pip installs only if it is forced to."""
    found = tuple(int(part) for part in version.split(".")[:2])
    if not TESTED[0] <= found <= TESTED[1]:
        oldest, newest = (".".join(map(str, each)) for each in TESTED)
        warnings.warn(
            f"policygrad uses private parts of Numba and was tested with Numba {oldest} to {newest}, but this is "
            f"{version}. If something fails, install a tested version: pip install 'numba>={oldest},<={newest}.*'",
            RuntimeWarning,
            stacklevel=2,
        )


check_numba(numba.__version__)


class CodeCache(NullCache):
    """The cache of one function, as used by a Numba dispatcher.

    Each compiled signature has a separate file, which is written atomically. If a file is damaged, its signature is
    compiled again.

    Args:
        function: the Python function.
        options: the options that it is compiled with.
    """

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        code = function.__code__
        source = hashlib.sha256(code.co_filename.encode()).hexdigest()[:12]
        self._folder = folder() / f"{Path(code.co_filename).stem}-{source}"
        self._name = f"{function.__qualname__.replace('<', '').replace('>', '')}-{code.co_firstlineno}"
        self._function, self._options = function, options

    @property
    def cache_path(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Folder that contains the function's files."""
        return str(self._folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code that was compiled for this signature; None if it has to be compiled."""
        target_context.refresh()
        file = self._file(sig, target_context.codegen())
        try:
            data = b"" if file is None else file.read_bytes()
        except OSError:
            return None
        digest, payload = data[:32], data[32:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        # after any error, such as a module that cannot be imported here, the function is compiled instead
        with suppress(Exception):
            return CompileResult._rebuild(target_context, *pickle.loads(payload))  # pyright: ignore
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Store the machine code for this signature, and remove old files of earlier versions of the function."""
        file = self._file(sig, cres.codegen)
        if file is None or cres.library.has_dynamic_globals:
            return
        try:
            payload: bytes = serialize.dumps(cres._reduce())  # pyright: ignore
        except Exception:
            # an interactively defined function may refer to objects that cannot be pickled: each process compiles it
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(file, hashlib.sha256(payload).digest() + payload, on_disk=False)
        except OSError as error:
            _say_once(
                f"policygrad: machine code cannot be cached ({error}), so each process compiles it again. "
                "Set POLICYGRAD_CACHE to a writable folder."
            )
            return
        name = glob.escape(self._name)
        for other in (*self._folder.glob(f"{name}-*.code"), *self._folder.glob(f".{name}-*.tmp")):
            with suppress(OSError):
                if time.time() - other.stat().st_mtime > KEPT:
                    other.unlink()

    def holds(self, sig: Any, codegen: Any) -> bool:
        """Return True if there is a file for this signature."""
        file = self._file(sig, codegen)
        return file is not None and file.exists()

    def _file(self, sig: Any, codegen: Any) -> Path | None:
        """Return the file for this signature; None if there is no telling whether it would still be valid."""
        # computed now, because what the function refers to may be defined or changed after the function itself
        digest = fingerprint(self._function, self._options)
        if digest is None:
            return None
        target = hashlib.sha256(f"{sig} {codegen.magic_tuple()}".encode()).hexdigest()
        return self._folder / f"{self._name}-{digest[:16]}-{target[:16]}.code"


_said: set[str] = set()


def _say_once(message: str) -> None:
    if not _said:
        _said.add(message)
        say(message)


def fingerprint(function: Any, options: dict[str, Any]) -> str | None:
    """Return a digest of everything that the machine code of a function depends on; None if it cannot be computed.

    It covers the bytecode, constants, default arguments and closure of the function and, recursively, the globals that
    it refers to: compiled functions, intrinsics, the fields of named tuples, and numbers and arrays by their values.
    Numba's settings that change what it compiles are included. Objects of other kinds cannot be identified by their
    contents, and neither can plain Python functions, which `numba.extending.overload` may implement elsewhere.
    """
    settings = {name: getattr(config, name, None) for name in SETTINGS}
    try:
        everything = (
            _Fingerprint().of_value({**options, **settings}, set()),
            _Fingerprint().of_function(function),
        )
    except _Unknown:
        return None
    return hashlib.sha256(repr(everything).encode()).hexdigest()


class _Unknown(Exception):  # noqa: N818  # it never leaves this module
    """Something cannot be identified by its contents."""


class _Fingerprint:
    """Describes values, and each function only once."""

    def __init__(self) -> None:
        self._functions: dict[Any, str] = {}
        self._generating = False

    def of_function(self, function: Any) -> str:
        """Describe a compiled function."""
        if function not in self._functions:
            # this entry is used if the function refers to itself
            self._functions[function] = f"function {function.__qualname__}"
            names = set[str]()
            try:
                closure = [self.of_value(cell.cell_contents, set()) for cell in function.__closure__ or ()]
            except ValueError:
                # a cell that is still empty
                raise _Unknown from None
            parts = (
                self._of_code(function.__code__, names),
                self.of_value(function.__defaults__, names),
                closure,
            )
            known = {
                name: function.__globals__[name] for name in sorted(names) if name in function.__globals__
            }
            referred = {name: self.of_value(value, names) for name, value in known.items()}
            self._functions[function] = hashlib.sha256(repr((parts, referred)).encode()).hexdigest()
        return self._functions[function]

    def _of_code(self, code: Any, names: set[str]) -> Any:
        """Describe bytecode, and collect the names of globals and attributes in it."""
        names.update(code.co_names)
        constants = [self.of_value(constant, names) for constant in code.co_consts]
        return code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars

    def of_value(self, value: Any, names: set[str]) -> Any:
        """Describe a value. For a module, only the attributes in `names` count."""
        if hasattr(value, "py_func"):
            return "compiled", self.of_function(value.py_func), self.of_value(value.targetoptions, names)
        if hasattr(value, "_defn"):
            return "intrinsic", self._of_definition(value._defn)
        if isinstance(value, python.ModuleType):
            if _is_trusted(value.__name__):
                return "module", value.__name__
            attributes = {name: vars(value)[name] for name in sorted(names & vars(value).keys())}
            return value.__name__, {name: self.of_value(part, names) for name, part in attributes.items()}
        if isinstance(value, np.ndarray):
            return str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()
        if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
            return "named tuple", value.__qualname__, value._fields  # pyright: ignore
        if isinstance(value, tuple | list):
            return type(value).__name__, [self.of_value(item, names) for item in value]
        if isinstance(value, frozenset | set):
            # the order of a set differs between processes
            return "set", sorted(repr(self.of_value(item, names)) for item in value)
        if isinstance(value, dict):
            return "dict", sorted(
                (repr(key), repr(self.of_value(item, names))) for key, item in value.items()
            )
        if isinstance(value, python.CodeType):
            return self._of_code(value, names)
        if isinstance(value, python.FunctionType) and self._generating and not _is_trusted(value.__module__):
            return "function", self.of_function(value)
        if (
            isinstance(value, type)
            and issubclass(value, numba.types.Type)
            and not _is_trusted(value.__module__)
        ):
            # how such a type is laid out and used is somewhere in its module
            return "Numba type", value.__qualname__, _digest_of_module(value.__module__)
        if isinstance(value, type | python.BuiltinFunctionType | np.ufunc | python.FunctionType):
            module = getattr(value, "__module__", None)
            if not (_is_trusted(module) or isinstance(value, np.ufunc)):
                raise _Unknown
            return module, value.__name__
        if value is None or value is ... or isinstance(value, bool | int | float | complex | str | bytes):
            return type(value).__name__, repr(value)
        if isinstance(value, np.generic | np.dtype):
            return type(value).__name__, repr(value)
        if isinstance(value, numba.types.Type | ir.Type | Signature):
            return str(value)
        raise _Unknown

    def _of_definition(self, function: Any) -> str:
        """Describe Python code that generates machine code and may call any other function."""
        before, self._generating = self._generating, True
        try:
            return self.of_function(function)
        finally:
            self._generating = before


@cache
def _digest_of_module(name: str) -> str:
    """Return a digest of a module's source."""
    try:
        source = inspect.getsource(sys.modules[name])
    except (OSError, TypeError, KeyError):
        raise _Unknown from None
    return hashlib.sha256(source.encode()).hexdigest()


def _is_trusted(module: str | None) -> bool:
    return module is not None and module.split(".")[0] in TRUSTED
