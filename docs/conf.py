"""How Sphinx makes the site of these pages: ``make docs``. Nothing is fetched, neither while building nor by a page."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import mmdr
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import scaler_notebook

project = "scaler_notebook"
version = release = scaler_notebook.__version__
html_title = f"{project} {version}"
html_copy_source = html_show_copyright = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]

myst_heading_anchors = 3  # as GitHub names them, so that one link serves both
myst_fence_as_directive = ["mermaid"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
numpydoc_show_class_members = False
maximum_signature_line_length = 90

_numbers = itertools.count(1)


class Mermaid(SphinxDirective):
    """A drawing in mermaid's language, as SVG in the page itself."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        drawing = mmdr.render("\n".join(self.content)).svg()
        drawing = re.sub(r'(?<=["#])merman', f"drawing-{next(_numbers)}", drawing)  # a page may have several
        return [nodes.raw("", f'<div class="drawing">{drawing}</div>', format="html")]


def prepare(app: Sphinx, page: str, source: list[str]) -> None:
    """Offer what lies outside of this folder as a file, pages of Markdown too. Without decisions, list none."""
    outside = re.escape("../" * (page.count("/") + 1))
    source[0] = re.sub(rf"\]\(({outside}[^)#]+\.md)(#[^)]*)?\)", r"](path:\1)", source[0])
    if page == "index" and not list(Path(app.srcdir).glob("adr/*.md")):
        source[0] = source[0].partition("```{toctree}\n:caption: Decisions")[0]


def setup(app: Sphinx) -> None:
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", prepare)
