"""A finding of the doctor, and the ailments that it looks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policygrad.doctor.evidence import Evidence


@dataclass(frozen=True)
class Finding:
    """Something that explains why a policy does not learn."""

    name: str
    """Name of the ailment, in one to six words."""
    words: str
    """What is wrong, with the numbers that show it."""
    advice: str
    """What to do about it."""
    remedy: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Settings to change, by name; empty if the environment or the evaluation has to change instead."""
    certain: bool = False
    """True if the policy cannot learn in this state, whatever its task is."""

    def __str__(self) -> str:
        return f"{self.words} {self.advice}"

    @property
    def flags(self) -> str:
        """The remedy as flags of `policygrad train`.

        >>> Finding("a", "b", "c", {"learning_rate": 3e-05, "normalize_rewards": True, "hidden": (64, 64)}).flags
        '--learning-rate 3e-05 --normalize-rewards --hidden 64 64'
        """
        return " ".join(flag(name, value) for name, value in self.remedy.items())


def flag(name: str, value: Any) -> str:
    """Return a setting as a flag of the command line.

    >>> flag("scale_actions", False), flag("baseline", "value")
    ('--no-scale-actions', '--baseline value')
    """
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{dashed}" if value else f"--no-{dashed}"
    if isinstance(value, tuple | list):
        return " ".join((f"--{dashed}", *map(str, value)))
    return f"--{dashed} {value}"


@dataclass(frozen=True)
class Ailment:
    """Something that the doctor looks for."""

    name: str
    """Name of its findings."""
    summary: str
    """What is wrong, and why nothing is learned then."""
    shown_by: str
    """The evidence that shows it."""
    cure: str
    """What helps."""
    find: Callable[[Evidence], Finding | None]
    """Returns a finding if the evidence shows the ailment. It is not asked about a policy that has learned its task,
    unless `always` is True."""
    explains: tuple[str, ...] = ()
    """Names of ailments that it may cause, which are not reported beside it."""
    needs_probe: bool = False
    """True if the metrics alone cannot show it."""
    always: bool = False
    """True if it matters even if the task was learned."""

    def __call__(self, evidence: Evidence) -> Finding | None:
        """Return a finding if the evidence shows the ailment, else None."""
        if not evidence.updates or (self.needs_probe and evidence.probe is None):
            return None
        return None if evidence.learned and not self.always else self.find(evidence)
