"""Check a student's file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from policygrad.exercises.catalogue import EXERCISES, exercise_named
from policygrad.exercises.student_file import exercise_of, load
from policygrad.exercises.verdict import Verdict


def check(path: str | Path) -> Verdict:
    """Return what is right and what is wrong in the file of an exercise. The result is true if all is right.

    The line `EXERCISE = "name"` of the file says which exercise it is for, so the file may be renamed.

    Raises:
        ValueError: the file does not exist, cannot be imported, lacks a function, or is not for an exercise.
    """
    path = Path(path)
    module = load(path)
    name = exercise_of(path)
    try:
        exercise = exercise_named(name)
    except ValueError as error:
        raise ValueError(
            f"{path} does not say which exercise it is for: {error}. Keep the line EXERCISE = "
            f'"{next(iter(EXERCISES))}", with the name of your exercise'
        ) from error
    grader, function = exercise.grader.split(":")
    return Verdict(exercise.name, tuple(getattr(import_module(grader), function)(module, path)))
