"""Command lines to dataclasses, with errors that name the flag and say what was probably meant."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from types import UnionType
from typing import Any, TypeVar

import tyro

from policygrad._support.checks import annotations_of

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
}
"""What other libraries call our flags."""


def parse(
    kind: type[T],
    arguments: Sequence[str],
    prog: str,
    default: T | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> T:
    """Return an instance of a dataclass, as the arguments say.

    Whole numbers may be written as 1e5 or 100_000.

    Args:
        kind: the dataclass, whose fields are the flags.
        arguments: of the command line.
        prog: the command, for the help.
        default: what is not given is taken from here.
        elsewhere: flags that the command does not have now, each with what they belong to.

    Raises:
        ValueError: a flag is unknown.
        SystemExit: help was asked for, or a value cannot be read; tyro has said which.
    """
    flags = dict(flags_of(kind))
    check_flags(arguments, flags, elsewhere or {})
    read = with_whole_numbers(arguments, {flag for flag, is_whole in flags.items() if is_whole})
    return tyro.cli(kind, args=read, prog=prog, default=default)  # pyright: ignore


def flags_of(kind: Any) -> Iterator[tuple[str, bool]]:
    """Yield each flag of a dataclass, without dashes in front, and whether it takes a whole number.

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
    """Raise ValueError for the first flag that is not known, with what was probably meant."""
    for argument in arguments:
        name = argument.split("=")[0].removeprefix("--").replace("_", "-")
        if not argument.startswith("--") or name in flags or name in ("help", ""):
            continue
        if name in elsewhere:
            raise ValueError(f"--{name} is a setting of {elsewhere[name]}: leave it out, or change --algo")
        familiar = FAMILIAR.get(name)
        near = [familiar] if familiar in flags else difflib.get_close_matches(name, flags, n=1)
        hint = f"did you mean --{near[0]}?" if near else "--help lists all of them"
        raise ValueError(f"unknown option --{name}: {hint}")


def with_whole_numbers(arguments: Sequence[str], flags: set[str]) -> list[str]:
    """Return the arguments with each whole number that follows one of the flags written in digits.

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
    """Return an error's message with the setting at its beginning written as a flag.

    >>> with_flag("num_envs must be 1 or more; got 0", {"num-envs": True})
    '--num-envs must be 1 or more; got 0'
    """
    name = re.match(r"[a-z][a-z0-9_]*(?=[ =])", message)
    if name is None or (flag := name[0].replace("_", "-")) not in flags:
        return message
    return f"--{flag}{message[len(name[0]) :]}"
