"""Configuration of the documentation site; `make docs` builds it into build/html."""

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

from jupyter_cache import get_cache

import policygrad

HERE = Path(__file__).parent
EXTENSIONS = HERE / "_ext"
sys.path.insert(0, str(EXTENSIONS))

from sources import linkcode_resolve  # noqa: E402, F401  # Sphinx finds it here

# the chapters' code runs in other processes, which find the same library and `site_tools` by this path
SOURCE = str(Path(policygrad.__file__).parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join([str(EXTENSIONS), SOURCE, os.environ.get("PYTHONPATH", "")])
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # otherwise each process prints a warning about debuggers
os.environ["POLICYGRAD_PROGRESS"] = "0"  # the pages show results only

project = "policygrad"
author = "The policygrad authors"
project_copyright = author
release = version = policygrad.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.linkcode",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
    "docstrings",
    "generated",
    "sources",
]
exclude_patterns = ["_ext", "images/**"]
highlight_language = "text"  # indented blocks are formulas; blocks of code name their language

# --- strictness: a reference that leads nowhere is a warning, and `make docs` turns warnings into errors
nitpicky = True
show_warning_types = True
nitpick_ignore_regex = [
    # other projects' names, which this site does not document
    (r"py:.*", r"(torch|nn|numpy|np|gymnasium|gym|spaces|collections|typing|pathlib)\..*"),
    # names of types in annotations, which pyright checks; prose uses {code}, which checks every name
    (r"py:class", r"\w+(\[.*)?"),
]

# --- Markdown
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True


# --- the chapters' code
def code_version() -> str:
    """Return a hash of the library's code, because the cache of results compares only the chapters' cells."""
    digest = hashlib.sha256()
    for file in sorted([*Path(policygrad.__file__).parent.rglob("*.py"), *EXTENSIONS.glob("*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE.parent / "build" / "notebooks" / code_version())
# create the cache's database now: two processes that create it at the same time fail
get_cache(nb_execution_cache_path).list_cache_records()
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# --- reference
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
# shown by their names instead of what they stand for
autodoc_type_aliases = {name: f"policygrad.types.{name}" for name in ("F32", "F64", "I64", "Bool", "Array")}
autodoc_type_aliases |= {name: name for name in ("Count", "Finite", "NotNegative", "Positive", "Unit")}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
default_role = "py:obj"

# --- bibliography
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# --- pages
html_theme = "furo"
html_title = "policygrad"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_search_summary = False  # it would fetch the pages, which browsers forbid for files on disk

# --- formulas: MathJax in one file that needs no network
mathjax = importlib.util.find_spec("sphinx-mathjax-offline")
assert mathjax is not None
assert mathjax.origin is not None
html_static_path.append(str(Path(mathjax.origin).parent / "static" / "mathjax" / "tex-svg-full.js"))
mathjax_path = "tex-svg-full.js"
math_eqref_format = "({number})"
mathjax3_config = {
    "options": {"enableMenu": False},
    "tex": {"macros": {"E": r"\mathbb{E}", "KL": r"\operatorname{KL}", "Var": r"\operatorname{Var}"}},
}
