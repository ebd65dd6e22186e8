"""How the documentation is built: `make docs`. Needs no network, neither here nor in a browser."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "sb3_hpo"
author = "the sb3_hpo developers"
release = importlib.metadata.version("sb3-hpo")
html_title = f"sb3_hpo {release}"
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # links such as search_spaces.md#a-table
html_math_renderer = "mathml"

# Docstrings write code between single backticks.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_typehints = "none"  # the texts say what is meant; signatures would be lines of types
autoclass_content = "both"  # arguments are documented where they are taken
autodoc_member_order = "bysource"
autodoc_default_options = {"undoc-members": False}


def _write_math(translator: Any, node: Any, *, is_block: bool) -> None:
    # MathJax would be loaded from elsewhere; browsers draw MathML themselves.
    translator.body.append(tex2mathml(node.astext(), as_block=is_block))
    raise SkipNode


def _prepare_for_napoleon(_app: Any, what: str, *about: Any) -> None:
    lines: list[str] = about[-1]
    if what == "class":  # all that a constructor does
        lines[:] = [line for line in lines if line.strip() != "Prepare."]
    # napoleon takes what stands before a colon for a type; before a leading one is nothing.
    if what in ("attribute", "property") and lines:
        lines[0] = f": {lines[0]}"
    for n, line in enumerate(lines[:-1]):
        if line.strip() == "Returns:":
            text = lines[n + 1].lstrip()
            lines[n + 1] = f"{lines[n + 1][: -len(text)]}: {text}"


def setup(app: Sphinx) -> None:
    """Mend docstrings for napoleon; add a renderer of formulas that works offline."""
    app.connect("autodoc-process-docstring", _prepare_for_napoleon, priority=400)
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda tr, node: _write_math(tr, node, is_block=False), None),
        block_renderers=(lambda tr, node: _write_math(tr, node, is_block=True), None),
    )
