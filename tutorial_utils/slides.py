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
from tutorial_utils.translations import ENGLISH, Language

TAG = "slide"
MOST = 30
"""Slides of a lesson."""

QUESTION = "**Predict, then see.**"
"""How a question begins that is asked before the cell that shows the answer."""

POINTS = 4
"""Points of a recap on one slide."""

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


def deck(notebook: NotebookNode, language: Language = ENGLISH) -> NotebookNode:
    """The slides of a lesson as a notebook of their own: its question, what is tagged, and its recap.

    A picture's slide has the nearest heading above it and the beginning of the caption below it.

    Raises:
        ValueError: there are more than `MOST`, or nothing is tagged.
    """
    question, recap = language.say(QUESTION), language.say("Recap")
    texts = [*(cell.source if cell.cell_type == "markdown" else "" for cell in notebook.cells), ""]
    tagged = [at for at, cell in enumerate(notebook.cells) if TAG in cell.metadata.get("tags", [])]
    slides = [
        _question(texts[0]),
        *(_slide(notebook.cells, texts, at, question) for at in tagged),
        *_recap(texts, recap),
    ]
    slides = [text for text in slides if text]
    if not tagged or len(slides) > MOST:
        raise ValueError(
            f"{len(tagged)} cells are tagged {TAG!r}, for {len(slides)} slides in all: "
            f"1 to {MOST} are what a class can follow."
        )
    metadata = {"slideshow": {"slide_type": "slide"}}
    return new_notebook(cells=[new_markdown_cell(text, metadata=metadata) for text in slides])


def _question(opening: str) -> str:
    """The lesson's title and its question, the first words in bold."""
    heading, question = (re.search(pattern, opening, re.MULTILINE) for pattern in (r"^# .+$", r"^\*\*.+?\*\*$"))
    return "\n\n".join(found[0] for found in (heading, question) if found)


def _slide(cells: list[NotebookNode], texts: list[str], at: int, mark: str) -> str:
    if texts[at]:  # of a question that follows an explanation, the question and what stands right before it
        before, found, question = texts[at].rpartition(mark)
        return "\n\n".join([*before.strip().split("\n\n")[-1:], found + question])
    heading = next(found[-1] for text in texts[at::-1] if (found := re.findall(r"^#+ +(.+)$", text, re.MULTILINE)))
    return "\n\n".join([f"## {heading}", *_pictures(cells[at]), _caption(texts[at + 1])])


def _recap(texts: list[str], heading: str) -> list[str]:
    """The points of the recap, on as many slides as they need."""
    recap = next((text for text in texts if re.search(rf"^## .*{heading}$", text, re.MULTILINE)), "")
    points = re.findall(r"^- .+(?:\n(?![-\n]).+)*", recap.partition(heading)[2].partition("\n## ")[0], re.MULTILINE)
    return [f"## {heading}\n\n" + "\n".join(points[first : first + POINTS]) for first in range(0, len(points), POINTS)]


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
    return " ".join(re.split(r"(?<=[.?!]) +|(?<=[。？！])", found[1])[:2]) if found else ""


def write_slides(notebook: NotebookNode, path: Path, language: Language = ENGLISH) -> None:
    """Write a lesson's slides, as a whole or not at all."""
    exporter = SlidesExporter(language_code=language.code)
    exporter.register_filter("markdown2html", markdown_to_html)
    page, _ = exporter.from_notebook_node(deck(notebook, language), {"metadata": {"name": path.stem}})
    page = re.sub(r"<script\b.*?</script>|<link\b[^>]*>|<style\b.*?</style>", "", page, flags=re.DOTALL)
    parts = {name: (REVEAL / name).read_text(encoding="utf-8") for name in ("reveal.css", "reveal.js")}
    start = f"Reveal.initialize({{width: {SIZE[0]}, height: {SIZE[1]}, {OPTIONS}}});"
    page = page.replace("</head>", f"<style>{parts['reveal.css']}{STYLE}</style></head>")
    page = page.replace("</body>", f"<script>{parts['reveal.js']}</script><script>{start}</script></body>")
    write_whole(path, page)
