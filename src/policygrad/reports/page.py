"""The page of a report: one HTML file with its styles, scripts, data and pictures."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

from policygrad.reports.contents import Contents
from policygrad.reports.wording import counted, ends, estimate_in_words, listed, number, seconds_in_words

COLORS = 8
"""Number of colors of configurations; more configurations share them, with other dashes."""
LONGEST = 24
"""Length up to which a word is kept on one line."""
SCRIPTS = ("theme.js", "charts.js", "filters.js", "run.js", "films.js", "start.js")
"""Scripts in the order in which they run, as one."""


def page(contents: Contents) -> bytes:
    """Return the HTML of a report."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment: Any = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": number,
        "counted": counted,
        "listed": listed,
        "seconds": seconds_in_words,
        "unbroken": _unbroken,
        "estimate": estimate_in_words,
    }
    environment.globals |= {"ends": ends, "colors": COLORS}
    data = _packed(json.dumps(contents.data, allow_nan=False, separators=(",", ":")))
    script = "\n".join(_template(name) for name in SCRIPTS)
    text = environment.from_string(_template("report.html")).render(
        c=contents,
        style=Markup(_template("report.css")),
        early=Markup(_template("early.js")),
        script=Markup(f'(() => {{\n"use strict";\n{script}\n}})();'),
        data=Markup(data),
        plotly=Markup(_packed_plotly()),
        # scripts without this word are not run, so text from users cannot become one
        nonce=hashlib.sha256(data.encode()).hexdigest()[:24],
    )
    return text.encode()


def _unbroken(text: str) -> str:
    """Return text as markup in which names such as CartPole-v1 are not torn apart at their hyphens."""
    from markupsafe import Markup

    words = [
        Markup('<span class="whole">{}</span>').format(word)
        if "-" in word and len(word) <= LONGEST
        else Markup.escape(word)
        for word in text.split(" ")
    ]
    return Markup(" ").join(words)


@cache
def _template(name: str) -> str:
    return (resources.files("policygrad.reports") / "templates" / name).read_text(encoding="utf-8")


@cache
def _packed_plotly() -> str:
    from plotly.offline import get_plotlyjs  # slow to import, and only needed here

    return _packed(get_plotlyjs())


def _packed(text: str) -> str:
    """Return text compressed and in base64, which cannot contain markup."""
    # without the time, so that the same text always gives the same bytes
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
