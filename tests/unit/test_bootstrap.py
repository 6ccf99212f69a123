"""Set-up: what stands in the way is one clear line, and a second run has nothing to do."""

import ast
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest

from tutorial_utils import bootstrap
from tutorial_utils.bootstrap import SetupError


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose environment is an empty file and whose pip only notes that it was called."""
    for name in bootstrap.INPUTS:
        (tmp_path / name).write_text(f"# {name}\n")
    calls = []

    def create(folder):
        calls.append("create")
        python = Path(bootstrap.venv_python(folder))
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text("")

    def pip(command, **options):
        calls.append("pip")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
    monkeypatch.setattr(bootstrap, "NEEDED_GB", 0)
    monkeypatch.setattr(bootstrap, "check_disk", lambda folder: None)
    monkeypatch.setattr(bootstrap, "create", create)
    monkeypatch.setattr(subprocess, "run", pip)
    return SimpleNamespace(folder=tmp_path, venv=str(tmp_path / ".venv"), calls=calls)


def pip_fails(monkeypatch, stderr: str, status: int = 1) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=status, stderr=stderr))


# --- What is done, and when -------------------------------------------------------------------------


def test_the_first_run_creates_and_installs_and_the_second_does_nothing(project, capsys):
    bootstrap.bring_up_to_date(project.venv)
    assert project.calls == ["create", "pip"]
    assert "Creating .venv" in capsys.readouterr().out
    bootstrap.bring_up_to_date(project.venv)
    assert project.calls == ["create", "pip"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", bootstrap.INPUTS)
def test_a_changed_input_installs_again_into_the_same_environment(project, name, capsys):
    bootstrap.bring_up_to_date(project.venv)
    (project.folder / name).write_text("torch==0\n")
    bootstrap.bring_up_to_date(project.venv)
    assert project.calls == ["create", "pip", "pip"]
    assert "Updating .venv" in capsys.readouterr().out
    bootstrap.bring_up_to_date(project.venv)
    assert project.calls == ["create", "pip", "pip"]


def test_a_failed_installation_is_tried_again(project, monkeypatch):
    with monkeypatch.context() as patch:
        pip_fails(patch, "ERROR: no\n")
        with pytest.raises(SetupError):
            bootstrap.bring_up_to_date(project.venv)
    bootstrap.bring_up_to_date(project.venv)
    assert project.calls == ["create", "create", "pip"]  # the first may have been cut off before pip was in it


def test_after_a_failed_update_the_former_inputs_are_not_up_to_date_either(project, monkeypatch):
    bootstrap.bring_up_to_date(project.venv)
    inputs = Path(bootstrap.ROOT) / bootstrap.INPUTS[0]
    former = inputs.read_text()
    inputs.write_text("# changed\n")
    with monkeypatch.context() as patch:
        pip_fails(patch, "ERROR: no\n")
        with pytest.raises(SetupError):
            bootstrap.bring_up_to_date(project.venv)
    inputs.write_text(former)
    bootstrap.bring_up_to_date(project.venv)
    assert project.calls[-1] == "pip"
    assert len(project.calls) == 4


def test_a_moved_project_is_installed_again(tmp_path, project, monkeypatch):
    before = bootstrap.fingerprint()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in bootstrap.INPUTS:
        (moved / name).write_text((tmp_path / name).read_text())
    monkeypatch.setattr(bootstrap, "ROOT", str(moved))
    assert bootstrap.fingerprint() != before


def test_an_environment_that_was_deleted_is_created_again(project):
    bootstrap.bring_up_to_date(project.venv)
    Path(bootstrap.venv_python(project.venv)).unlink()
    Path(bootstrap.venv_python(project.venv)).parent.rmdir()
    bootstrap.bring_up_to_date(project.venv)
    assert project.calls == ["create", "pip"] * 2


def test_pip_installs_this_project_with_its_constraints(project, monkeypatch):
    seen = {}

    def pip(command, cwd, **options):
        seen.update(command=command, cwd=cwd)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", pip)
    bootstrap.install(project.venv)
    assert seen["cwd"] == str(project.folder)
    assert seen["command"][:4] == [bootstrap.venv_python(project.venv), "-m", "pip", "install"]
    assert seen["command"][-4:] == ["--constraint", "constraints.txt", "--editable", "."]


def test_the_fingerprint_changes_with_each_input_and_only_then(project):
    prints = [bootstrap.fingerprint(), bootstrap.fingerprint()]
    for name in bootstrap.INPUTS:
        (project.folder / name).write_text("changed\n")
        prints.append(bootstrap.fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 1 + len(bootstrap.INPUTS)


# --- What stands in the way ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7), (4, 0)])
def test_a_wrong_python_is_named_with_the_versions_that_fit(version):
    with pytest.raises(SetupError) as caught:
        bootstrap.check_python(version)
    assert str(caught.value) == (
        "this is Python {}.{}, and the packages need 3.11 to 3.13. Name another one: make PYTHON=python3.11".format(
            *version
        )
    )


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_a_python_that_fits_passes(version):
    assert bootstrap.check_python(version) is None


def test_a_wrong_python_is_found_before_anything_is_created(project, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0, "final", 0))
    with pytest.raises(SetupError, match=r"Python 3\.10"):
        bootstrap.bring_up_to_date(project.venv)
    assert project.calls == []


def test_a_full_disk_is_named_with_what_is_free_and_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda path: SimpleNamespace(free=3.21e9))
    with pytest.raises(SetupError, match=r"3\.2 GB free and the environment needs 12 GB\."):
        bootstrap.check_disk(str(tmp_path / ".venv"), 12)
    assert bootstrap.check_disk(str(tmp_path / ".venv"), 3) is None


def test_a_python_without_venv_names_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SetupError, match="no venv module.*apt-get install python3-venv"):
        bootstrap.create(str(tmp_path / ".venv"))


@pytest.mark.parametrize("error", [OSError("No space left on device"), subprocess.CalledProcessError(1, "ensurepip")])
def test_an_environment_that_could_not_be_created_is_removed(tmp_path, monkeypatch, error):
    def create(folder, with_pip):
        Path(folder).mkdir()
        raise error

    monkeypatch.setattr(venv, "create", create)
    with pytest.raises(SetupError) as caught:
        bootstrap.create(str(tmp_path / ".venv"))
    assert str(caught.value) == f".venv could not be created: {error}"
    assert not (tmp_path / ".venv").exists()


FAILURES = {
    "the last of pip's errors": (
        "WARNING: slow\nERROR: first\nERROR: No matching torch\nhint\n",
        1,
        "No matching torch",
    ),
    "a full disk": ("ERROR: Could not install: [Errno 28] No space left on device: 'x'\n", 1, "the disk is full"),
    "a pip that is not there": (
        "Traceback:\n  line 1\n/python: No module named pip\n",
        1,
        "/python: No module named pip",
    ),
    "a silent end": ("", -9, "it ended with status -9."),
}


@pytest.mark.parametrize(("stderr", "status", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_failure_of_pip_becomes_one_line(project, monkeypatch, stderr, status, reason):
    pip_fails(monkeypatch, stderr, status)
    with pytest.raises(SetupError) as caught:
        bootstrap.install(project.venv)
    assert str(caught.value).startswith("pip could not install the packages. ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_make_gets_one_line_and_a_status_that_is_not_zero(project, monkeypatch):
    pip_fails(monkeypatch, "ERROR: No matching torch\n")
    with pytest.raises(SystemExit) as caught:
        bootstrap.main()
    assert caught.value.code == "Set-up stopped: pip could not install the packages. ERROR: No matching torch"


# --- It runs before anything is installed, on whatever Python there is ------------------------------------


@pytest.mark.parametrize("name", ["bootstrap.py", "__init__.py"])
def test_an_old_python_gets_as_far_as_the_line_that_says_so(name):
    source = Path(bootstrap.__file__).with_name(name).read_text()
    tree = ast.parse(source, feature_version=(3, 4))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match)
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, newer)] == []
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
