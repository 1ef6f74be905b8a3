"""Import a student's file and call its functions. Whatever goes wrong is reported with the line of the student."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from policygrad.types import F64


class StudentError(Exception):
    """Raised when a student's function cannot be graded by numbers. The message is for the student."""


@dataclass(frozen=True)
class StudentFunction:
    """A function of a student's file."""

    name: str
    function: Callable[..., Any]
    path: Path

    def __call__(self, *arguments: Any) -> Any:
        """Return the result of the function, which receives copies of the arguments.

        Raises:
            StudentError: the function raises an exception, or changes its arguments.
        """
        given = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        try:
            with np.errstate(all="ignore"):
                found = self.function(*given)
        except NotImplementedError as error:
            raise StudentError("It is not written yet: it raises NotImplementedError.") from error
        except (Exception, SystemExit) as error:
            where = student_line(error, self.path)
            raise StudentError(f"It raised {type(error).__name__}: {error}{where}.") from error
        for i, (before, after) in enumerate(zip(arguments, given, strict=True)):
            if isinstance(before, np.ndarray) and not np.array_equal(before, after):
                raise StudentError(
                    f"It changes argument number {i + 1} in place, so the caller's data is different after the "
                    "call. Work on a copy, or write x = x + y instead of x += y."
                )
        return found


def numbers(found: Any, shape: tuple[int, ...], what: str) -> F64:
    """Return what a student's function has returned, if it is an array of numbers of this shape.

    Args:
        found: the returned object.
        shape: expected shape.
        what: what the array is, for messages, such as "one number per action".

    Raises:
        StudentError: it is None, has another shape or type, or contains NaN or infinity.
    """
    expected = f"expected a float64 array of shape {shape} ({what})"
    if found is None:
        raise StudentError(f"It returned None; {expected}. Is there a path without a return statement?")
    try:
        array = np.asarray(found)
    except Exception as error:
        raise StudentError(
            f"It returned {type(found).__name__}, which is not an array; {expected}."
        ) from error
    if array.shape != shape:
        raise StudentError(f"It returned an array of shape {array.shape}; {expected}.")
    if array.dtype.kind not in "fiu" or (array.dtype.kind == "f" and array.dtype.itemsize < 8):
        raise StudentError(
            f"It returned numbers of type {array.dtype}; {expected}, as the arguments are float64."
        )
    if not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise StudentError(
            f"It returned {what} in {int((~np.isfinite(array)).sum())} of {array.size} places."
        )
    return array.astype(np.float64)


def load(path: Path) -> ModuleType:
    """Import a file.

    It is compiled from its text, because Python's cached byte code may be out of date if a file is changed twice in a
    second.

    Raises:
        ValueError: there is no such file, or it is not Python, or importing it raises an exception.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file")
    if not path.exists():
        raise ValueError(f"there is no file {path}; `policygrad exercise get NAME` writes one")
    try:
        code = compile(path.read_bytes(), str(path), "exec")
    except SyntaxError as error:
        raise ValueError(f"{path} is not valid Python: {error.msg} (line {error.lineno})") from error
    except ValueError as error:
        raise ValueError(f"{path} is not a file of Python code: {error}") from error
    name = f"exercise_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ValueError(f"{path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    # decorators such as `dataclass` look the module up
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        where = student_line(error, path)
        raise ValueError(f"{path} could not be imported: {type(error).__name__}: {error}{where}") from error
    finally:
        sys.modules.pop(name, None)
        if folder in sys.path:
            sys.path.remove(folder)
    return module


def function_of(module: ModuleType, name: str, path: Path) -> StudentFunction:
    """Return a function of a student's file.

    Raises:
        ValueError: there is no function of this name.
    """
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(
            f"{path} has no function {name}; the exercise asks for one, and it must keep its name"
        )
    return StudentFunction(name, function, path)


def exercise_of(path: Path) -> str:
    """Return the name of the exercise that a file is for.

    It is in the line `EXERCISE = "name"`; without this line, it is the name of the file. The file has been loaded, so
    it is valid Python.
    """
    for statement in ast.parse(path.read_bytes()).body:
        if (
            isinstance(statement, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == "EXERCISE" for target in statement.targets)
            and isinstance(statement.value, ast.Constant)
        ):
            return str(statement.value.value)
    return path.stem


def student_line(error: BaseException, path: Path) -> str:
    """Return the last line of a student's file that an exception passed through, as " (line 7: code)"."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" (line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
