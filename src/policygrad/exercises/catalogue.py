"""The list of exercises."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Exercise:
    """A file to hand out, and the function that grades what comes back."""

    name: str
    """Name of the exercise, and of the file without `.py`."""
    summary: str
    """What there is to do, in one line."""
    grader: str
    """`module:function` that grades a student's file. It is imported when a file is checked, because it needs torch."""

    @property
    def template(self) -> Path:
        """The file that is handed out."""
        return Path(__file__).parent / "templates" / f"{self.name}.py"


EXERCISES = {
    exercise.name: exercise
    for exercise in (
        Exercise(
            "score",
            "write the gradient of log π, for a softmax and for a Gaussian policy",
            "policygrad.exercises.score_grader:grade",
        ),
        Exercise(
            "returns",
            "write the rewards-to-go and the REINFORCE estimate of the gradient",
            "policygrad.exercises.returns_grader:grade",
        ),
        Exercise(
            "hunt-baseline",
            "find the error in REINFORCE with a baseline: its gradient is biased",
            "policygrad.exercises.baseline_grader:grade",
        ),
        Exercise(
            "hunt-truncation",
            "find the error in an actor-critic with GAE: it learns a wrong V(s)",
            "policygrad.exercises.truncation_grader:grade",
        ),
    )
}
"""All exercises by name, in the order in which a student should do them."""


def exercise_named(name: str) -> Exercise:
    """Return an exercise.

    Raises:
        ValueError: there is no exercise of this name. The message suggests a similar name.
    """
    wanted = name.removesuffix(".py")
    if wanted in EXERCISES:
        return EXERCISES[wanted]
    near = difflib.get_close_matches(wanted.replace("_", "-"), EXERCISES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"the exercises are {', '.join(EXERCISES)}"
    raise ValueError(f"there is no exercise {name!r}: {hint}")
