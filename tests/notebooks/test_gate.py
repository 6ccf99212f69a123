"""The regression can fail: spoiled copies of a small notebook are rejected, the sound one is not."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hygiene import problems

from tutorial_utils.execution import ROOT, execute, write_notebook

CELLS = [
    "from tutorial_utils.checks import check\nimport numpy as np",
    "weights = np.linspace(0, 1, 5)\nweights.shape",
    *[f"check('fact {i}', weights.sum(), 2.5, rtol=1e-3)" for i in range(8)],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder wired as `notebooks/` is, with one sound executed notebook."""
    folder = tmp_path_factory.mktemp("gate")
    for name in ("conftest.py", "nbval_sanitize.cfg"):
        shutil.copy(ROOT / "notebooks" / name, folder)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.cells.insert(2, nbformat.v4.new_markdown_cell("## Eight facts"))
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    write_notebook(notebook, folder / "sound.ipynb")
    executed, outcome = execute(folder / "sound.ipynb", lambda done, total: None)
    assert not outcome.error
    write_notebook(executed, folder / "sound.ipynb")
    return folder


def spoil(folder: Path, name: str, change) -> Path:
    """A copy of the sound notebook after ``change(code_cells)``."""
    notebook = nbformat.read(folder / "sound.ipynb", as_version=4)
    change([cell for cell in notebook.cells if cell.cell_type == "code"])
    path = folder / f"{name}.ipynb"
    write_notebook(notebook, path)
    return path


def nbval(path: Path) -> subprocess.CompletedProcess:
    """Run one notebook as `make test` does."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
    ]
    command += [f"--rootdir={path.parent}", str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=path.parent, check=False)


def test_sound_notebook_passes(folder):
    result = nbval(folder / "sound.ipynb")
    assert result.returncode == 0, result.stdout
    assert problems(folder / "sound.ipynb") == []


def test_changed_output_is_rejected(folder):
    def change(cells):
        cells[1].outputs[0]["data"]["text/plain"] = "(6,)"

    result = nbval(spoil(folder, "changed", change))
    assert result.returncode == 1
    assert "(6,)" in result.stdout


def test_metric_out_of_tolerance_is_rejected_and_the_rest_skipped(folder):
    def change(cells):
        cells[2].source = "check('fact 0', weights.sum(), 2.6, rtol=1e-3)"

    result = nbval(spoil(folder, "metric", change))
    assert result.returncode == 1
    for part in ("fact 0", "got 2.5", "expected 2.6", "under 'Eight facts'", "torch ", "7 skipped"):
        assert part in result.stdout


def test_stripped_outputs_are_rejected(folder):
    def change(cells):
        for cell in cells:
            cell.outputs, cell.execution_count = [], None

    path = spoil(folder, "stripped", change)
    assert nbval(path).returncode == 1
    assert "it was not executed top to bottom in one run" in " ".join(problems(path))
