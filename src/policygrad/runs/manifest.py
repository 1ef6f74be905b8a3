"""The circumstances of a run: software versions, hardware, and the state of source control."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("policygrad", "numpy", "scipy", "numba", "torch", "gymnasium", "safetensors")


def manifest(*, with_git: bool = True) -> dict[str, Any]:
    """Return the software versions, hardware and source control state, which may explain different results."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"started": started, **_circumstances()} | ({"git": _git()} if with_git else {})


@cache
def _circumstances() -> dict[str, Any]:
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
    }


def processor() -> str:
    """Return the model name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git() -> dict[str, Any] | None:
    """Return the commit of the working directory and whether it has changes; None outside a repository."""

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "changed": bool(ask("status", "--porcelain"))}
