"""A lesson and a command work from any folder, and a relative path means what it meant where it was given."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tutorial_utils import execution, surroundings, working
from tutorial_utils.assets import store

ROOT = working.ROOT
LESSONS = execution.find_notebooks()


def sources(path: Path) -> list[str]:
    return [cell.source for cell in execution.read_notebook(path).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_no_lesson_reads_a_file_by_the_folder_that_its_kernel_is_in(lesson):
    beside = {path.relative_to(working.LESSONS).as_posix() for path in working.LESSONS.rglob("*") if path.is_file()}
    for source in sources(lesson):
        tree = ast.parse(source)
        looked_for = {id(part) for call in ast.walk(tree) if _finds(call) for part in ast.walk(call)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        found = [text.value for text in texts if id(text) not in looked_for and _may_name(text.value, beside)]
        assert not found, "lesson_file finds it wherever one is"


def _finds(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lesson_file"


def _may_name(text: str, names: set[str]) -> bool:
    """Whether a text is a file's name, or the beginning of one with a folder in it."""
    return text in names or ("/" in text and any(name.startswith(text) for name in names))


@pytest.mark.parametrize("folder", [ROOT, ROOT / "notebooks", Path("/")], ids=["the root", "its own", "elsewhere"])
def test_a_lesson_finds_its_configuration(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert working.lesson_file("configs/latte_mini.yaml").samefile(ROOT / "notebooks/configs/latte_mini.yaml")


def test_the_learners_own_configuration_comes_first(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "latte_mini.yaml").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert working.lesson_file("configs/latte_mini.yaml").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="configs/none.yaml"):
        working.lesson_file("configs/none.yaml")


@pytest.mark.parametrize("given", ["cache", "./cache", "other/../cache", "~/cache"])
def test_a_relative_cache_is_the_one_where_the_shell_was(given, tmp_path, monkeypatch):
    for name in ("cache", "other", "lesson"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("TUTORIAL_DATA", given)
    monkeypatch.chdir(tmp_path / "lesson")  # as a kernel's folder is
    assert store.COURSE.caches()[0].samefile(tmp_path / "cache")


def test_a_folder_of_that_name_where_one_is_comes_first(tmp_path, monkeypatch):
    for name in ("cache", "lesson/cache"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.chdir(tmp_path / "lesson")
    assert surroundings.from_where_it_was_given("cache").samefile(tmp_path / "lesson" / "cache")


def test_a_notebook_that_runs_elsewhere_sees_the_relative_cache(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "notebooks").mkdir()
    source = "from tutorial_utils.assets import store\nprint(store.COURSE.caches()[0])"
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "01_any.ipynb")
    script = (
        "import sys; from pathlib import Path; from tutorial_utils import __main__, execution\n"
        "execution.ROOT = Path(sys.argv.pop(1)); sys.exit(__main__.main())"
    )
    command = [sys.executable, "-c", script, str(tmp_path), "run", "--out", "pages"]
    env = os.environ | {"TUTORIAL_DATA": "cache", "PWD": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    executed = nbformat.read(tmp_path / "pages" / "01_any.ipynb", as_version=4)
    assert Path(executed.cells[0].outputs[0].text.strip()).samefile(tmp_path / "cache")


def test_a_cache_in_nobodys_home_is_named_where_it_is_looked_for(monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ | {"TUTORIAL_DATA": "~nobody-of-this-name/cache"})
    surroundings.clear()
    with pytest.raises(ValueError, match="'~nobody-of-this-name/cache' has no meaning here"):
        store.COURSE.caches()
