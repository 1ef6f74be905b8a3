"""Sending experiments to other processes, and their results back.

cloudpickle sends functions and classes that another process cannot import by value: those of a script, a notebook or a
function's body. This is used only between processes of one program, and never for a file.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.machinery import PathFinder
from types import CodeType, SimpleNamespace
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import cloudpickle
import gymnasium as gym
import torch

from policygrad.algorithms import ALGORITHMS, Algorithm
from policygrad.metrics import METRICS, Metric
from policygrad.runs.experiment import Experiment


class _Classes(list[type]):
    """Classes that were sent by value."""


_known: WeakValueDictionary[str, _Classes] = WeakValueDictionary()
"""The classes that each `Parcel` contained, in both processes, as long as one of its owners exists."""


class SendingError(ValueError):
    """Raised when something cannot be sent to another process. The message says what, and why."""


@dataclass(frozen=True)
class Contents:
    """An experiment, and what its runs may need of the process that sent it."""

    experiment: Experiment
    argv: list[str]
    algorithms: dict[str, type[Algorithm]]
    metrics: dict[str, Metric]
    environments: dict[str, Any]
    """Gymnasium's specifications of environments that are not its own, by id."""

    def register(self) -> None:
        """Add the entries to the registries of this process, and adopt the command line for the manifests of runs."""
        sys.argv[:] = self.argv
        registries: list[tuple[dict[str, Any], dict[str, Any]]] = [
            (ALGORITHMS, self.algorithms),
            (METRICS, self.metrics),
            (gym.registry, self.environments),
        ]
        for registry, entries in registries:
            for name, entry in entries.items():
                registry.setdefault(name, entry)


@dataclass(frozen=True)
class Parcel:
    """`Contents` as bytes, and the classes among them that were sent by value."""

    key: str
    """Unique name of the parcel, in both processes."""
    data: bytes
    classes: _Classes


def packed(experiment: Experiment) -> Parcel:
    """Pack an experiment, which `unpacked` reads in other processes.

    Raises:
        SendingError: a part of it cannot be sent, or this platform cannot start the processes that would receive it.
    """
    if os.name != "posix" or not sys.executable:
        raise SendingError(
            "only an ordinary Python interpreter on Linux or macOS can start processes that train"
        )
    contents = Contents(
        experiment,
        sys.argv,
        {name: kind for name, kind in ALGORITHMS.items() if _can_be_restored(kind)},
        dict(METRICS),
        {
            name: spec
            for name, spec in gym.registry.items()
            if not _is_gymnasiums(spec) and _can_be_restored(spec.entry_point)
        },
    )
    settings = experiment.settings
    parts: dict[str, Any] = {"env": experiment.env, "algorithm": experiment.algorithm}
    parts |= {field.name: getattr(settings, field.name) for field in fields(settings)}
    for name, part in [*parts.items(), ("what was registered", contents)]:
        try:
            cloudpickle.dumps(part)
        except Exception as error:
            raise SendingError(f"{name} cannot be sent to another process: {error}") from error
    # the classes are known only after a first pass
    first = _Sending(io.BytesIO())
    first.dump(contents)
    key, buffer = uuid4().hex, io.BytesIO()
    _known[key] = first.classes
    _Sending(buffer).dump((key, list(first.classes), contents))
    return Parcel(key, buffer.getvalue(), first.classes)


def unpacked(data: bytes) -> tuple[Contents, Parcel]:
    """Return what was packed, and the parcel, which must be kept as long as results are returned.

    Raises:
        Exception: whatever an import or an object raises that is restored.
    """
    key, classes, contents = pickle.loads(data)
    parcel = Parcel(key, data, _Classes(classes))
    _known[key] = parcel.classes
    return contents, parcel


def packed_result(result: Any) -> bytes:
    """Return a result of an experiment as bytes. The classes of the experiment's `Parcel` are sent by reference.

    Otherwise the receiver would overwrite the methods and the attributes of its classes with copies of them. Tensors
    that share memory still share it afterwards, as the parameters of a policy do.

    Raises:
        Exception: whatever an object raises that cannot be sent.
    """
    buffer = io.BytesIO()
    pickler: Any = SimpleNamespace(Pickler=_Returning, __name__="cloudpickle")
    torch.save(result, buffer, pickle_module=pickler, pickle_protocol=pickle.HIGHEST_PROTOCOL)
    return buffer.getvalue()


def unpacked_result(result: bytes) -> Any:
    """Return what `packed_result` sent."""
    return torch.load(io.BytesIO(result), weights_only=False)


def _can_be_restored(thing: Any) -> bool:
    """Return False for something that was registered from a module that is no longer on the path.

    The experiment may not need it, and sending it would make every experiment fail.
    """
    module = str(getattr(thing, "__module__", "builtins")).split(".")[0]
    own = module == "__main__" or "<locals>" in getattr(thing, "__qualname__", "")
    return own or module in sys.builtin_module_names or PathFinder.find_spec(module) is not None


def _is_gymnasiums(spec: Any) -> bool:
    return isinstance(spec.entry_point, str) and spec.entry_point.startswith("gymnasium.")


class _Sending(cloudpickle.Pickler):
    """Collects the classes that are sent by value, and keeps the file names of functions for tracebacks."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.classes = _Classes()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, CodeType):
            reduced: Any = self.dispatch_table[CodeType](obj)
            return _code, (*reduced, obj.co_filename)
        reduced = super().reducer_override(obj)
        if isinstance(obj, type) and reduced is not NotImplemented:
            self.classes.append(obj)
        return reduced


def _code(make: Callable[..., CodeType], arguments: tuple[Any, ...], filename: str) -> CodeType:
    # cloudpickle replaces the name of the file
    return make(*arguments).replace(co_filename=filename)


class _Returning(cloudpickle.Pickler):
    """Sends the classes that came in a parcel by reference."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type):
            for key, classes in _known.items():
                for i, known in enumerate(classes):
                    if obj is known:
                        return _class_in, (key, i)
        return super().reducer_override(obj)


def _class_in(key: str, i: int) -> type:
    return _known[key][i]
