"""Parse command lines into dataclasses, with errors that name the flag and suggest the one that was meant."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from types import UnionType
from typing import Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from policygrad._support.checks import annotations_of
from policygrad._support.field_docs import inherited_field_docs

T = TypeVar("T")
FAMILIAR = {
    "lr": "learning-rate",
    "hidden-dim": "hidden",
    "hidden-size": "hidden",
    "ent-coef": "entropy-coef",
    "vf-coef": "value-coef",
    "gae": "gae-lambda",
    "lambda": "gae-lambda",
    "batch-size": "minibatch-size",
    "n-steps": "horizon",
    "num-steps": "horizon",
    "n-envs": "num-envs",
    "timesteps": "steps",
    "total-timesteps": "steps",
    "env-id": "env",
    "test-every": "eval-every",
    "test-episodes": "eval-episodes",
}
"""Names of other libraries and of earlier versions, and the corresponding flags."""


def parse(
    kind: type[T],
    arguments: Sequence[str],
    prog: str,
    default: T | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> T:
    """Return an instance of a dataclass, filled in from the arguments.

    Whole numbers may be written as 1e5 or 100_000.

    Args:
        kind: the dataclass, whose fields are the flags.
        arguments: arguments of the command line.
        prog: name of the command, for its help.
        default: instance that provides the values of options that are not given.
        elsewhere: flags that belong to other algorithms, each with the names of these.

    Raises:
        ValueError: a flag is unknown.
        SystemExit: help was requested, or a value cannot be parsed; tyro has printed which one.
    """
    flags = dict(flags_of(kind))
    check_flags(arguments, flags, elsewhere or {})
    read = with_whole_numbers(arguments, {flag for flag, is_whole in flags.items() if is_whole})
    with FIELDS:
        return tyro.cli(kind, args=read, prog=prog, default=default)  # pyright: ignore


FIELDS = ConstructorRegistry()
"""How tyro reads the dataclasses of this library: with the lines of a field's docstring joined in the help."""


@FIELDS.struct_rule
def dataclass_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Return the fields of a dataclass of this library; None for other types, which tyro handles by itself."""
    kind, given = info.type, info.default
    if not dataclasses.is_dataclass(kind):
        return None
    # a class from `make_dataclass` is in the module `types`; its base class says whose it is
    written = kind.__bases__[0] if kind.__module__ == "types" else kind
    if not written.__module__.startswith("policygrad."):
        return None
    hints = annotations_of(kind)
    fields = list[StructFieldSpec]()
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(given):
            default: Any = getattr(given, field.name)
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        else:
            default = tyro.MISSING if field.default is dataclasses.MISSING else field.default
        # read from the source code only if the help is shown
        text = partial(_text_of, kind, field.name)
        fields.append(StructFieldSpec(field.name, hints[field.name], default, text))
    return StructConstructorSpec(kind, tuple(fields))


def _text_of(kind: type[Any], field: str) -> str | None:
    return inherited_field_docs(kind).get(field)


def flags_of(kind: Any) -> Iterator[tuple[str, bool]]:
    """Yield each flag of a dataclass, without leading dashes, and whether it takes a whole number.

    >>> from policygrad.algorithms import A2C
    >>> dict(flags_of(A2C))["horizon"], "learning-rate" in dict(flags_of(A2C))
    (True, True)
    """
    hints = annotations_of(kind)
    for field in dataclasses.fields(kind):
        hint = hints.get(field.name, Any)
        if field.name in getattr(kind, "without_flags", ()):
            continue
        options: Sequence[Any] = getattr(hint, "__metadata__", ())
        inner = hint.__origin__ if options else hint
        if dataclasses.is_dataclass(inner):
            yield from flags_of(inner)
            continue
        flag = field.name.replace("_", "-")
        choices = typing.get_args(inner) if isinstance(inner, UnionType) else (inner,)
        yield flag, int in choices
        if bool in choices:
            yield f"no-{flag}", False


def check_flags(arguments: Sequence[str], flags: Mapping[str, Any], elsewhere: Mapping[str, str]) -> None:
    """Raise ValueError for the first unknown flag, with the flag that was probably meant."""
    for argument in arguments:
        name = argument.split("=")[0].removeprefix("--").replace("_", "-")
        if not argument.startswith("--") or name in flags or name in ("help", ""):
            continue
        if name in elsewhere:
            raise ValueError(f"--{name} is a setting of {elsewhere[name]}: leave it out or change --algo")
        familiar = FAMILIAR.get(name)
        near = [familiar] if familiar in flags else difflib.get_close_matches(name, flags, n=1)
        hint = f"did you mean --{near[0]}?" if near else "--help lists all options"
        raise ValueError(f"unknown option --{name}: {hint}")


def with_whole_numbers(arguments: Sequence[str], flags: set[str]) -> list[str]:
    """Return the arguments with each whole number after one of the flags written out in digits.

    >>> with_whole_numbers(["--steps", "1e5", "--seed=2_0", "--gamma", "1e-1"], {"steps", "seed"})
    ['--steps', '100000', '--seed=20', '--gamma', '1e-1']
    """
    read = list[str]()
    takes_number = False
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if equals and flag.removeprefix("--").replace("_", "-") in flags:
            read.append(f"{flag}={_in_digits(value)}")
        else:
            read.append(_in_digits(argument) if takes_number else argument)
        takes_number = argument.startswith("--") and argument[2:].replace("_", "-") in flags
    return read


def _in_digits(text: str) -> str:
    if re.fullmatch(r"\d[\d_]*(\.\d+)?([eE]\+?\d{1,2})?", text):
        number = Decimal(text.replace("_", ""))
        if number == int(number):
            return str(int(number))
    return text


def with_flag(message: str, flags: Mapping[str, Any]) -> str:
    """Return an error message with the setting at its beginning written as a flag.

    >>> with_flag("num_envs must be 1 or more; got 0", {"num-envs": True})
    '--num-envs must be 1 or more; got 0'
    """
    name = re.match(r"[a-z][a-z0-9_]*(?=[ =])", message)
    if name is None or (flag := name[0].replace("_", "-")) not in flags:
        return message
    return f"--{flag}{message[len(name[0]) :]}"
