"""How results are shown in a notebook and handed to other libraries: HTML tables and data frames."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal

FrameName = Literal["pandas", "polars"]


def data_frame(columns: Mapping[str, Any], library: FrameName | None = None) -> Any:
    """Return columns of equal length as a data frame of pandas or polars.

    Args:
        columns: the columns by name.
        library: `pandas` or `polars`; by default the first of them that is installed.

    Raises:
        ValueError: there is no such library.
        ModuleNotFoundError: the library is not installed.
    """
    if library not in (None, "pandas", "polars"):
        raise ValueError(f"library must be 'pandas' or 'polars'; got {library!r}")
    for name in ("pandas", "polars") if library is None else (library,):
        try:
            return import_module(name).DataFrame(dict(columns))
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    wanted = "pandas or polars" if library is None else library
    raise ModuleNotFoundError(f"a data frame needs {wanted}, which is not installed: run pip install pandas")


def table_in_html(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of text, for a notebook."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{f'<tr>{head}</tr>' if headings else ''}{''.join(lines)}</table>"
