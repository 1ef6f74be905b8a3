"""What a checker says about a file."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

WIDTH = 88
"""Number of columns to which explanations are wrapped."""


@dataclass(frozen=True)
class Finding:
    """What a checker says about one function of a file."""

    subject: str
    """Name of the function."""
    right: bool
    """True if the function is right."""
    text: str
    """Explanation of what was compared or of what the mistake does."""

    def __str__(self) -> str:
        headline = f"{self.subject}: {'right' if self.right else 'not right yet'}"
        text = textwrap.fill(
            self.text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False
        )
        return f"{headline}\n{text}"


@dataclass(frozen=True)
class Verdict:
    """The result of a check, which is true if the exercise is solved."""

    exercise: str
    """Name of the exercise."""
    findings: tuple[Finding, ...]
    """What was found, function by function."""

    def __bool__(self) -> bool:
        return bool(self.findings) and all(finding.right for finding in self.findings)

    def __str__(self) -> str:
        headline = f"Exercise {self.exercise}: {'solved' if self else 'not solved yet'}"
        return "\n\n".join([headline, *map(str, self.findings)])
