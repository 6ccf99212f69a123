"""A lesson's first cell on machines that are not ours: it gets the course to run beside what is there, or says why not.

The machines are small: a real environment with a real pip and git, and with packages of a few bytes. The two that
have a real torch are for `make deep`.
"""

import inspect
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from tutorial_utils import bootstrap, launch, links
from tutorial_utils.execution import ROOT, count_facts, find_notebooks

GO_ON = "\nimport tutorial_utils, thing\nfrom tutorial_utils import launch"  # what a lesson's next cells do


def write_wheel(folder, name, version, files, requires=()):
    """A wheel of `files` (text by path), in `folder`; its file name."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    files = files | {
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{wheel}", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


BACKEND = f"""
import pathlib, zipfile

{inspect.getsource(write_wheel)}

def build_editable(folder, config_settings=None, metadata_directory=None):
    return write_wheel(folder, "tutorial_utils", "0.1.0", {{"tutorial_utils.pth": str(pathlib.Path.cwd())}})
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tutorial-utils"
version = "0.1.0"
dependencies = ["thing>=1", "jupyterlab", "torch>=2.6", "torchvision>=0.21"]

[project.optional-dependencies]
lesson2 = ["tensorthing"]
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """What pip can find. There is no jupyterlab."""
    folder = tmp_path_factory.mktemp("index")
    write_wheel(folder, "thing", "1.5", {"thing.py": ""}, ["torch", "shared>=2"])
    write_wheel(folder, "shared", "2.0", {"shared.py": ""})
    write_wheel(folder, "tensorthing", "1.0", {"tensorthing.py": ""})
    write_wheel(folder, "torch", "9.0", {"torch.py": ""})
    write_wheel(folder, "torchvision", "9.0", {"torchvision.py": ""}, ["torch==9.0"])
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A course as small as can be, with our own module in it, committed."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "tutorial_utils").mkdir()
    (folder / "notebooks").mkdir()
    for name in ("__init__", "openmp", "surroundings", "bootstrap", "installer", "launch"):
        shutil.copy(ROOT / "tutorial_utils" / f"{name}.py", folder / "tutorial_utils")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "notebooks" / "beside.txt").write_text("found")
    git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bare") / "host"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@dataclass
class Host:
    """A machine with a Python of its own, and a notebook in `folder`."""

    venv: Path
    folder: Path
    environment: dict[str, str]

    def has(self, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
        """Something that the host brings."""
        site = next(self.venv.rglob("site-packages"))
        wheel = write_wheel(self.folder.parent, name, version, {f"{name}.py": ""}, requires)
        with zipfile.ZipFile(self.folder.parent / wheel) as archive:
            archive.extractall(site)

    def run(self, code: str) -> subprocess.CompletedProcess:
        command = [bootstrap.venv_python(self.venv), "-c", code]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def version(self, name: str) -> str:
        return self.run(f"from importlib.metadata import version; print(version({name!r}))").stdout.strip()


@pytest.fixture
def host(bare, index, repository, tmp_path) -> Host:
    """One with a torch for its GPU, and with an older version of what the course wants newer."""
    (tmp_path / "content").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    environment |= {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_CONFIG_FILE": os.devnull,
        "TUTORIAL_REPOSITORY": repository.as_uri(),
    }
    venv = shutil.copytree(bare, tmp_path / "host", symlinks=True, copy_function=os.link)
    made = Host(venv, tmp_path / "content", environment)
    made.has("torch", "2.6.0+cu124")
    made.has("torchvision", "0.21.0+cu124", ["torch==2.6.0"])
    made.has("shared", "1.0")
    return made


def cell(lesson: str = "01_vit_inference") -> str:
    return links.cell(lesson, "")


# --- Where the course is not ------------------------------------------------------------------------------------------


def test_the_course_is_fetched_and_installed_beside_the_hosts_torch_and_the_kernel_goes_on(host):
    result = host.run(f"import torch\n{cell()}{GO_ON}\nprint(open('beside.txt').read())")
    assert result.returncode == 0, result.stderr
    first, second, last = result.stdout.splitlines()
    assert first == "Installing what the lessons need; this takes a minute or two."
    assert "beside torch 2.6.0+cu124 and torchvision 0.21.0+cu124, which stay as they were" in second
    assert last == "found"  # a file that lessons name relative to themselves
    assert host.version("torch") == "2.6.0+cu124" and host.version("torchvision") == "0.21.0+cu124"
    assert host.version("thing") == "1.5" and host.version("jupyterlab") == host.version("tensorthing") == ""


def test_a_new_kernel_and_other_programs_find_the_course_too_and_the_cell_has_nothing_to_do(host):
    host.run(cell())
    host.environment |= {"TUTORIAL_REPOSITORY": "nowhere", "PIP_FIND_LINKS": "nothing"}
    again = host.run(f"{cell()}{GO_ON}\nprint(tutorial_utils.__file__)")
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == str(host.folder / "video-transformers" / "tutorial_utils" / "__init__.py")


def test_what_came_of_a_first_try_is_used_by_the_second(host, index):
    host.environment["PIP_FIND_LINKS"] = "nothing"
    assert host.run(cell()).returncode == 1
    host.environment |= {"TUTORIAL_REPOSITORY": "nowhere", "PIP_FIND_LINKS": str(index)}
    assert host.run(f"{cell()}{GO_ON}").returncode == 0


def test_a_lesson_that_lies_in_the_course_uses_that_and_fetches_nothing(host, repository):
    course = shutil.copytree(repository, host.folder.parent / "by hand")
    host.folder = course / "notebooks"
    host.environment["TUTORIAL_REPOSITORY"] = ""
    result = host.run(f"{cell()}{GO_ON}\nprint(tutorial_utils.__file__)")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(course / "tutorial_utils" / "__init__.py")
    assert [path.name for path in host.folder.iterdir()] == ["beside.txt"]


def test_a_lesson_that_needs_more_asks_for_it(host):
    assert host.run(cell("02_vivit_organmnist3d")).returncode == 0
    assert host.version("tensorthing") == "1.0"


def test_a_host_without_a_torch_gets_a_pair(host):
    site = next(host.venv.rglob("site-packages"))
    for path in site.glob("torch*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    result = host.run(f"{cell()}{GO_ON}")
    assert result.returncode == 0, result.stderr
    assert host.version("torch") == host.version("torchvision") == "9.0"
    assert "beside" not in result.stdout


def test_a_package_that_changed_under_the_kernel_is_said_to_need_a_restart(host):
    result = host.run(f"import shared\n{cell()}")
    assert "Restart the kernel now, and begin again: it has loaded an older shared." in result.stdout
    assert "Restart" not in host.run(cell()).stdout


def test_variables_that_send_pip_elsewhere_do_not_count(host, tmp_path):
    variables = ("PIP_PREFIX", "PIP_ROOT", "PIP_TARGET")
    host.environment |= dict.fromkeys(variables, str(tmp_path / "elsewhere")) | {"PIP_USER": "1"}
    assert host.run(f"{cell()}{GO_ON}").returncode == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_configuration_that_sends_pip_elsewhere_is_named_before_anything_is_installed(host, tmp_path):
    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[install]\ntarget = {tmp_path / 'elsewhere'}\n")
    host.environment["PIP_CONFIG_FILE"] = str(configuration)
    line = stopped(host.run(cell()))
    assert f"install.target='{tmp_path / 'elsewhere'}'" in line and "pip config unset install.target" in line
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_with_blanks_and_other_letters_is_as_good(host):
    host.folder = host.folder.parent / "my café files"
    host.folder.mkdir()
    result = host.run(f"{cell()}{GO_ON}")
    assert result.returncode == 0, result.stderr


# --- What stands in the way is one line -------------------------------------------------------------------------------


def stopped(result: subprocess.CompletedProcess) -> str:
    """The one line that a person sees."""
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.mark.parametrize("address", ["", "file:///not/here", "http://127.0.0.1:9/a/b"])
def test_an_address_from_which_nothing_comes_is_named_with_gits_own_reason(host, address):
    host.environment["TUTORIAL_REPOSITORY"] = address
    line = stopped(host.run(cell()))
    assert f"TUTORIAL_REPOSITORY={address!r}" in line and "ZIP" in line and "fatal: " in line
    assert list(host.folder.iterdir()) == []


def test_a_machine_without_git_is_told_so(host):
    host.environment["PATH"] = "/nowhere"
    line = stopped(host.run(cell()))
    assert re.search("git.*(not found|not recognized)", line) and "ZIP" in line


def test_something_else_of_that_name_is_left_alone(host):
    mine = host.folder / "video-transformers" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert "'video-transformers' already exists" in stopped(host.run(cell()))
    assert mine.read_text() == "mine"


def test_pips_own_reason_is_kept_whole(host, index, tmp_path):
    poorer = tmp_path / "poorer"
    shutil.copytree(index, poorer, ignore=shutil.ignore_patterns("shared-2*"))
    host.environment["PIP_FIND_LINKS"] = str(poorer)
    line = stopped(host.run(cell()))
    assert line == "pip could not install the packages. ERROR: No matching distribution found for shared>=2"


def test_a_host_without_pip_is_told_so(host):
    shutil.rmtree(next(host.venv.rglob("site-packages")) / "pip")
    assert "No module named pip" in stopped(host.run(cell()))


def test_a_torch_that_is_too_old_is_named_before_anything_is_installed(host):
    host.has("torch", "2.5.1")
    shutil.rmtree(next(host.venv.rglob("torch-2.6.0*")))
    line = stopped(host.run(cell()))
    assert "needs torch 2.6 or later, and here is 2.5.1" in line
    assert host.version("thing") == ""


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_named_with_those_that_will_do(version, monkeypatch):
    monkeypatch.setattr(launch.sys, "version_info", (*version, 1))
    with pytest.raises(SystemExit, match=rf"needs Python 3.11 to 3.13, and this kernel is Python 3.{version[1]}\."):
        launch.install()


# --- Where the course is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_where_the_course_is_the_cell_says_and_does_nothing(path, capfd, monkeypatch):
    def refuse(command):
        raise AssertionError(command)

    monkeypatch.setattr(os, "popen", refuse)
    before = list(sys.path)
    exec(nbformat.read(path, as_version=4).cells[1].source, {})
    assert sys.path == before
    assert capfd.readouterr() == ("", "")


def test_the_lessons_import_nothing_that_is_left_out():
    package = list((ROOT / "tutorial_utils").rglob("*.py"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*package, *find_notebooks()])
    for name in launch.LEFT_OUT:
        assert f"import {name.replace('-', '_')}" not in text and f"from {name.replace('-', '_')}" not in text


# --- Real machines ----------------------------------------------------------------------------------------------------


EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
from nbclient.output_widget import OutputWidget

class SilentOutput(OutputWidget):  # as in tutorial_utils.execution, which is not there yet
    def sync_state(self):
        pass

notebook = nbformat.read("lesson.ipynb", as_version=4)
client = NotebookClient(notebook, timeout=None, kernel_name="python3")
client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": SilentOutput}}
try:
    client.execute()
finally:
    nbformat.write(notebook, "lesson.ipynb")
"""


@pytest.mark.deep
@pytest.mark.parametrize(("torch", "torchvision"), [("2.14.1", "0.29.1"), ("2.6.0", "0.21.0")])
def test_lesson_1_comes_to_its_end_beside_a_torch_that_is_there(torch, torchvision, tmp_path):
    host = Host(tmp_path / "host", tmp_path / "content", {**os.environ, "TUTORIAL_REPOSITORY": ROOT.as_uri()})
    host.folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", host.venv], check=True)
    packages = [f"torch=={torch}", f"torchvision=={torchvision}", "ipykernel", "nbclient"]
    pip = [bootstrap.venv_python(host.venv), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *packages], check=True)
    lesson = Path(shutil.copy(find_notebooks(["01"])[0], host.folder / "lesson.ipynb"))
    stored = nbformat.read(lesson, as_version=4)
    result = host.run(EXECUTE)
    assert result.returncode == 0, result.stderr[-2000:]
    executed = nbformat.read(lesson, as_version=4)
    assert count_facts(executed) == count_facts(stored) >= 8
    assert f"torch {torch}" in executed.cells[1].outputs[-1].text
    assert host.version("torch").startswith(torch) and host.version("torchvision").startswith(torchvision)
