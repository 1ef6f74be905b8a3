"""Directives that fill a page from the code: the metrics, the examples and the names of the package."""

import ast
import inspect
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import policygrad
from policygrad.metrics import METRICS

EXAMPLES = Path(__file__).parents[2] / "examples"


def summary(docstring: str | None) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return re.sub(r"\s+", " ", inspect.cleandoc(docstring or "").partition("\n\n")[0])


class Metrics(SphinxDirective):
    """A table of all metrics that the library logs."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = ["| metric, unit | what it measures | a healthy run |", "|-|-|-|"]
        for name, metric in METRICS.items():
            cells = [f"`{name}`<br>{metric.unit}", metric.formula, metric.healthy]
            rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        return self.parse_text_to_nodes("\n".join(rows))


class Gallery(SphinxDirective):
    """Cards of all examples. A line `name: picture` gives an example a picture and puts it first."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the cards."""
        pictures = dict(line.split(": ") for line in self.content)
        names = [*pictures, *sorted({file.stem for file in EXAMPLES.glob("*.py")} - set(pictures))]
        text = ["::::{grid} 1 2 2 2", ":gutter: 3"]
        for name in names:
            code = ast.parse((EXAMPLES / f"{name}.py").read_text())
            text += [
                f":::{{grid-item-card}} `{name}.py`",
                f":link: source/examples/{name}.py.html",
                ":link-type: url",
                *([f":img-top: {pictures[name]}"] if pictures.get(name) else []),
                "",
                summary(ast.get_docstring(code)),
                ":::",
            ]
        return self.parse_text_to_nodes("\n".join([*text, "::::"]))


class PublicNames(SphinxDirective):
    """A table of the names that `import policygrad` offers, except modules."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = ["| name | what it is |", "|-|-|"]
        for name in policygrad.__all__:
            thing = getattr(policygrad, name)
            if not inspect.ismodule(thing) and not name.startswith("_"):
                meaning = summary(inspect.getdoc(thing)).replace("|", r"\|")
                rows.append(f"| {{code}}`{name} <policygrad.{name}>` | {meaning} |")
        return self.parse_text_to_nodes("\n".join(rows))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("metrics", Metrics)
    app.add_directive("gallery", Gallery)
    app.add_directive("public-names", PublicNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
