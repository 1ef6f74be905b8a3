"""Hand out an exercise."""

from __future__ import annotations

from pathlib import Path

from policygrad._support.files import write_atomically
from policygrad.exercises.catalogue import exercise_named


def get(name: str, folder: str | Path = ".", *, overwrite: bool = False) -> Path:
    """Write the file of an exercise into a folder, and return its path.

    Args:
        name: name of the exercise; see `EXERCISES`.
        folder: where to write `NAME.py`.
        overwrite: replace a file of this name, and lose what was written in it.

    Raises:
        ValueError: there is no such exercise or folder.
        FileExistsError: the file exists, and `overwrite` is False.
    """
    exercise = exercise_named(name)
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist")
    path = folder / f"{exercise.name}.py"
    if path.is_dir():
        raise ValueError(f"{path} is a folder; move it away, or choose another folder for the exercise")
    # a link that leads nowhere does not exist, but it would be replaced too
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise FileExistsError(
            f"{path} already exists and may contain your work; move it away, or use overwrite (--overwrite)"
        )
    write_atomically(path, exercise.template.read_bytes())
    return path
