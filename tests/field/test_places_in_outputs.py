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


ELSEWHERE = {
    "another_clone": ("/home/anna/course/data/images/cat.png", "/home/anna/course/data"),
    "refreshed": ("…/data/images/cat.png", "…/data"),
    "windows": (r"C:\Users\anna\course\data\images\cat.png", r"C:\Users\anna\course\data"),
}
CHANGED = ("/home/anna/course/data/images/cat.png and more", "/home/anna/course/data")


@pytest.mark.skipif(sys.platform == "win32", reason="the paths that are printed are POSIX's")
def test_a_lesson_that_prints_paths_passes_wherever_the_clone_is(tmp_path, monkeypatch):
    folder = tmp_path / "a clone with blanks" / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder.parent))  # a known place, as the root of a clone is
    for name in ("conftest.py", "nbval_sanitize.cfg"):
        shutil.copy(working.LESSONS / name, folder)
    for name, texts in (ELSEWHERE | {"changed": CHANGED}).items():
        nbformat.write(stored(*texts), folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-rA", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    command += ["-c", "/dev/null", f"--rootdir={folder}", str(folder)]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    for name in ELSEWHERE:
        assert f"PASSED {name}.ipynb" in said, said
    assert "FAILED changed.ipynb" in said, said


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
