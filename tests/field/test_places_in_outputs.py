"""Stored outputs name no folder of anybody's machine, and are compared as if the course lay anywhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tutorial_utils import execution, working

SOURCE = (
    "from pathlib import Path\nhere = Path('data').absolute()\nprint('written to', here / 'images' / 'cat.png')\nhere"
)


def stored(text: str, shown: str) -> nbformat.NotebookNode:
    """A lesson that prints paths, as it was executed elsewhere."""
    outputs = [
        nbformat.v4.new_output("stream", name="stdout", text=f"written to {text}\n"),
        nbformat.v4.new_output("execute_result", {"text/plain": f"PosixPath('{shown}')"}, execution_count=1),
    ]
    cell = nbformat.v4.new_code_cell(SOURCE, execution_count=1, outputs=outputs)
    return nbformat.v4.new_notebook(cells=[cell])


def compare(folder: Path, notebook: nbformat.NotebookNode) -> subprocess.CompletedProcess:
    """Execute a notebook in a folder, and compare, with the course's own wiring."""
    folder.mkdir(parents=True)
    for name in ("conftest.py", "nbval_sanitize.cfg"):
        shutil.copy(working.LESSONS / name, folder)
    nbformat.write(notebook, folder / "01_any.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    command += ["-c", "/dev/null", f"--rootdir={folder}", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


ELSEWHERE = {
    "another clone": ("/home/anna/course/data/images/cat.png", "/home/anna/course/data"),
    "as refresh stores it": ("…/data/images/cat.png", "…/data"),
    "Windows": (r"C:\Users\anna\course\data\images\cat.png", r"C:\Users\anna\course\data"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the paths that are printed are POSIX's")
@pytest.mark.parametrize("folder", ["a clone with blanks", "plain"])
def test_a_lesson_that_prints_paths_passes_wherever_the_clone_is(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / folder))  # a known place, as the root of a clone is
    (tmp_path / folder).mkdir()
    for number, (text, shown) in enumerate(ELSEWHERE.values()):
        result = compare(tmp_path / folder / f"{number}", stored(text, shown))
        assert result.returncode == 0, result.stdout


def test_another_path_is_still_a_difference(tmp_path):
    other = stored("/home/anna/course/data/images/cat.png and more", "/home/anna/course/data")
    assert compare(tmp_path / "folder", other).returncode == 1


@pytest.mark.parametrize("root", ["/home/anna maria/my course", "/course"])
def test_what_is_stored_names_no_place_of_this_machine(root, monkeypatch):
    monkeypatch.setattr(execution, "ROOT", Path(root))
    notebook = stored(f"{root}/data/images/cat.png", f"{root}/data")
    notebook.cells[0].outputs.append(
        nbformat.v4.new_output("stream", name="stdout", text=f"the course is in {root}.\n")
    )
    execution.hide_places(notebook)
    outputs = notebook.cells[0].outputs
    assert outputs[0].text == "written to …/data/images/cat.png\n"
    assert outputs[1].data["text/plain"] == "PosixPath('…/data')"
    assert outputs[2].text == "the course is in …/.\n"


def test_the_committed_lessons_name_none():
    for path in execution.find_notebooks():
        text = path.read_text(encoding="utf-8")
        assert not [place for place in execution.known_places() if place != "/tmp" and place in text]
