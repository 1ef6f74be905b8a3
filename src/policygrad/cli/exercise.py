"""`policygrad exercise`: list exercises, hand one out, and check a student's file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from policygrad._support.console import say, stdout
from policygrad.cli.parse import parse
from policygrad.exercises.catalogue import EXERCISES

USAGE = """
  policygrad exercise get NAME      write the exercise to NAME.py in the current folder
  policygrad exercise check FILE    grade a file and explain what is wrong
"""


@dataclass(frozen=True)
class Get:
    """Write an exercise to NAME.py, for you to complete or mend."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Name of the exercise; `policygrad exercise` lists them."""
    folder: Path = Path()
    """Folder to write it to."""
    overwrite: bool = False
    """Replace a file of this name, and lose what was written in it."""


@dataclass(frozen=True)
class Check:
    """Grade the file of an exercise and explain what is wrong. The exit status is 1 if it is not solved yet."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The file, which may have been renamed."""


def exercise_command(arguments: list[str]) -> int:
    """Run `policygrad exercise` and return its exit status."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, EXERCISES))
        lines = [f"  {exercise.name:{width}}    {exercise.summary}" for exercise in EXERCISES.values()]
        say("Exercises, graded against exact gradients:\n\n" + "\n".join(lines) + f"\n{USAGE}", stdout)
        return 0
    action, rest = arguments[0], arguments[1:]
    if action not in ACTIONS:
        near = difflib.get_close_matches(action, ACTIONS, n=1, cutoff=0.4)
        hint = f"did you mean exercise {near[0]}?" if near else "expected get NAME or check FILE"
        if action in EXERCISES:
            hint = f"did you mean exercise get {action}?"
        raise ValueError(f"unknown command exercise {action}: {hint}")
    return ACTIONS[action](rest)


def get_command(arguments: list[str]) -> int:
    """Run `policygrad exercise get` and return its exit status."""
    args = parse(Get, arguments, "policygrad exercise get")
    from policygrad.exercises.handout import get

    path = get(args.name, args.folder, overwrite=args.overwrite)
    say(
        f"saved: {path}\nIts docstring says what to do. Grade your work with: policygrad exercise check {path}",
        stdout,
    )
    return 0


def check_command(arguments: list[str]) -> int:
    """Run `policygrad exercise check` and return its exit status, which is 1 if the exercise is not solved."""
    args = parse(Check, arguments, "policygrad exercise check")
    from policygrad.exercises.grading import check

    verdict = check(args.file)
    say(str(verdict), stdout)
    return 0 if verdict else 1


ACTIONS = {"get": get_command, "check": check_command}
"""Function of each action."""
