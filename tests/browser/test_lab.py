"""The lessons in a real JupyterLab in a real browser: every cell run, the live control moved, saved and opened again.

`make browser` installs what this needs. Nothing waits for a time to pass: the notebook's model says when it is done.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest

from tutorial_utils.checks import CROSS, MARK
from tutorial_utils.execution import ROOT, find_notebooks

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: run `make browser`")
pytestmark = pytest.mark.browser

PATIENCE = 120_000
"""Milliseconds for anything but the cells, on a machine that is busy."""

FIGURE = ".jupyter-widgets img"
OWN_SENTENCE = "a blue bag moving up"
PICTURE = ROOT / "docs" / "garments.png"
SCRIPT = Path(__file__).with_name("lab.js")

playwright.expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on loopback, as `make lab` starts it: its address with its token, and the folder of the copies."""
    folder = tmp_path_factory.mktemp("lab")
    lessons = folder / "work"
    command = [sys.executable, "-m", "tutorial_utils", "lab", f"--folder={lessons}"]
    options = ["--no-browser", "--expose-app-in-browser", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
    own = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / "config")}  # whoever runs this keeps their own settings
    apart = {"start_new_session": True, "cwd": ROOT, "env": own}
    server = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, **apart)
    try:
        address = next(filter(None, (re.search(r"http://127\S+token=\w+", line) for line in server.stderr)))[0]
        threading.Thread(target=server.stderr.read, daemon=True).start()  # a full pipe would stop the server
        yield address, lessons
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the command, and the server that it has started
        server.wait()


@pytest.fixture
def page(browser):
    opened = browser.new_page(viewport={"width": 1400, "height": 1000})
    opened.set_default_timeout(PATIENCE)
    opened.add_init_script(path=SCRIPT)
    yield opened
    opened.close()


def open_lesson(page, lab, name: str) -> None:
    address, _ = lab
    page.goto(re.sub(r"/lab\S*\?", f"/lab/tree/{name}?reset&", address))
    page.evaluate("lesson.ready()")


def run_cells(page, lab, name: str, sources: list[str]) -> None:
    """Open a notebook of these code cells, and run them."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # or JupyterLab asks which
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), lab[1] / name)
    open_lesson(page, lab, name)
    page.evaluate("lesson.runAll()")


def outputs(cells: list[dict]) -> list[dict]:
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


@pytest.mark.parametrize("name", [path.name for path in find_notebooks()])
def test_a_learner_runs_a_lesson_moves_its_control_saves_and_reopens(name, lab, page):
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if about_outputs(message) else None)

    open_lesson(page, lab, name)
    page.evaluate("lesson.runAll()")
    cells = page.evaluate("lesson.cells()")
    code = [cell for cell in cells if cell["cell_type"] == "code" and cell["source"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for output in outputs(cells) if output["output_type"] == "error"]
    assert not [output for output in outputs(cells) if CROSS in str(output.get("text", ""))]

    for index, cell in enumerate(cells):
        if re.search(r"controls\.(slider|dials)\(", cell["source"]):
            assert move(show(page, index))
        elif "controls.upload(" in cell["source"]:
            upload(page, show(page, index))

    page.evaluate("lesson.save()")
    saved = nbformat.read(lab[1] / name, as_version=4)
    assert len(outputs(saved.cells)) == len(outputs(cells))
    open_lesson(page, lab, name)
    again = page.evaluate("lesson.cells()")
    assert [kind(output) for output in outputs(again)] == [kind(output) for output in outputs(saved.cells)]
    assert not complaints


CONTROLS = """from tutorial_utils.figures import controls, plotting

def draw(number, word, text):
    figure, axes = plotting.new_figure("what was chosen", 1, 1, 3, 1)
    axes[0, 0].set_title(f"{number} {word} {text}")
    return figure

options = {"number": [1, 2, 3], "word": ["one", "two", "three"], "text": str}
controls.dials(draw, options, {"number": 3, "word": "three", "text": "a"}, compare=True)"""


def test_every_kind_of_control_works(lab, page):
    run_cells(page, lab, "controls.ipynb", [CONTROLS])
    assert move(show(page, 0)) == 3


UNTRUE = [
    "from tutorial_utils import checks",
    "checks.check('two and two', 2 + 2, 5)\nchecks.check('one and one', 1 + 1, 2)",
    "print('and on')",
    "checks.untrue()",
]


def test_a_fact_that_a_learner_made_untrue_is_a_red_line_and_the_notebook_goes_on(lab, page):
    run_cells(page, lab, "changed.ipynb", UNTRUE)
    _, facts, after, end = ("".join(one["text"] for one in cell["outputs"]) for cell in page.evaluate("lesson.cells()"))
    assert f"{CROSS} two and two: got 4, expected 5; your change made" in facts and f"{MARK} one and one" in facts
    assert after == "and on\n" and f"{CROSS} two and two: got 4, expected 5." in end
    red = page.locator(".ansi-red-fg", has_text="two and two").first
    playwright.expect(red).to_be_visible()
    page.screenshot(path=lab[1] / "changed.png")


def show(page, index: int):
    """Bring a cell onto the screen; without it JupyterLab leaves the cell out of the page."""
    page.evaluate("index => lesson.show(index)", index)
    return page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{index}']")


def move(cell) -> int:
    """Change each of a cell's controls from the keyboard, and wait until the figure is another one: how many."""
    playwright.expect(cell.locator(FIGURE).last).to_be_visible()
    controls = cell.locator(".jupyter-widgets").locator(".noUi-handle, input[type=text]").all()
    for control in controls:
        before = cell.locator(FIGURE).last.get_attribute("src")
        (type_own if control.evaluate("one => one.localName == 'input'") else slide)(control)
        playwright.expect(cell.locator(FIGURE).last).not_to_have_attribute("src", before)
    return len(controls)


def slide(handle) -> None:
    """To the next value, or to the one before if it stands at the last."""
    handle.focus()
    stood = handle.get_attribute("aria-valuetext")
    handle.press("ArrowRight")
    if handle.get_attribute("aria-valuetext") == stood:
        handle.press("ArrowLeft")


def type_own(text) -> None:
    text.fill(OWN_SENTENCE)
    text.press("Enter")


def upload(page, cell) -> None:
    """Give a cell a picture of one's own, and wait until it shows a figure."""
    with page.expect_file_chooser() as chooser:
        cell.locator(".widget-upload").click()
    chooser.value.set_files(PICTURE)
    playwright.expect(cell.locator(FIGURE)).to_be_visible()


def about_outputs(message) -> bool:
    """Whether the browser complains of what a lesson shows, and not of JupyterLab's own requests."""
    return message.type == "error" and "Failed to load resource" not in message.text


def kind(output: dict) -> str:
    return json.dumps([output["output_type"], sorted(output.get("data", {}))])
