"""Comparison of a student's numbers with the right ones and with those of the usual mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from policygrad.exercises.student_file import StudentError
from policygrad.exercises.verdict import Finding
from policygrad.types import F64

TOLERANCE = 1e-9
"""Largest difference that counts as equal, relative to the largest of the right numbers or to 1."""


@dataclass(frozen=True)
class KnownMistake:
    """The numbers that a usual mistake gives, and what it does."""

    numbers: F64
    text: str


def same(found: F64, right: F64) -> bool:
    """Return True if all numbers agree; NaN agrees with nothing."""
    return bool(
        np.abs(found - right).max(initial=0.0) <= TOLERANCE * max(1.0, float(np.abs(right).max(initial=0.0)))
    )


def explain(found: F64, right: F64, mistakes: Iterable[KnownMistake]) -> str:
    """Return the text of the first mistake that gives these numbers, or else how they differ from the right ones."""
    for mistake in mistakes:
        if same(found, mistake.numbers):
            return mistake.text
    return f"This is none of the mistakes that the checker knows. {distance(found, right)}"


def distance(found: F64, right: F64) -> str:
    """Return a sentence with the cosine and the ratio of lengths of two vectors."""
    size, expected = float(np.linalg.norm(found)), float(np.linalg.norm(right))
    if size == 0 or expected == 0:
        return f"Its length is {size:.4g}, and that of the exact result is {expected:.4g}."
    cosine = float(found.ravel() @ right.ravel()) / (size * expected)
    return (
        f"Its cosine with the exact result is {cosine:.4f}, and it is {size / expected:.4g} times as long "
        f"(the largest difference is {np.abs(found - right).max():.3g})."
    )


def examine(subject: str, judge: Callable[[], tuple[bool, str]]) -> Finding:
    """Return the finding of a judge that returns (right, text), or that raises the `StudentError` of a function."""
    try:
        return Finding(subject, *judge())
    except StudentError as error:
        return Finding(subject, False, str(error))
