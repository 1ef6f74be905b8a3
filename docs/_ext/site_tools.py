"""Tools for the cells of the chapters: numbers in sentences, and figures that follow the theme of the page."""

import io
import re
from html import escape
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from IPython.display import HTML
from matplotlib.figure import Figure
from myst_nb import glue

__all__ = ["number", "picture", "plt"]

# `picture` replaces these four colors by those of the theme, which are in site.css
PLACEHOLDERS = ["#0000f1", "#0000f2", "#0000f3", "#0000f4"]
plt.rcParams.update(
    {
        "axes.facecolor": "none",
        "axes.prop_cycle": plt.cycler(color=PLACEHOLDERS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "none",
        "font.family": "sans-serif",
        "legend.frameon": False,
        "savefig.facecolor": "none",
        "svg.fonttype": "none",
        "svg.hashsalt": "policygrad",
    }
)


def number(key: str, value: Any) -> None:
    """Make a number available to the sentences of the page, as {glue:text}`key` or {glue:text}`key:.2e`."""
    glue(key, value.item() if hasattr(value, "item") else value, display=False)


def picture(figure: Figure, alt: str, name: str) -> HTML:
    """Return a figure as SVG whose colors are those of the page's theme.

    Args:
        figure: the figure, which is closed.
        alt: what the figure shows, for readers who cannot see it.
        name: an identifier that is unique on the page.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    svg = out.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"#0000f([1-4])", r"var(--plot-\1)", svg)
    svg = svg.replace("#000000", "currentColor").replace("#ffffff", "var(--color-background-primary)")
    # several figures share the page, and each must refer to its own shapes
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
    return HTML(f'<div class="plot">{svg}</div>')
