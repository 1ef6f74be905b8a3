"""What a run says about itself when it ends: problems that its metrics point to."""

from __future__ import annotations

import math
import warnings

from policygrad.doctor import Evidence, Finding, diagnose
from policygrad.runs.progress import Progress, Silent
from policygrad.runs.run import Run


def report_findings(run: Run, display: Progress, *, alone: bool) -> None:
    """Store the findings about a run that has ended, and show those that matter.

    A finding that the policy cannot learn any more is always shown, as a warning if the display is silent. A run that
    did not reach its threshold also names its most important finding, unless it is one of many runs.
    """
    found = diagnose(Evidence(run.history, run.config, run.threshold))
    run.findings = [str(finding) for finding in found]
    shown = [finding for finding in found if finding.certain]
    for finding in shown:
        if type(display) is Silent:
            warnings.warn(str(finding), stacklevel=5)
        display.say(str(finding))
    if alone and run.ended == "budget" and (line := closing_line(run, found, shown)) is not None:
        display.say(line)


def closing_line(run: Run, found: list[Finding], shown: list[Finding]) -> str | None:
    """Return one line about a run that did not reach its threshold, or None if there is nothing to say.

    Args:
        run: a run that has used up its budget.
        found: what its metrics point to, the most important finding first.
        shown: the findings that the user has already seen.
    """
    if run.solved_at is not None or not run.updates or (run.threshold is None and not found):
        return None
    parts = list[str]()
    if run.threshold is not None:
        best = f" (best: {run.best_mean:.4g})" if math.isfinite(run.best_mean) else ""
        parts.append(f"the mean return of 100 episodes did not reach {run.threshold:g}{best}")
    if not found:
        parts.append("the metrics do not show why")
    elif found[0] not in shown:
        parts.append(str(found[0]).removesuffix("."))
    if run.out is not None:
        parts.append(f"`policygrad doctor {run.out}` looks closer")
    return "; ".join(parts) if parts else None
