"""The command line: a mistake is one clear line and a status that is not zero."""

import subprocess
import sys
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from fetching import change_course
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tutorial_utils import __main__ as cli
from tutorial_utils import execution
from tutorial_utils.assets import store


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run a command line as `python -m tutorial_utils` does: its status, its output and its complaints."""
    change_course(own=tmp_path / "cache")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["python -m tutorial_utils", *arguments])
        try:
            status = cli.main()
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


MISTAKES = {
    "a wrong option": (["assets", "list", "--bogus"], {}, ["--bogus"]),
    "a wrong option of run": (["run", "--inplace"], {}, ["--inplace"]),
    "a wrong command": (["asset"], {}, ["asset"]),
    "an unknown asset to fetch": (["assets", "fetch", "chelsee"], {}, ["'chelsee'", "chelsea", "vit"]),
    "an unknown asset to verify": (["assets", "verify", "chelsee"], {}, ["'chelsee'", "chelsea", "vit"]),
    "an unknown asset after a known one": (["assets", "fetch", "chelsea", "x"], {}, ["'x'"]),
    "an unknown scale option": (
        ["assets", "fetch", "vit", "--scale", "huge"],
        {},
        ["--scale='huge'", "'mini'", "'full'"],
    ),
    "no asset to fetch": (["assets", "fetch"], {}, ["names"]),
    "a wrong scale when running": (["run"], {"TUTORIAL_SCALE": "huge"}, ["TUTORIAL_SCALE='huge'", "'mini'", "'full'"]),
    "a wrong scale when fetching": (
        ["assets", "fetch", "chelsea"],
        {"TUTORIAL_SCALE": "huge"},
        ["TUTORIAL_SCALE='huge'"],
    ),
    "a wrong scale of a card": (["preflight", "01"], {"TUTORIAL_SCALE": "huge"}, ["TUTORIAL_SCALE='huge'"]),
    "an unknown lesson": (["preflight", "99"], {}, ["'99'", "01_vit_inference"]),
    "copies over the committed notebooks": (
        ["run", "--out", str(execution.ROOT / "notebooks")],
        {},
        ["would overwrite", "--in-place"],
    ),
    "an unknown notebook": (["run", "99"], {}, ["No notebook starts with '99'", "01_vit_inference"]),
    "storing outputs of another scale": (
        ["run", "--in-place"],
        {"TUTORIAL_SCALE": "full"},
        ["TUTORIAL_SCALE=full", "mini"],
    ),
    "a cache that is not a folder": (
        ["preflight", "01", "--scale", "full"],
        {"TUTORIAL_DATA": "/nowhere/at/all"},
        ["TUTORIAL_DATA='/nowhere/at/all'"],
    ),
}


@pytest.mark.parametrize(("arguments", "environment", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_a_status_that_is_not_zero(command, monkeypatch, arguments, environment, parts):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    status, out, err = command(*arguments)
    assert status != 0
    assert out == ""
    assert len(err.splitlines()) == 1, err
    for part in parts:
        assert part in err


def test_another_python_than_the_courses_is_told_which_command_to_run():
    bare = [sys.executable, "-S", "-m", "tutorial_utils", "preflight"]  # without any packages
    result = subprocess.run(bare, cwd=execution.ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "`make notebooks`" in result.stderr and ".venv/bin/python -m tutorial_utils" in result.stderr


def test_without_a_command_the_help_names_them_all(command):
    _, out, err = command()
    for name in ("preflight", "run", "assets"):
        assert name in out + err
    assert "Traceback" not in out + err


def test_assets_list_names_every_asset_with_its_licence(command):
    status, out, _ = command("assets", "list")
    assert status == 0
    for asset in store.COURSE.assets:
        lines = [line for line in out.splitlines() if line.startswith(f"{asset.name} ")]
        assert any(asset.kind in line and asset.licence in line for line in lines), asset


@pytest.mark.parametrize(("available", "status", "verdict"), [(1e12, 0, "can run the lesson"), (0, 1, "short by")])
def test_preflight_prints_the_card_and_its_status_says_whether_the_machine_will_do(
    command, monkeypatch, available, status, verdict
):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    ended, out, err = command("preflight", "01")
    assert (ended, err) == (status, "")
    assert "01_vit_inference" in out and verdict in out


# --- Running notebooks ----------------------------------------------------------------------------------


@pytest.fixture
def two_notebooks(tmp_path, monkeypatch):
    """A folder with one notebook that passes and one that fails."""
    for name, source in (("01_good", "check('a fact', 1, 1)"), ("02_bad", "check('a fact', 1, 2)")):
        cells = [new_markdown_cell("# The lesson"), new_code_cell(f"from tutorial_utils.checks import check\n{source}")]
        execution.write_notebook(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(execution, "ROOT", tmp_path)
    return tmp_path / "notebooks"


@pytest.fixture
def one_that_lacks_a_package(two_notebooks):
    cells = [new_code_cell("import no_such_package")]
    execution.write_notebook(new_notebook(cells=cells), two_notebooks / "03_lacks.ipynb")


def test_run_leaves_out_a_notebook_whose_packages_are_not_installed(command, one_that_lacks_a_package, tmp_path):
    status, out, _ = command("run", "--out", str(tmp_path / "out"))
    assert "03_lacks needs what is not installed here: no_such_package. `make LIGHT=0` installs it.\n" in out
    assert status == 1  # as without it
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_run_refuses_a_notebook_that_is_asked_for_and_whose_packages_are_not_installed(
    command, one_that_lacks_a_package, tmp_path
):
    status, _, err = command("run", "03", "01", "--out", str(tmp_path / "out"))
    assert status == 1
    assert err == "03_lacks needs what is not installed here: no_such_package. `make LIGHT=0` installs it.\n"
    assert not (tmp_path / "out").exists()


def test_run_writes_copies_and_a_summary_and_leaves_the_notebooks_alone(command, two_notebooks, tmp_path):
    before = {path: path.read_bytes() for path in two_notebooks.iterdir()}
    status, out, _ = command("run", "--out", str(tmp_path / "out"))
    assert status == 1  # one of them fails
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "01_good.html", "01_good.ipynb", "02_bad.html", "02_bad.ipynb"
    ]  # fmt: skip
    assert before == {path: path.read_bytes() for path in two_notebooks.iterdir()}
    summary = [line for line in out.splitlines() if "01_good" in line or "02_bad" in line]
    assert any("passed" in line and " 1 " in line for line in summary if "01_good" in line)
    assert any("failed" in line and " 0 " in line for line in summary if "02_bad" in line)
    assert "under 'The lesson': CheckError: a fact: got 1, expected 2." in " ".join(out.split())


def test_run_in_place_stores_what_passes_and_leaves_what_fails(command, two_notebooks):
    failing = (two_notebooks / "02_bad.ipynb").read_bytes()
    assert command("run", "--in-place")[0] == 1
    assert (two_notebooks / "02_bad.ipynb").read_bytes() == failing
    stored = nbformat.read(two_notebooks / "01_good.ipynb", as_version=4)
    assert execution.count_facts(stored) == 1
    assert sorted(path.name for path in two_notebooks.iterdir()) == ["01_good.ipynb", "02_bad.ipynb"]


def test_one_notebook_that_passes_is_a_success(command, two_notebooks, tmp_path):
    assert command("run", "01", "--out", str(tmp_path / "out"))[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["01_good.html", "01_good.ipynb"]
