"""Executing notebooks: facts are counted, an error stops the notebook by its heading, pages need no network."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tutorial_utils import execution
from tutorial_utils.checks import MARK
from tutorial_utils.execution import (
    WIDGET,
    count_facts,
    execute,
    find_notebooks,
    write_notebook,
)
from tutorial_utils.pages import AS_TYPED, markdown_to_html, write_html

GOOD = [
    new_markdown_cell("# A lesson\n\nWith a [link](https://arxiv.org/abs/2010.11929) and $x^2$."),
    new_code_cell("from pathlib import Path\nfrom tutorial_utils.checks import check\nPath('beside.txt').read_text()"),
    new_markdown_cell("## A control"),
    new_code_cell("import ipywidgets\ndisplay(ipywidgets.IntSlider())\ncheck('first', 1, 1)\nprint('no fact')"),
    new_code_cell(""),
    new_code_cell("check('second', 2, 2)\ncheck('third', 3, 3)\nimport numpy as np\n"
                  "from tutorial_utils.figures.plotting import show_images\nshow_images([np.eye(4)])"),
]  # fmt: skip
BAD = [
    new_markdown_cell("# A lesson"),
    new_code_cell("from tutorial_utils.checks import check\ncheck('first', 1, 1)"),
    new_markdown_cell("## The broken part\n\nText.\n\n### Its detail"),
    new_code_cell("check('second', 1, 2)"),
    new_markdown_cell("## After it"),
    new_code_cell("check('third', 3, 3)", execution_count=3, outputs=[new_output("stream", text="✓ third\n")]),
]
DEAD = [new_markdown_cell("## Too large"), new_code_cell("import os\nos._exit(9)"), new_markdown_cell("## After it")]


def run(folder, name, cells):
    """Execute cells as a notebook of a folder: the notebook, its outcome, and the calls of `progress`."""
    write_notebook(new_notebook(cells=cells), folder / f"{name}.ipynb")
    before, progress = (folder / f"{name}.ipynb").read_bytes(), []
    notebook, outcome = execute(folder / f"{name}.ipynb", lambda done, total: progress.append((done, total)))
    assert (folder / f"{name}.ipynb").read_bytes() == before  # the caller decides what to store
    return notebook, outcome, progress


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    (folder / "beside.txt").write_text("read beside the notebook")
    return run(folder, "01_good", GOOD)


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return run(tmp_path_factory.mktemp("bad"), "02_bad", BAD)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source]


def test_every_cell_runs_in_order_in_the_notebooks_folder(good):
    notebook, outcome, _ = good
    assert [cell.execution_count for cell in code(notebook)] == [1, 2, 3]
    assert "read beside the notebook" in code(notebook)[0].outputs[0]["data"]["text/plain"]
    assert outcome.name == "01_good" and outcome.error == ""


def test_facts_are_counted_and_other_lines_are_not(good):
    notebook, outcome, _ = good
    assert outcome.facts == count_facts(notebook) == 3


def test_time_and_memory_are_measured(good):
    _, outcome, _ = good
    assert outcome.seconds > 0
    assert 0.02 < outcome.peak_memory_gb < 4  # of a kernel that imported numpy and matplotlib


def test_progress_reaches_the_total_of_cells_that_hold_code(good):
    assert good[2] == [(1, 3), (2, 3), (3, 3)]


def test_widgets_and_the_time_of_execution_are_not_stored(good):
    notebook, _, _ = good
    assert "widgets" not in notebook.metadata
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not any(WIDGET in output.get("data", {}) for output in outputs)
    assert any("no fact" in output.get("text", "") for output in outputs)  # of the widget's own cell
    assert not any("execution" in cell.metadata for cell in code(notebook))


def test_an_error_is_reported_under_its_heading_with_both_values(bad):
    _, outcome, _ = bad
    assert outcome.error == "under 'The broken part': CheckError: second: got 1, expected 2."
    assert outcome.facts == 1


def test_the_cells_after_an_error_are_not_run(bad):
    notebook, _, progress = bad
    assert [cell.execution_count for cell in code(notebook)] == [1, 2, None]
    assert code(notebook)[2].outputs == []
    assert progress[-1] == (2, 3)


def test_a_kernel_that_dies_is_reported_under_its_heading(tmp_path):
    _, outcome, _ = run(tmp_path, "03_dead", DEAD)
    assert outcome.error.startswith("under 'Too large': the kernel died")


@pytest.mark.parametrize(
    ("markdown", "heading"),
    [("# One", "One"), ("text\n\n## Two  \nmore\n# Three", "Two"), ("#no heading", None), ("text", None)],
)
def test_the_first_heading_of_a_cell_is_found(markdown, heading):
    assert execution.first_heading(markdown) == heading


def test_facts_in_text_that_is_no_output_do_not_count():
    cells = [new_markdown_cell(f"{MARK} a fact"), new_code_cell(f"# {MARK} a fact")]
    assert count_facts(new_notebook(cells=cells)) == 0


def test_a_notebook_is_written_whole_into_a_new_folder(tmp_path, good):
    write_notebook(good[0], tmp_path / "new" / "01_good.ipynb")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["01_good.ipynb"]
    assert nbformat.read(tmp_path / "new" / "01_good.ipynb", as_version=4) == good[0]


class Resources(HTMLParser):
    """Everything that a page would load by itself, the text of its styles and scripts, and where its links go."""

    def __init__(self, page: str):
        super().__init__()
        self.loaded, self.links, self.inside, self.texts = [], [], "", {"style": "", "script": ""}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        for name, value in attributes:
            if name in ("src", "srcset", "data", "poster", "background") or (name == "href" and tag != "a"):
                self.loaded.append(value or "")
            elif name == "href":
                self.links.append(value)

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside in self.texts:
            self.texts[self.inside] += data


@pytest.fixture(scope="module")
def page(good, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "01_good.html"
    write_html(good[0], path)
    return path.read_text(encoding="utf-8")


def test_a_page_leaves_out_what_only_a_kernel_needs(tmp_path):
    cells = [new_code_cell("shown"), new_code_cell("hidden", metadata={"tags": ["remove-cell"]})]
    write_html(new_notebook(cells=cells), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ">shown<" in page and ">hidden<" not in page


@pytest.mark.parametrize(
    "text",
    [
        r"the signal's share $\sqrt{\bar\alpha_t}$",
        r"| a | $\mathbb{R}^{N \times D}$ |",
        r"$$\begin{split} z' &= \mathrm{MSA}(z) + z \\ z &= z' \end{split}$$",
        r"$\operatorname{softmax}\left(\frac{QK^\top}{\sqrt{d}}\right)V$ and *words*",
    ],
)
def test_a_formula_in_a_page_needs_no_script(text):
    page = markdown_to_html(text)
    assert "<math" in page and "$" not in page and "\\" not in page and AS_TYPED not in page


@pytest.mark.parametrize("latex", ["\\frac{", "\\nosuchcommand x", "\\begin{aligned} a &= b \\end{aligned}", "x_1_2"])
def test_a_formula_that_cannot_be_set_stands_as_it_was_typed(latex):
    page = markdown_to_html(f"before ${latex}$ after")
    assert AS_TYPED in page and latex.replace("&", "&amp;") in page and "after" in page


def test_two_prices_in_code_are_no_formula():
    assert "<math" not in markdown_to_html("`$5` and `$6`")


def test_a_page_loads_nothing_from_elsewhere(page):
    resources = Resources(page)
    assert [value[:60] for value in resources.loaded if value and not value.startswith("data:")] == []
    style = re.sub(r"/\*.*?\*/", "", resources.texts["style"], flags=re.DOTALL)
    assert len(style) > 1_000  # the page brings its own style
    assert re.findall(r"@import[^;]*|url\(\s*['\"]?(?:https?:)?//[^)]*", style) == []
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+/[^\s'\"]*", resources.texts["script"]) == []


def test_a_page_holds_the_text_the_outputs_and_the_pictures(page):
    resources = Resources(page)
    assert any(value.startswith("data:image/png;base64,") for value in resources.loaded)
    for text in ("A lesson", "read beside the notebook", f"{MARK} third"):
        assert text in page
    assert "https://arxiv.org/abs/2010.11929" in resources.links  # which a reader may follow


@pytest.mark.parametrize(
    ("source", "lacking"),
    [
        ("import numpy as np, nowhere.inner\nfrom elsewhere.deep import it", "elsewhere, nowhere"),
        ("try:\n    import nowhere\nexcept ImportError:\n    pass\ndef f():\n    import nowhere", ""),
        ("%matplotlib inline\nimport nowhere", ""),  # IPython's, so the cell itself will say so
        ("from . import nowhere\nimport __main__", ""),
        ("x = '\0'", ""),
    ],
)
def test_what_a_notebook_imports_and_is_not_installed_is_named(tmp_path, source, lacking):
    write_notebook(
        new_notebook(cells=[new_markdown_cell("import nowhere"), new_code_cell(source)]), tmp_path / "it.ipynb"
    )
    found = execution.obstacle(tmp_path / "it.ipynb")
    assert found == (f"it needs what is not installed here: {lacking}. `make LIGHT=0` installs it." if lacking else "")


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    for name in ("02_b.ipynb", "01_a.ipynb", "draft.ipynb", "01_notes.txt"):
        (tmp_path / "notebooks" / name).touch()
    monkeypatch.setattr(execution, "ROOT", tmp_path)


@pytest.mark.parametrize(
    ("names", "found"),
    [(None, ["01_a", "02_b"]), ([], ["01_a", "02_b"]), (["02"], ["02_b"]), (["02", "01_a"], ["01_a", "02_b"])],
)
def test_numbered_notebooks_are_found_in_order_or_by_the_beginning_of_their_names(lessons, names, found):
    assert [path.stem for path in find_notebooks(names)] == found


def test_an_unknown_notebook_is_named_with_the_choices(lessons):
    with pytest.raises(ValueError, match=r"starts with '03'.*\['01_a', '02_b'\]"):
        find_notebooks(["01", "03"])
