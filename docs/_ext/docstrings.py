"""Reading of docstrings that are plain prose, with Google's sections and with `names` that become links."""

import inspect
import pkgutil
import re
from dataclasses import is_dataclass
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.nodes import make_refnode

NAPOLEON = Config(napoleon_use_rtype=False)


def escaped(line: str) -> str:
    """Escape what reStructuredText takes for markup: |x|, *args and a_. A word may continue after a `name`s."""
    if line.lstrip().startswith((">>>", "...")):
        return line
    parts = re.split(r"(`[^`]+`)", line)
    parts[::2] = [re.sub(r"([*|_])", r"\\\1", part) for part in parts[::2]]
    return re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", "".join(parts))


def convert(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText."""
    lines[:] = [escaped(line) for line in lines]
    # in the docstring of an attribute, "[S, A]: log π" is not a section or a type
    if what not in ("attribute", "data", "property", "module"):
        lines[:] = GoogleDocstring(list(lines), NAPOLEON, app, what, name, thing, options).lines()


def without_types(app: Sphinx, what: str, name: str, thing: Any, *rest: Any) -> tuple[str, str] | None:
    """Leave the types out of the signature of a dataclass or of `train`, because its fields or settings state them.

    A field of a dataclass that contains a function is taken for a method, which would lose its first argument.
    """
    is_field = what == "method" and thing.__name__ != name.rpartition(".")[2]
    lists_fields = what in ("class", "function") and (is_dataclass(thing) or hasattr(thing, "__signature__"))
    if not is_field and not lists_fields:
        return None
    signature = inspect.signature(thing)
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    text = str(signature.replace(parameters=parameters, return_annotation=signature.empty))
    return re.sub(r"<function (\w+) at \w+>", r"\1", text), ""


def imported(name: str) -> Any:
    """Return the object of a dotted name, or None. For a field of a class without a default, return its name."""
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        owner, _, last = name.rpartition(".")
        fields = inspect.get_annotations(found) if owner and inspect.isclass(found := imported(owner)) else {}
        return last if last in fields else None


def documented(env: BuildEnvironment, name: str) -> str | None:
    """Return the name under which the reference documents an object: for `proof.solution.solve`, `proof.solve`."""
    objects = env.domains["py"].data["objects"]
    if name in objects:
        return name
    owner, _, last = name.rpartition(".")
    thing = imported(name)
    if not owner or thing is None:
        return None
    places = [other for other in objects if other.rpartition(".")[2] == last and imported(other) is thing]
    if len(places) == 1:
        return places[0]
    owner = documented(env, owner)
    return f"{owner}.{last}" if f"{owner}.{last}" in objects else None


def full_name(node: Any) -> str:
    """Return the name that a reference means. In a class, a bare name is one of the class's module, if it has it."""
    target, owner = node["reftarget"], imported(f"{node.get('py:module')}.{node.get('py:class')}")
    inside = f"{getattr(owner, '__module__', None)}.{target}"
    return inside if imported(inside) is not None else target


def find(app: Sphinx, env: BuildEnvironment, node: Any, content: Any) -> Any:
    """Resolve references to objects by their private place, or by a bare name if only one object has it."""
    if node.get("refdomain") != "py":
        return None
    objects, target = env.domains["py"].data["objects"], full_name(node)
    name = documented(env, target)
    if name is None and imported(target) is None:
        places = [other for other in objects if other.endswith("." + target)]
        name = places[0] if len(places) == 1 else None
    if name is not None:
        place = objects[name]
        return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, content, name)
    # `x` is often just a symbol, and signatures may name types that the reference leaves out
    if node["reftype"] == "obj":
        return content if isinstance(content, nodes.literal) else nodes.literal("", content.astext())
    return content if target.startswith("policygrad.") and imported(target) is not None else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("autodoc-process-docstring", convert)
    app.connect("autodoc-process-signature", without_types)
    app.connect("missing-reference", find, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
