"""The versions, the machine and the history of a study or run, from its manifest."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any, cast

from policygrad.errors import CheckpointError
from policygrad.reports.wording import counted
from policygrad.studies.saved_study import SavedStudy


def circumstances(study: SavedStudy) -> list[tuple[str, str]]:
    """Return names and values: when training began, versions, the machine, and how often it was resumed."""
    try:
        manifest = study.manifest
    except FileNotFoundError:
        return [("manifest", "There is no manifest.json, so versions and machine are not known.")]
    try:
        return _rows(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{study.path}/manifest.json is damaged: {error!r}") from error


def _rows(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    before = cast("list[dict[str, Any]]", manifest.get("before", []))
    began = before[0]["started"] if before else manifest["started"]
    rows = [("Started", _time(began))]
    if before:
        rows.append(("Resumed", f"{counted(len(before), 'time')}, last on {_time(manifest['started'])}"))
    rows.append(("Command", shlex.join(manifest["command"])))
    rows.append(("Python", manifest["python"]))
    rows += [(name, version) for name, version in manifest["packages"].items()]
    git = manifest.get("git")
    if git:
        rows.append(("Git commit", git["commit"] + (", with uncommitted changes" if git["changed"] else "")))
    rows.append(("System", manifest["system"]))
    rows.append(("Processor", f"{manifest['processor']}, {counted(manifest['cores'], 'core')}"))
    known = {"started", "command", "python", "packages", "git", "system", "processor", "cores", "before"}
    rows += [
        (name.replace("_", " ").capitalize(), str(value))
        for name, value in manifest.items()
        if name not in known
    ]
    for earlier in before:
        rows += [
            (f"{label} before it was resumed", was)
            for label, was, now in _compared(earlier, manifest)
            if was != now
        ]
    return list(dict.fromkeys(rows))


def _compared(earlier: dict[str, Any], manifest: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the name, the earlier value and the present value of what may explain different results."""
    rows = [(name, str(earlier[name]), str(manifest[name])) for name in ("python", "system", "processor")]
    packages = manifest["packages"]
    return rows + [(name, was, packages.get(name, "")) for name, was in earlier["packages"].items()]


def _time(iso: str) -> str:
    """Return a time as in `manifest.json`, for people.

    >>> _time("2026-03-01T12:30:05+00:00")
    '1 March 2026, 12:30 UTC'
    """
    time = datetime.fromisoformat(iso)
    return f"{time.day} {time:%B %Y, %H:%M} {time.tzname() or ''}".strip()
