"""A notebook as a page that needs neither Python nor a network: its pictures are inside, its formulae are MathML."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from functools import partial
from pathlib import Path

from latex2mathml import converter
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from PIL import Image
from pygments.formatters import HtmlFormatter

from tutorial_utils import failures
from tutorial_utils.execution import write_whole
from tutorial_utils.translations import ENGLISH, Language

PAUSE = """
.animation > input:checked ~ .moving, .animation > input:not(:checked) ~ .still { display: none; }
.animation > label { font-weight: normal; margin-left: 0.4em; }
@media (prefers-reduced-motion: reduce) {
  .animation > input:not(:checked) ~ .moving, .animation > input:checked ~ .still { display: none; }
  .animation > input:not(:checked) ~ .still, .animation > input:checked ~ .moving { display: inline; }
}
"""
"""The style of animations that can be stopped; they stand still where motion is not wanted."""

STYLE = f"""
:root {{ color-scheme: light dark; }}
div#notebook {{ max-width: 1100px; margin: 0 auto; }}
.rendered_html table {{ font-size: 1em; }}
summary {{ display: list-item; cursor: pointer; }}
div.output_prompt, div.out_prompt_overlay {{ color: #b03000; }}
.highlight .ow, .highlight .nd, .highlight .o {{ color: #8000c0; }}
.rendered_html a:link, .rendered_html a:visited {{ color: #2a5d8f; }}
.rendered_html a.anchor-link {{ color: #4a5568; }}
{PAUSE}@media (prefers-color-scheme: dark) {{
  html, body, #notebook, #notebook-container, div.output_area pre {{ background: #14181d; color: #e3e8ee; }}
  #notebook-container {{ box-shadow: none; }}
  div.text_cell_render, .text_cell_render table {{ color: #e3e8ee; }}
  .text_cell_render :is(h1, h2, h3, h4, p, li, em, strong, summary, label, tr, th, td) {{ color: inherit; }}
  .text_cell_render a:link, .text_cell_render a:visited {{ color: #8ab8ff; }}
  .text_cell_render a.anchor-link {{ color: #a0aec0; }}
  .text_cell_render code, .text_cell_render pre, div.input_area {{ background: #1e242b; color: #e3e8ee; }}
  .highlight pre {{ color: inherit; }}
  .text_cell_render tbody tr:nth-child(odd) {{ background: #1a2027; }}
  .text_cell_render tbody tr:hover {{ background: #26303a; }}
  div.output_html, div.output_html pre {{ background: #fff; color: #000; border-radius: 4px; }}
  div.animation {{ color: #e3e8ee; }}
  div.input_prompt {{ color: #8ab8ff; }} div.output_prompt, div.out_prompt_overlay {{ color: #ff9e80; }}
  .output_png img {{ background: #fff; border-radius: 4px; }}
  .ansi-red-fg {{ color: #ff8f8f; }}
  {HtmlFormatter(style="github-dark").get_style_defs([".input_area .highlight", ".text_cell_render .highlight"])}
}}
"""
"""What the pages add to nbconvert's style: darkness where it is preferred, and animations that can be stopped."""

PICTURE = re.compile(r'<img\b[^>]*src="data:image/png;base64,([^"]+)"[^>]*>')

AS_TYPED = "as-typed"
"""The class of a formula that stands in a page as it was typed, because it could not be set."""


def write_html(notebook: NotebookNode, path: Path, language: Language = ENGLISH) -> None:
    """Write a notebook's page, as a whole or not at all."""
    left_out = {"enabled": True, "remove_cell_tags": ["remove-cell"]}  # what only a kernel needs
    options = {"embed_images": True, "language_code": language.code, "config": {"TagRemovePreprocessor": left_out}}
    exporter = HTMLExporter(template_name="classic", **options)
    exporter.register_filter("markdown2html", markdown_to_html)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)  # all of them for things we do without
    page = PICTURE.sub(
        partial(_with_a_pause, language.say("stop, or start")),
        page.replace("</head>", f"<style>{STYLE}</style></head>"),
    )
    write_whole(path, page)


def _with_a_pause(words: str, picture: re.Match) -> str:
    """An animation with a box to tick that stops it, and that starts it for who prefers a page without motion."""
    image = Image.open(io.BytesIO(base64.b64decode(picture[1])))
    if getattr(image, "n_frames", 1) == 1:
        return picture[0]
    still = io.BytesIO()
    image.convert("RGB").save(still, "PNG", optimize=True)
    first = picture[0].replace(picture[1], base64.b64encode(still.getvalue()).decode())
    name = f"animation-{hashlib.sha256(picture[1].encode()).hexdigest()[:8]}-{picture.start()}"
    return with_a_pause(name, picture[0], first, words)


def with_a_pause(name: str, moving: str, still: str, words: str) -> str:
    """Two images as one that a box stops: the box's id, the tag of each image, and what is said beside the box."""
    images = (tag.replace("<img", f'<img class="{kind}"') for tag, kind in ((moving, "moving"), (still, "still")))
    box = f'<input type="checkbox" id="{name}"><label for="{name}">{words}</label>'
    return f'<div class="animation">{box}<br>{"".join(images)}</div>'


def markdown_to_html(markdown: str) -> str:
    """A markdown cell's text, with its formulae as MathML: MathJax would come from the network."""
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(markdown)


class _Renderer(IPythonRenderer):
    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def block_math(self, body: str) -> str:
        return formula(body, "block")


def formula(latex: str, display: str) -> str:
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
