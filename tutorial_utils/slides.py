"""A lesson as slides for a room: what is tagged ``slide``, one idea each, in a page that needs no network."""

from __future__ import annotations

import html
import re
from pathlib import Path

from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from tutorial_utils.execution import write_whole
from tutorial_utils.pages import markdown_to_html

TAG = "slide"
MOST = 30
"""Slides of a lesson."""

REVEAL = Path(__file__).parent / "vendored" / "reveal"
SIZE = 1280, 720
"""Pixels of the screen that slides are made for; on another they are scaled."""

OPTIONS = "margin: 0, center: false, hash: true, slideNumber: true"

STYLE = f"""
html, body, main {{ height: 100%; margin: 0; }}
.reveal {{ font: 26px/1.4 system-ui, sans-serif; color: #1b1f23; background: #fff; }}
.reveal h1, .reveal h2 {{ color: #30475e; margin: 0 0 0.5em; line-height: 1.2; }}
.reveal h1 {{ font-size: 1.9em; }} .reveal h2 {{ font-size: 1.35em; }}
.reveal .slides section {{ text-align: left; height: {SIZE[1]}px; box-sizing: border-box; padding: 24px 40px; }}
.reveal img {{ display: block; margin: 0 auto; width: 100%; height: 440px; object-fit: contain; }}
.reveal p {{ margin: 0.5em 0; }} .reveal table {{ font-size: 0.85em; }}
.jp-OutputPrompt, .jp-InputPrompt {{ display: none; }}
.reveal a.anchor-link {{ display: none; }} .reveal label {{ margin-right: 1em; }} .reveal em {{ font-style: normal; }}
@media (prefers-reduced-motion: reduce) {{ .reveal * {{ transition: none !important; }} }}
"""


def deck(notebook: NotebookNode) -> NotebookNode:
    """The slides of a lesson as a notebook of their own: its title, what is tagged, and its recap.

    A picture's slide has the nearest heading above it and the beginning of the caption below it.

    Raises:
        ValueError: there are more than `MOST`, or none.
    """
    cells, heading = [], ""
    for at, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ +(.+)$", cell.source, re.MULTILINE) or [heading])[-1]
        if TAG not in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            shown = cell.source
        else:
            caption = _caption(notebook.cells[at + 1].source if at + 1 < len(notebook.cells) else "")
            shown = "\n\n".join([f"## {heading}", *_pictures(cell), caption])
        cells.append(new_markdown_cell(shown, metadata={"slideshow": {"slide_type": "slide"}}))
    if not 1 <= len(cells) <= MOST:
        raise ValueError(f"{len(cells)} cells are tagged {TAG!r}: 1 to {MOST} slides are what a class can follow.")
    return new_notebook(cells=cells)


def _pictures(cell: NotebookNode) -> list[str]:
    """A code cell's pictures in HTML: of an output's own text the template for slides would make nothing."""
    outputs = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    return [
        f'<img alt="{html.escape(output.metadata.get("image/png", {}).get("alt", ""))}" '
        f'src="data:image/png;base64,{output.data["image/png"].strip()}">'
        for output in outputs
    ]


def _caption(markdown: str) -> str:
    """The first two sentences of a caption, which is what a markdown cell says between its first asterisks."""
    found = re.match(r"\*([^*].*?)\*(?!\*)", markdown, re.DOTALL)
    return " ".join(re.split(r"(?<=[.?!]) +", found[1])[:2]) if found else ""


def write_slides(notebook: NotebookNode, path: Path) -> None:
    """Write a lesson's slides, as a whole or not at all."""
    exporter = SlidesExporter()
    exporter.register_filter("markdown2html", markdown_to_html)
    page, _ = exporter.from_notebook_node(deck(notebook), {"metadata": {"name": path.stem}})
    page = re.sub(r"<script\b.*?</script>|<link\b[^>]*>|<style\b.*?</style>", "", page, flags=re.DOTALL)
    parts = {name: (REVEAL / name).read_text(encoding="utf-8") for name in ("reveal.css", "reveal.js")}
    start = f"Reveal.initialize({{width: {SIZE[0]}, height: {SIZE[1]}, {OPTIONS}}});"
    page = page.replace("</head>", f"<style>{parts['reveal.css']}{STYLE}</style></head>")
    page = page.replace("</body>", f"<script>{parts['reveal.js']}</script><script>{start}</script></body>")
    write_whole(path, page)
