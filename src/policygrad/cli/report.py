"""`policygrad report`: write one HTML page about a study or a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from policygrad._support.console import say, stdout
from policygrad.cli.parse import parse
from policygrad.reports import report


@dataclass(frozen=True)
class Report:
    """Write one HTML page about a study, the seeds of `train`, or a run. It opens from disk and needs no network."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of the study or run."""
    out: Path | None = None
    """The file to write; by default report.html in that folder."""
    film: bool = True
    """Also film the policies. Without, no policy is loaded and no environment is opened."""


def report_command(arguments: list[str]) -> int:
    """Run `policygrad report` and return its exit status."""
    args = parse(Report, arguments, "policygrad report")
    say(str(report(args.path, args.out, film=args.film)), stdout)
    return 0
