"""A notebook as a page that needs neither Python nor a network: its pictures are inside, its formulae are MathML."""

from __future__ import annotations

import html
import re
from pathlib import Path

from latex2mathml import converter
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from tutorial_utils import failures
from tutorial_utils.execution import write_whole

AS_TYPED = "as-typed"
"""The class of a formula that stands in a page as it was typed, because it could not be set."""


def write_html(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook's page, as a whole or not at all."""
    left_out = {"enabled": True, "remove_cell_tags": ["remove-cell"]}  # what only a kernel needs
    exporter = HTMLExporter(template_name="classic", embed_images=True, config={"TagRemovePreprocessor": left_out})
    exporter.register_filter("markdown2html", markdown_to_html)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)  # all of them for things we do without
    write_whole(path, page)


def markdown_to_html(markdown: str) -> str:
    """A markdown cell's text, with its formulae as MathML: MathJax would come from the network."""
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(markdown)


class _Renderer(IPythonRenderer):
    def inline_math(self, body: str) -> str:
        return _formula(body, "inline")

    def block_math(self, body: str) -> str:
        return _formula(body, "block")


def _formula(latex: str, display: str) -> str:
    """A formula in MathML, or as it was typed if it is no LaTeX that latex2mathml knows."""
    try:
        mathml = converter.convert(latex, display=display)
    except Exception as error:  # its exceptions have nothing in common
        if failures.is_memory(error):
            raise
        mathml = "\\"
    if "\\" in mathml or "<mi>&</mi>" in mathml:  # a command or an alignment that it does not know stays
        return f'<code class="{AS_TYPED}">{html.escape(latex)}</code>'
    return mathml
