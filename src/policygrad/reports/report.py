"""The function `report`: writes the page of a study or of a run."""

from __future__ import annotations

from pathlib import Path

from policygrad._support.files import write_atomically
from policygrad.reports.contents import contents
from policygrad.reports.opening import open_any
from policygrad.reports.page import page

FILE_NAME = "report.html"


def report(path: str | Path, out: str | Path | None = None, *, film: bool = True) -> Path:
    """Write one HTML page about a study, the seeds of `train`, or a run, and return its path.

    The page contains the answer in words, learning curves, the comparison of configurations, each run with its metrics
    and findings, animations of the policies, the settings, and the versions and the machine. It opens from disk and
    needs no network. Studies that are training or were interrupted give a page of what there is.

    >>> import tempfile, policygrad as pg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = pg.train("CartPole-v1", steps=500, out=f"{folder}/x")
    ...     pg.report(f"{folder}/x", film=False).name
    'report.html'

    Args:
        path: folder of the study or run.
        out: the file to write; by default `report.html` in that folder.
        film: film the policies; this loads them and plays an episode of each cell.

    Raises:
        FileNotFoundError: there is no study or run at `path`, or no folder for `out`.
        CheckpointError: a file of the study is damaged.
    """
    study = open_any(path)
    out = study.path / FILE_NAME if out is None else Path(out).expanduser().absolute()
    if out.is_dir() or not out.parent.is_dir():
        what = (
            "is a folder; expected the name of a file"
            if out.is_dir()
            else "is in a folder that does not exist"
        )
        raise FileNotFoundError(f"the report cannot be written: {out} {what}, such as report.html")
    write_atomically(out, page(contents(study, film=film)))
    return out
