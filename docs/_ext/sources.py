"""References to code and tests, which must exist, and pages with the source of what is referred to.

- {code}`policygrad.proof.solve` links to the reference or, for what the reference leaves out, to the source.
  {code}`~policygrad.proof.solve` shows the name without its module.
- {test}`tests/proof/test_solution.py::test_name` links to the source of a test.
- {source}`examples/plain_ppo.py` links to the source of a file.
"""

import ast
import inspect
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from docstrings import documented, imported
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import ReferenceRole
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).parents[2]
logger = logging.getLogger(__name__)


@cache
def parsed(path: str) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse((ROOT / path).read_text())


def line_of(path: str, name: str) -> int | None:
    """Return the line of a file on which a class, function, method or constant `A.b` is defined."""
    place: Any = parsed(path)
    for part in name.split("."):
        for node in getattr(place, "body", []):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            if part in (getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)):
                place = node
                break
        else:
            return None
    return place.lineno


def is_defined_here(thing: Any) -> bool:
    """Return True for the library's classes and functions, but not for its fields and constants."""
    return hasattr(thing, "__qualname__") and str(getattr(thing, "__module__", None)).startswith("policygrad")


def place_of(name: str) -> tuple[str, str]:
    """Return the module where an object is defined, and its name there. Fields and constants belong to their owner."""
    thing = imported(name)
    if inspect.ismodule(thing):
        return thing.__name__, ""
    if is_defined_here(thing):
        return thing.__module__, thing.__qualname__
    module, inside = place_of(name.rpartition(".")[0])
    return module, f"{inside}.{name.rpartition('.')[2]}".strip(".")


def definition(name: str) -> tuple[str, int]:
    """Return the file and the line where an object of the library is defined."""
    module, inside = place_of(name)
    path = Path(imported(module).__file__).relative_to(ROOT).as_posix()
    return path, (line_of(path, inside) or 1) if inside else 1


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Return the link [source] of a function or class in the reference, for `sphinx.ext.linkcode`."""
    name = f"{info['module']}.{info['fullname']}"
    if domain != "py" or not is_defined_here(imported(name)):
        return None
    path, line = definition(name)
    return f"../source/{path}.html#line-{line}"  # all pages of the reference are in one folder


def link(docname: str, path: str, line: int, text: str) -> nodes.reference:
    """Return a link from a document to a line of a page of source."""
    page = posixpath.relpath(f"source/{path}.html", posixpath.dirname(docname) or ".")
    anchor = f"#line-{line}" if line > 1 else ""
    return nodes.reference("", "", nodes.literal("", text), internal=True, refuri=page + anchor)


class CheckedRole(ReferenceRole):
    """A role whose target must exist; a target that does not is a warning."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link."""
        node = getattr(self, self.name)()
        if node is None:
            message = f"{self.name} {self.target!r} does not exist"
            logger.warning(message, location=self.get_location(), type="ref", subtype=self.name)
            node = nodes.literal("", self.title)
        return [node], []

    def to_source(self, path: str, line: int, text: str) -> nodes.reference:
        """Link to a page of source, and note that the page is needed."""
        self.env.metadata[self.env.docname].setdefault("sources", set()).add(path)
        return link(self.env.docname, path, line, text)

    def code(self) -> nodes.Node | None:
        """Refer to an object of the library. The link is made once it is known what the reference contains."""
        name = self.target.removeprefix("~")
        if not name.startswith("policygrad") or imported(name) is None:
            return None
        short = place_of(name)[1] if self.target.startswith("~") else name.removeprefix("policygrad.")
        text = self.title if self.has_explicit_title else short
        node = pending_xref("", nodes.literal("", text), refdomain="", reftype="code", reftarget=name)
        node["refdoc"] = self.env.docname
        self.set_source_info(node)
        self.env.metadata[self.env.docname].setdefault("code", set()).add(name)
        return node

    def test(self) -> nodes.Node | None:
        """Link to a test, given as file::function or file::Class::function."""
        path, _, name = self.target.partition("::")
        line = line_of(path, name.replace("::", ".")) if (ROOT / path).is_file() else None
        text = self.title if self.has_explicit_title else name
        return None if line is None else self.to_source(path, line, text)

    def source(self) -> nodes.Node | None:
        """Link to a file."""
        return self.to_source(self.target, 1, self.title) if (ROOT / self.target).is_file() else None


def resolve(app: Sphinx, env: BuildEnvironment, node: Any, content: Any) -> Any:
    """Make the link of {code}."""
    if node["reftype"] != "code":
        return None
    name = documented(env, node["reftarget"])
    if name is not None:
        place = env.domains["py"].data["objects"][name]
        return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, content, name)
    return link(node["refdoc"], *definition(node["reftarget"]), content.astext())


def local_links(app: Sphinx, docname: str, text: list[str]) -> None:
    """Let links to files of the repository, which work on GitHub, lead to pages of this site."""
    files = r"(?<!!)\[`?([^\]`]*)`?\]\(\.\./((?:examples|benchmarks)/[\w/]+\.\w+)\)"
    text[0] = re.sub(files, r"{source}`\1 <\2>`", text[0])
    text[0] = text[0].replace("](../examples/)", "](gallery.md)")
    text[0] = re.sub(r"\[([^\]]*)\]\(\.\./benchmarks/results/\)", r"\1", text[0])


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the pages of source: those of all examples, of what the reference documents, and those referred to."""
    wanted = {definition(name)[0] for name in app.env.domains["py"].data["objects"]}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("*.py")}
    for cited in app.env.metadata.values():
        wanted |= cited.get("sources", set())
        wanted |= {definition(name)[0] for name in cited.get("code", ()) if documented(app.env, name) is None}
    for path in sorted(wanted):
        language = {".py": "python", ".md": "markdown"}.get(Path(path).suffix, "text")
        code = app.builder.highlighter.highlight_block((ROOT / path).read_text(), language, linespans="line")
        body = f'<h1 class="source">{escape(path)}</h1>{code}'
        yield f"source/{path}", {"title": path, "body": body}, "page.html"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    for name in ("code", "test", "source"):
        app.add_role(name, CheckedRole(), override=True)
    app.connect("source-read", local_links)
    app.connect("missing-reference", resolve)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
