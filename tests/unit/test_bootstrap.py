"""Set-up: what stands in the way is one clear line, and a second run has nothing to do."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tutorial_utils import bootstrap, installer
from tutorial_utils.installer import SetupError


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose environment is an empty file, and whose installer only notes what it was asked for."""
    for name in bootstrap.INPUTS:
        (tmp_path / name).write_text(f"# {name}\n")
    calls = []

    def create(folder, environ):
        calls.append("create")
        python = Path(bootstrap.venv_python(folder))
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text("")

    def install(folder, wanted, environ):
        calls.append("light" if not wanted["extras"] else " ".join([*wanted["extras"], wanted["torch"]]).strip())

    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
    monkeypatch.setattr(bootstrap, "check_disk", lambda folder, needed: None)
    monkeypatch.setattr(bootstrap, "create", create)
    monkeypatch.setattr(bootstrap, "install", install)
    monkeypatch.setattr(bootstrap, "starts", lambda python, environ: Path(python).exists())
    return SimpleNamespace(folder=tmp_path, venv=str(tmp_path / ".venv"), calls=calls)


def set_up(project, *extras, **environ):
    bootstrap.bring_up_to_date(project.venv, extras, environ)


def fails(monkeypatch, reason="no"):
    def install(folder, wanted, environ):
        raise SetupError(reason)

    monkeypatch.setattr(bootstrap, "install", install)


# --- What is done, and when -------------------------------------------------------------------------


def test_the_first_run_creates_and_installs_and_the_second_does_nothing(project, capsys):
    set_up(project)
    assert project.calls == ["create", "lesson2"]
    assert "Creating .venv" in capsys.readouterr().out
    set_up(project)
    assert project.calls == ["create", "lesson2"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", bootstrap.INPUTS)
def test_a_changed_input_installs_again_into_the_same_environment(project, name, capsys):
    set_up(project)
    (project.folder / name).write_text("torch==0\n")
    set_up(project)
    assert project.calls == ["create", "lesson2", "lesson2"]
    assert "Updating .venv" in capsys.readouterr().out
    set_up(project)
    assert project.calls == ["create", "lesson2", "lesson2"]


def test_a_failed_installation_goes_on_where_it_was(project, monkeypatch):
    with monkeypatch.context() as patch:
        fails(patch)
        with pytest.raises(SetupError):
            set_up(project)
    set_up(project)
    assert project.calls == ["create", "lesson2"]


def test_after_a_failed_update_the_former_inputs_are_not_up_to_date_either(project, monkeypatch):
    set_up(project)
    inputs = project.folder / bootstrap.INPUTS[0]
    former = inputs.read_text()
    inputs.write_text("# changed\n")
    with monkeypatch.context() as patch:
        fails(patch)
        with pytest.raises(SetupError):
            set_up(project)
    inputs.write_text(former)
    set_up(project)
    assert project.calls == ["create", "lesson2", "lesson2"]


def test_a_moved_project_is_installed_again(tmp_path, project, monkeypatch):
    before = bootstrap.fingerprint()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in bootstrap.INPUTS:
        (moved / name).write_text((tmp_path / name).read_text())
    monkeypatch.setattr(bootstrap, "ROOT", str(moved))
    assert bootstrap.fingerprint() != before


def test_an_environment_whose_python_is_gone_is_created_again(project):
    set_up(project)
    Path(bootstrap.venv_python(project.venv)).unlink()
    set_up(project)
    assert project.calls == ["create", "lesson2"] * 2


def test_an_update_leaves_the_environment_the_python_that_it_has(project, monkeypatch):
    set_up(project)
    (project.folder / bootstrap.INPUTS[0]).write_text("# changed\n")
    monkeypatch.setattr(sys, "version_info", (3, 9, 0, "final", 0))  # make's python3, where PYTHON=… was used before
    set_up(project)
    assert project.calls == ["create", "lesson2", "lesson2"]


def test_the_fingerprint_changes_with_each_input_and_only_then(project):
    prints = [bootstrap.fingerprint(), bootstrap.fingerprint()]
    for name in bootstrap.INPUTS:
        (project.folder / name).write_text("changed\n")
        prints.append(bootstrap.fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 1 + len(bootstrap.INPUTS)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", "\xff"])
def test_a_damaged_note_of_what_there_is_means_an_installation(project, content):
    set_up(project)
    Path(project.venv, "set-up.json").write_text(content, encoding="latin-1")
    set_up(project)
    assert project.calls == ["create", "lesson2", "lesson2"]


# --- A light one, extras, and another torch -----------------------------------------------------------


def test_a_light_environment_stays_light_until_it_is_asked_to_be_whole(project):
    set_up(project, LIGHT="1")
    set_up(project)
    assert project.calls == ["create", "light"]
    set_up(project, LIGHT="0")
    set_up(project)
    assert project.calls == ["create", "light", "lesson2"]


def test_a_whole_environment_stays_whole_and_it_is_said(project, capsys):
    set_up(project)
    set_up(project, LIGHT="1")
    assert project.calls == ["create", "lesson2"]
    assert "whole and stays so" in capsys.readouterr().out


def test_who_has_interrupted_a_whole_set_up_can_have_a_light_one(project, monkeypatch):
    with monkeypatch.context() as patch:
        fails(patch)
        with pytest.raises(SetupError):
            set_up(project)
    set_up(project, LIGHT="1")
    assert project.calls == ["create", "light"]


def test_extras_are_remembered(project):
    set_up(project, LIGHT="1")
    set_up(project, "browser", "lesson2")
    set_up(project)
    (project.folder / bootstrap.INPUTS[0]).write_text("# changed\n")
    set_up(project)
    assert project.calls == ["create", "light", "browser lesson2", "browser lesson2"]


def test_another_torch_is_for_a_new_environment(project, capsys):
    set_up(project, TORCH="cpu")
    set_up(project)
    assert project.calls == ["create", "lesson2 cpu"]
    assert capsys.readouterr().out.count("\n") == 1
    set_up(project, TORCH="")
    assert project.calls == ["create", "lesson2 cpu"]
    assert "keeps the torch that it has" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("LIGHT", "yes"), ("LIGHT", "2"), ("TORCH", "cuda"), ("TORCH", "CPU")])
def test_a_choice_that_there_is_not_is_named_before_anything_is_done(project, name, value):
    with pytest.raises(SetupError, match=f"{name}={value}: .* is allowed, or nothing"):
        set_up(project, **{name: value})
    assert project.calls == []


def test_what_is_left_out_needs_no_disk():
    state = {"extras": ["lesson2"], "torch": ""}
    whole = bootstrap.needed_gb(state)
    assert (
        whole > bootstrap.needed_gb({**state, "extras": []}) > bootstrap.needed_gb({"extras": [], "torch": "cpu"}) > 0
    )


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
        set_up(project)
    assert project.calls == []


def test_a_full_disk_is_named_with_what_is_free_and_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda path: SimpleNamespace(free=3.21e9))
    with pytest.raises(SetupError, match=r"3\.2 GB free and the environment needs 12 GB\."):
        bootstrap.check_disk(str(tmp_path / ".venv"), 12)
    assert bootstrap.check_disk(str(tmp_path / ".venv"), 3) is None


def test_a_python_without_venv_names_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SetupError, match="no venv module.*apt-get install python3-venv"):
        bootstrap.create(str(tmp_path / ".venv"), dict(os.environ))


def test_an_environment_that_could_not_be_created_is_removed(tmp_path, monkeypatch):
    def run(command, environ, failure):
        Path(command[-1]).mkdir()
        raise SetupError(f"{failure}. No")

    monkeypatch.setattr(installer, "run", run)
    with pytest.raises(SetupError, match=r"^\.venv could not be created\. No$"):
        bootstrap.create(str(tmp_path / ".venv"), dict(os.environ))
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (SetupError("no torch"), "Set-up stopped: no torch", ""),
        (PermissionError(13, "Permission denied", "/x"), "Set-up stopped: [Errno 13] Permission denied: '/x'", ""),
        (KeyboardInterrupt(), 130, "Set-up was interrupted: the same command goes on from here.\n"),
    ],
)
def test_make_gets_one_line_and_a_status_that_is_not_zero(project, monkeypatch, capsys, error, status, line):
    def install(folder, wanted, environ):
        raise error

    monkeypatch.setattr(bootstrap, "install", install)
    monkeypatch.setattr(sys, "argv", ["bootstrap"])
    with pytest.raises(SystemExit) as caught:
        bootstrap.main()
    assert caught.value.code == status
    assert capsys.readouterr().err == line
    assert json.loads(Path(project.venv, "set-up.json").read_text())["done"] is None


# --- What an installer says -----------------------------------------------------------------------------

UV_HAS_NO_NETWORK = """\
error: Request failed after 3 retries in 7.6s
  cause: Failed to fetch: https://index/simple/six/
  cause: client error (Connect)
  cause: failed to lookup address information: Name or service not known
"""
UV_FINDS_NOTHING = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of six==99 and you require six==99,
         we can conclude that your requirements are unsatisfiable.

hint: use another six
"""
PIP_HAS_NO_NETWORK = """\
WARNING: Retrying (total=0) after connection broken by 'Timeout("pool")': /simple/six/
ERROR: Could not find a version that satisfies the requirement six (from versions: none)
ERROR: No matching distribution found for six
"""
PIP_RAISED = """\
ERROR: Exception:
Traceback (most recent call last):
  File "pip.py", line 8, in main
    run()
    ~~~^^
OSError: not
today
"""
UV_BUILT_NOTHING = """\
error: Failed to build `tutorial-utils`
  cause: The build backend returned an error
  cause: Call to `build_editable` failed

         [stderr]
         Traceback (most recent call last):
           File "<string>", line 8, in <module>
             import setuptools
         ModuleNotFoundError: No module named 'distutils'

hint: it was removed
"""
LONG = "x" * 2000
FAILURES = {
    "the last of pip's errors": ("WARNING: slow\nERROR: first\nERROR: No torch\nhint\n", "ERROR: No torch"),
    "pip without a network": (
        PIP_HAS_NO_NETWORK,
        "The connection was broken by 'Timeout(\"pool\")': /simple/six/, and then: "
        "ERROR: No matching distribution found for six",
    ),
    "uv without a network": (
        UV_HAS_NO_NETWORK,
        "error: Request failed after 3 retries in 7.6s: Failed to fetch: https://index/simple/six/: "
        "failed to lookup address information: Name or service not known",
    ),
    "uv without an answer": (
        UV_FINDS_NOTHING,
        "error: No solution found when resolving dependencies: Because there is no version of six==99 and you "
        "require six==99, we can conclude that your requirements are unsatisfiable.",
    ),
    "pip with an exception": (PIP_RAISED, "ERROR: Exception: OSError: not today"),
    "uv with an exception": (
        UV_BUILT_NOTHING,
        "error: Failed to build `tutorial-utils`: The build backend returned an error: "
        "Call to `build_editable` failed [stderr] "
        "ModuleNotFoundError: No module named 'distutils'",
    ),
    "a full disk": (
        "ERROR: Could not install: [Errno 28] No space left on device: 'x'\n",
        "The disk is full. ERROR: Could not install: [Errno 28] No space left on device: 'x'",
    ),
    "a pip that is not there": ("Traceback:\n  line 1\n/python: No module named pip\n", "/python: No module named pip"),
    "no error that is marked as one": ("a configuration\nfile: 'x', line 1\n", "a configuration file: 'x', line 1"),
    "a long line": (f"ERROR: {LONG}", f"ERROR: {LONG}"),
    "a silent end": ("", "It ended with status -9."),
}


@pytest.mark.parametrize(("said", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_failure_becomes_one_line_with_its_reason_whole(said, reason):
    assert installer.reason(said, -9) == reason


@pytest.mark.parametrize(
    ("script", "reason"), [("echo out; echo ERROR: why >&2; exit 3", "ERROR: why"), ("echo only; exit 3", "only")]
)
def test_what_a_failed_command_said_is_in_the_error(script, reason):
    with pytest.raises(SetupError, match=rf"^it failed\. {reason}$"):
        installer.run(["sh", "-c", script], dict(os.environ), "it failed")


def test_a_command_that_cannot_be_started_is_an_error_too():
    with pytest.raises(SetupError, match=r"^it failed\. .*No such file"):
        installer.run(["/nowhere/python"], dict(os.environ), "it failed")


# --- It runs before anything is installed, on whatever Python there is ------------------------------------


@pytest.mark.parametrize("name", ["bootstrap.py", "installer.py", "__init__.py"])
def test_an_old_python_gets_as_far_as_the_line_that_says_so(name):
    source = Path(bootstrap.__file__).with_name(name).read_text()
    tree = ast.parse(source, feature_version=(3, 4))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match)
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, newer)] == []
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported - {"importlib.metadata"} <= sys.stdlib_module_names  # that, where only a new Python comes
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {"tutorial_utils", "tutorial_utils.installer"}


def test_set_up_imports_nothing_that_is_installed():
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['numpy', 'torch', 'typer'])); import tutorial_utils.bootstrap"
    )
    subprocess.run([sys.executable, "-S", "-c", script], cwd=Path(bootstrap.__file__).parents[1], check=True)
