"""What axe-core finds in the pages and slides that the course writes: no barrier, with a light or a dark style.

axe-core (https://github.com/dequelabs/axe-core) judges what a page has come to in a browser, contrast included. What is
folded is opened. Of code, of which there is much, each kind of word is judged at least once on each page.
"""

import nbformat
import pytest

from tutorial_utils import editions, pages, slides
from tutorial_utils.execution import find_notebooks, read_notebook

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: run `make browser`")

pytestmark = pytest.mark.browser
LESSONS = find_notebooks()

UNFOLD = """() => {
    document.querySelectorAll("details").forEach(folded => folded.open = true);
    const seen = new Set();
    for (const code of document.querySelectorAll(".highlight pre")) {
        const place = code.closest(".output_html") ? "output" : "input";
        const kinds = [...code.querySelectorAll("span")].map(word => `${place} ${word.className}`);
        if (kinds.every(kind => seen.has(kind))) code.textContent = code.textContent;
        kinds.forEach(kind => seen.add(kind));
    }
}"""

SPREAD = """() => {
    const style = document.createElement("style");
    style.textContent = `html, body, .reveal { height: auto !important; overflow: visible !important; }
        .reveal .slides, .reveal .slides section { display: block !important; position: static !important;
            visibility: visible !important; opacity: 1 !important; transform: none !important; }`;
    document.head.append(style);
    for (const slide of document.querySelectorAll(".slides section")) {
        slide.hidden = false;
        slide.removeAttribute("aria-hidden");
    }
}"""
"""All slides below each other: axe judges what can be seen."""


CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
"""Options of axe for a second style: nothing but colours is another there."""


def barriers(browser, path, prepare: str) -> list[str]:
    """What is wrong with a page in the light and in the dark: the rule, the element, and why."""
    page = browser.new_page(color_scheme="light", reduced_motion="reduce", viewport={"width": 1280, "height": 720})
    page.set_default_timeout(120_000)
    try:
        page.goto(path.as_uri())
        page.evaluate(prepare)
        found = axe.Axe().run(page).response["violations"]
        page.emulate_media(color_scheme="dark")
        found += axe.Axe().run(page, options=CONTRAST).response["violations"]
    finally:
        page.close()
    return [f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lessons_page_has_no_barrier(lesson, browser, tmp_path):
    pages.write_html(read_notebook(lesson), tmp_path / "page.html")
    assert barriers(browser, tmp_path / "page.html", UNFOLD) == []


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_the_page_of_a_learners_copy_has_no_barrier(lesson, browser, tmp_path):
    copy = nbformat.reads(editions.student(lesson.read_text(encoding="utf-8")), as_version=4)
    first = next(at for at, cell in enumerate(copy.cells) if cell.id == "exercises-tool")
    del copy.cells[1 : first - 1]  # as in the lesson's own page; what is left begins with a heading
    pages.write_html(copy, tmp_path / "page.html")
    assert barriers(browser, tmp_path / "page.html", UNFOLD) == []


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lessons_slides_have_no_barrier(lesson, browser, tmp_path):
    slides.write_slides(read_notebook(lesson), tmp_path / "slides.html")
    assert barriers(browser, tmp_path / "slides.html", SPREAD) == []


PALE = """<html lang="en"><title>Pale</title>
<style>@media (prefers-color-scheme: dark) { html { background: #111; color: #eee; } .dark { color: #333; } }</style>
<main><h1>One</h1><p style="color: #999; background: #fff">hardly read</p>
<p class="dark">lost in the dark</p></main></html>
"""


def test_words_that_are_too_pale_are_found_in_either_style(browser, tmp_path):
    (tmp_path / "page.html").write_text(PALE)
    found = barriers(browser, tmp_path / "page.html", UNFOLD)
    assert [("hardly read" in one, "lost" in one) for one in found] == [(True, False), (True, False), (False, True)]
    assert all(one.startswith("color-contrast: ") for one in found)
