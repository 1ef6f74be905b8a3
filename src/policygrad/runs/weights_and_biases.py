"""Logging of a run's metrics to Weights & Biases, through its own client (needs the extra `wandb`)."""

from __future__ import annotations

import json
import math
import re
import secrets
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from policygrad._support.files import write_atomically
from policygrad.runs.locked_folder import as_json

ID_FILE = "wandb_id"
"""File in the run folder that contains the id of the run at Weights & Biases, so that a resumed run continues it."""


def check_installed() -> None:
    """Raise ValueError if the client of Weights & Biases is not installed."""
    if find_spec("wandb") is None:
        raise ValueError(
            "wandb (--wandb) needs the client of Weights & Biases. Run pip install 'policygrad[wandb]'"
        )


class Tracker:
    """Sends rows of metrics to Weights & Biases, under the same run id when the run is resumed.

    Rows that were sent before an interruption but are computed again are ignored there: they are the same.

    Args:
        project: name of the project.
        path: the run folder, in which the client keeps its own files.
        config: the settings of the run.
        group: name of the group of runs that this one belongs to; None if it is alone.

    Raises:
        ValueError: the client cannot start, for example because nobody has logged in.
    """

    def __init__(self, project: str, path: Path, config: dict[str, Any], *, group: str | None = None) -> None:
        check_installed()
        # imported here because it is slow to import
        import wandb  # pyright: ignore[reportMissingImports]

        try:
            self._run: Any = wandb.init(
                project=project,
                id=_id_in(path),
                resume="allow",
                name=path.name if group is None else f"{group}/{path.name}",
                group=group,
                dir=str(path),
                config=json.loads(as_json(config)),
                # several runs may be active in this process
                reinit="create_new",
                # the output of the program is not part of the run
                settings=wandb.Settings(console="off"),
            )
        except Exception as error:
            raise ValueError(
                f"wandb={project!r}: Weights & Biases could not start: {error}. Log in with `wandb login`, or set the "
                "environment variable WANDB_MODE=offline"
            ) from error
        self._failed = True

    def log(self, row: Mapping[str, float]) -> None:
        """Send a row. Values that are not finite are left out."""
        if self._run is None:
            return
        values = {name: value for name, value in row.items() if name != "steps" and math.isfinite(value)}
        try:
            self._run.log(values, step=int(row["steps"]))
        except Exception as error:
            self._run = None
            warnings.warn(
                f"logging to Weights & Biases has ended, and training continues: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )

    def summarize(self, summary: Mapping[str, Any]) -> None:
        """Send the contents of `summary.json`."""
        self._failed = summary["ended"] in ("error", "non-finite")
        if self._run is not None:
            self._run.summary.update(json.loads(as_json(dict(summary))))

    def close(self) -> None:
        """Send what is left, and mark the run as finished, or as failed if an error has ended it."""
        run, self._run = self._run, None
        if run is not None:
            run.finish(exit_code=int(self._failed))


def _id_in(path: Path) -> str:
    """Return the id of the run in a folder, which is chosen and written on the first call."""
    file = path / ID_FILE
    if file.exists():
        found = file.read_text(encoding="utf-8", errors="replace").strip()
        if re.fullmatch(r"[0-9a-f]{16}", found):
            return found
    chosen = secrets.token_hex(8)
    write_atomically(file, f"{chosen}\n".encode())
    return chosen
