"""Set-up on a machine as people have it: what they have configured for other work, their Pythons, their folders.

A small project of the same shape stands in for the course: its packages are two empty wheels, and its own build
backend needs nothing. All else is real: make, venv, pip, and uv where the environment has it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

from tutorial_utils import bootstrap, installer

ROOT = Path(__file__).parents[2]
UV = next(iter(metadata.distributions(name="uv")), None)
needs_make = pytest.mark.skipif(os.name == "nt" or not shutil.which("make"), reason="make is not here")

BACKEND = '''\
"""Builds an editable wheel of the project, as setuptools would, and needs nothing."""
import os
import zipfile

WHEEL = "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
METADATA = "Metadata-Version: 2.1\\nName: tutorial-utils\\nVersion: 0\\nRequires-Dist: toy\\n"
METADATA += "Provides-Extra: lesson2\\nRequires-Dist: toy_two; extra == 'lesson2'\\n"

def build_editable(folder, settings=None, metadata=None):
    name = "tutorial_utils-0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("tutorial_utils.pth", os.getcwd() + "\\n")
        for file, text in {"METADATA": METADATA, "WHEEL": WHEEL, "RECORD": ""}.items():
            wheel.writestr("tutorial_utils-0.dist-info/" + file, text)
    return name
'''
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tutorial-utils"
version = "0"
dependencies = ["toy"]
optional-dependencies = { lesson2 = ["toy_two"] }
"""
REPORT = """\
import json, os, sys, toy, typing
print(json.dumps([toy.__file__, typing.__file__, sorted(name for name in os.environ if name.startswith("PYTHON"))]))
"""


def pack(folder: Path, name: str, version: str, files: dict[str, bytes | Path]) -> None:
    """A wheel; files that are paths keep their rights, so that uv's program can be started."""
    own = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{own}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{own}/WHEEL": b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{own}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for place, content in files.items():
            if isinstance(content, Path):
                wheel.write(content, place)
            else:
                wheel.writestr(place, content)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder of wheels: the whole network of these tests."""
    folder = tmp_path_factory.mktemp("wheels")
    pack(folder, "toy", "1", {"toy/__init__.py": b"__version__ = '1'\n"})
    pack(folder, "toy", "2", {"toy/__init__.py": b"__version__ = '2'\n"})
    pack(folder, "toy_two", "3", {"toy_two/__init__.py": b""})
    return folder


@pytest.fixture(scope="module")
def index_with_uv(index, tmp_path_factory):
    """The same, and uv."""
    if UV is None:
        pytest.skip("this environment has no uv")
    folder = tmp_path_factory.mktemp("wheels with uv")
    for wheel in index.iterdir():
        shutil.copy(wheel, folder)
    program = next(file for file in UV.files if file.stem == "uv" and file.parent.name in ("bin", "Scripts"))
    package = {str(file): Path(file.locate()) for file in UV.files if file.parts[0] == "uv" and file.suffix == ".py"}
    place = f"uv-{UV.version}.data/scripts/{program.name}"
    pack(folder, "uv", UV.version, {**package, place: Path(program.locate())})
    return folder


@pytest.fixture(scope="module")
def wheels(request):
    """Whichever can be had; with uv it is faster."""
    return request.getfixturevalue("index_with_uv" if UV else "index")


class Project:
    """The small project in its folder, and `make` there as a learner calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tutorial_utils").mkdir(parents=True)
        for name in ("__init__", "bootstrap", "installer", "openmp", "surroundings"):
            shutil.copy(ROOT / "tutorial_utils" / f"{name}.py", folder / "tutorial_utils")
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "tutorial_utils" / "__main__.py").write_text(REPORT)
        (folder / "backend.py").write_text(BACKEND)
        (folder / "pyproject.toml").write_text(PYPROJECT)
        uv = f"uv=={UV.version}\n" if UV else ""
        (folder / "constraints.txt").write_text(f"toy==1\ntoy_two==3\n{uv}")

    def make(self, goal: str, wheels: Path | None, /, **environ: str | None) -> subprocess.CompletedProcess:
        """`make`, where all that there is to install is in `wheels`; variables that are None are unset."""
        own = ("PIP_", "UV_", "MAKE", "MFLAGS", "LIGHT", "TORCH")  # not least those of a `make test` that runs this
        around = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        if wheels:
            around |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri()}
        around = {name: value for name, value in (around | environ).items() if value is not None}
        command = ["make", goal, f"PYTHON={sys.executable}"]
        return subprocess.run(command, cwd=self.folder, env=around, capture_output=True, text=True, timeout=120)

    def set_up(self, wheels: Path | None, **environ: str | None) -> str:
        """What a set-up prints that must end well."""
        done = self.make("setup", wheels, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def found(self) -> dict[str, str]:
        """What the environment has of the project's packages, and who has installed it."""
        wanted = ("toy", "toy_two", "tutorial_utils")
        distributions = metadata.distributions(path=[str(self.packages)])
        return {
            one.name.replace("-", "_"): one.read_text("INSTALLER").strip()
            for one in distributions
            if one.name.replace("-", "_") in wanted
        }

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def state(self) -> dict:
        return json.loads((self.venv / "set-up.json").read_text())

    @property
    def packages(self) -> Path:
        return next(self.venv.glob("lib/python*/site-packages"))

    def remove_uv(self) -> None:
        """Leave no uv, so that it would have to be had from the index."""
        for path in self.packages.glob("uv*"):
            shutil.rmtree(path)

    def forget(self) -> None:
        """Leave an environment that has nothing but pip and uv, as if its set-up had been interrupted."""
        (self.venv / "set-up.json").unlink(missing_ok=True)
        for name in ("toy*", "tutorial_utils*"):
            for path in self.packages.glob(name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, wheels):
    """A project in a folder as awkward as folders get: blanks, an apostrophe, accents, too long for a line with #!."""
    folder = tmp_path_factory.mktemp("home") / "Anna's  Übungen" / ("long" * 30)
    project = Project(folder)
    (folder.parent / "larger disk").mkdir()
    project.venv.symlink_to(folder.parent / "larger disk")
    project.set_up(wheels)
    return project


@pytest.fixture
def project(shared):
    shared.forget()
    yield shared
    shared.folder.joinpath("backend.py").write_text(BACKEND)


# --- Their configuration reaches in ---------------------------------------------------------------------------


@pytest.fixture
def astray(tmp_path):
    """Variables that people have set for other work, each of which would lead set-up astray."""
    (tmp_path / "modules").mkdir()
    for name in ("typing", "json", "toy", "sitecustomize", "encodings"):
        (tmp_path / "modules" / f"{name}.py").write_text("raise SystemExit('a module of other work')")
    (tmp_path / "none.txt").write_text("toy==2\n")
    elsewhere = str(tmp_path / "elsewhere")
    flags = ("USER", "NO_DEPS", "DRY_RUN", "REQUIRE_VIRTUALENV", "REQUIRE_HASHES", "IGNORE_INSTALLED", "PRE")
    return {
        **{f"PIP_{name}": "1" for name in flags},
        **{f"PIP_{name}": elsewhere for name in ("TARGET", "PREFIX", "ROOT", "SRC", "LOG", "REPORT")},
        "PIP_CONSTRAINT": str(tmp_path / "none.txt"),
        "PIP_REQUIREMENT": str(tmp_path / "none.txt"),
        "PIP_NO_BINARY": ":all:",
        "PIP_PYTHON": "/nowhere/python",
        "PIP_PLATFORM": "win32",
        "DISTUTILS_USE_SDK": "1",
        "PYTHONHOME": "/nowhere",
        "PYTHONINSPECT": "1",
        "PYTHONOPTIMIZE": "2",
        "PYTHONPATH": str(tmp_path / "modules"),
        "PYTHONPLATLIBDIR": "nowhere",
        "PYTHONSAFEPATH": "1",
        "PYTHONSTARTUP": "/nowhere",
        "PYTHONUSERBASE": str(tmp_path / "elsewhere"),
        "PYTHONWARNINGS": "error",
        "SETUPTOOLS_USE_DISTUTILS": "stdlib",
        "UV_BREAK_SYSTEM_PACKAGES": "1",
        "UV_CONSTRAINT": str(tmp_path / "none.txt"),
        "UV_EXCLUDE_NEWER": "2001-01-01",
        "UV_NO_BINARY": "1",
        "UV_NO_BUILD": "1",
        "UV_OVERRIDE": str(tmp_path / "none.txt"),
        "UV_PYTHON": "/nowhere/python",
        "UV_REQUIRE_HASHES": "1",
        "UV_SYSTEM_PYTHON": "1",
        "UV_TORCH_BACKEND": "cu118",
        "VIRTUAL_ENV": "/nowhere",
    }


@needs_make
@pytest.mark.parametrize("installs", ["uv", "pip"])
def test_what_is_configured_for_other_work_leads_nothing_astray(project, astray, request, installs):
    wheels = request.getfixturevalue("index_with_uv" if installs == "uv" else "index")
    if installs == "pip":
        project.remove_uv()
    project.set_up(wheels, **astray)
    assert project.found() == dict.fromkeys(("toy", "toy_two", "tutorial_utils"), installs)
    ran = project.make("notebooks", wheels, **astray)
    assert ran.returncode == 0, ran.stderr
    toy, typing, kept = json.loads(ran.stdout)
    assert project.packages in Path(toy).parents
    assert project.packages.parent.name == Path(typing).parent.name  # the standard library's
    assert set(kept) <= installer.KEPT_OF_PYTHON
    assert not Path(astray["PIP_TARGET"]).exists()


@needs_make
@pytest.mark.parametrize("place", ["PIP_CONFIG_FILE", "XDG_CONFIG_HOME"])
def test_of_a_configuration_file_only_the_way_to_packages_counts(project, index_with_uv, tmp_path, place):
    (tmp_path / "pip").mkdir()
    file = tmp_path / "pip" / "pip.conf"
    file.write_text(
        "[global]\nno-index = true\nfind-links = /nowhere\n"
        f"[install]\nuser = yes\nno-deps = yes\ntarget = {tmp_path}/elsewhere\n"
        f"find-links =\n    /nowhere\n    {index_with_uv.as_uri()}\n"
    )
    project.set_up(None, **{place: str(file if place == "PIP_CONFIG_FILE" else tmp_path)})
    assert project.found() == dict.fromkeys(("toy", "toy_two", "tutorial_utils"), "uv")
    assert not (tmp_path / "elsewhere").exists()


def test_of_each_such_variable_nothing_reaches_an_installer(astray, tmp_path):
    for asked in (installer.for_pip(astray, {}), installer.for_uv(astray, {}, str(tmp_path))):
        assert {name for name in asked if asked[name] == astray.get(name)} == set()


WAYS = {name: f"https://{name}.example/simple" for name in installer.KEPT_OF_PIP}


@pytest.mark.parametrize("name", sorted(WAYS))
def test_every_way_to_packages_reaches_pip(name, tmp_path):
    environ = {
        installer.pip_variable(name): WAYS[name],
        "PIP_TARGET": "/elsewhere",
        "PATH": os.environ["PATH"],
    }
    found = {name: WAYS[name]}
    asked = installer.for_pip(environ, found)
    assert {key: value for key, value in asked.items() if key.startswith("PIP_")} == {
        installer.pip_variable(name): WAYS[name],
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


@pytest.mark.parametrize(("name", "translated", "separator"), installer.UV_NAMES)
def test_uv_is_told_what_is_configured_for_pip(name, translated, separator, tmp_path):
    asked = installer.for_uv(
        {"PIP_TARGET": "/elsewhere"}, {name: "\nhttps://one\nhttps://two" if separator else "a file"}, str(tmp_path)
    )
    assert asked[translated] == (f"https://one{separator}https://two" if separator else "a file")
    assert "PIP_TARGET" not in asked


def test_what_is_configured_for_uv_itself_comes_first_and_helps_pip_to_it(tmp_path):
    environ = {"UV_DEFAULT_INDEX": "https://uv", "UV_INDEX_MIRROR_PASSWORD": "secret", "HTTPS_PROXY": "https://proxy"}
    asked = installer.for_uv(environ, {"index-url": "https://pip"}, str(tmp_path))
    assert environ.items() <= asked.items()
    assert installer.for_pip(environ, {})["PIP_INDEX_URL"] == "https://uv"
    assert installer.for_pip(environ, {"index-url": "https://pip"})["PIP_INDEX_URL"] == "https://pip"


def test_pips_variables_win_over_its_files_and_the_command_over_the_rest(tmp_path):
    file = tmp_path / "pip.conf"
    file.write_text("[install]\nproxy = p2\ncert = c2\n[global]\nproxy = p1\ntimeout = 7\ncert = c1\ntarget = t\n")
    environ = {**installer.environment(os.environ), "PIP_CONFIG_FILE": str(file), "PIP_CERT": "it's c3"}
    found = installer.connections(sys.executable, environ)
    assert {name: found[name] for name in ("proxy", "cert", "timeout")} == {
        "proxy": "p2",
        "cert": "it's c3",
        "timeout": "7",
    }
    assert "target" not in found


def test_a_configuration_that_pip_cannot_read_is_named(tmp_path):
    (tmp_path / "pip.conf").write_text("index-url = x\n")
    environ = {**installer.environment(os.environ), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    with pytest.raises(installer.SetupError, match=r"pip's configuration cannot be read.*pip\.conf"):
        installer.connections(sys.executable, environ)


# --- What is done is verified ------------------------------------------------------------------------------------


@needs_make
def test_nothing_counts_as_done_before_the_package_can_be_imported(project, wheels):
    project.folder.joinpath("backend.py").write_text(BACKEND.replace("tutorial_utils.pth", "elsewhere/none.txt"))
    done = project.make("setup", wheels)
    assert done.returncode != 0
    assert "What was installed cannot be used. ModuleNotFoundError: No module named 'tutorial_utils'" in done.stderr
    assert project.state["done"] is None


def test_a_package_that_is_missing_or_of_another_version_is_named(shared, monkeypatch):
    monkeypatch.setattr(bootstrap, "ROOT", str(shared.folder))
    python = bootstrap.venv_python(str(shared.venv))
    shared.forget()
    for wrong in ("toy-2.dist-info", "toy_two-3.dist-info"):
        (shared.packages / wrong).mkdir()
        name, version = wrong.removesuffix(".dist-info").split("-")
        (shared.packages / wrong / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (shared.packages / "tutorial_utils.pth").write_text(f"{shared.folder}\n")
    own = shared.packages / "tutorial_utils-0.dist-info"
    own.mkdir()
    (own / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tutorial-utils\nVersion: 0\n"
        "Requires-Dist: toy>=1\nRequires-Dist: toy_two; extra == 'lesson2'\n"
    )
    with pytest.raises(installer.SetupError, match=r"\.venv lacks toy==1\.$"):
        bootstrap.verify(python, ["lesson2"], os.environ)
    monkeypatch.setattr(bootstrap, "ROOT", str(ROOT))
    with pytest.raises(installer.SetupError, match="has the package from"):
        bootstrap.verify(python, ["lesson2"], os.environ)


# --- Their machine -------------------------------------------------------------------------------------------------


@needs_make
def test_light_is_remembered_until_more_is_wanted(project, wheels):
    project.set_up(wheels, LIGHT="1")
    assert set(project.found()) == {"toy", "tutorial_utils"}
    assert project.set_up(wheels) == ""
    project.set_up(wheels, LIGHT="0")
    assert set(project.found()) == {"toy", "toy_two", "tutorial_utils"}
    assert "stays so" in project.set_up(wheels, LIGHT="1")


@needs_make
@pytest.mark.parametrize("home", [None, "/proc/1"])
def test_no_home_is_needed(project, index_with_uv, home):
    project.set_up(index_with_uv, HOME=home, XDG_CACHE_HOME=None, XDG_CONFIG_HOME=None)
    assert project.found()["toy"] == "uv"


@needs_make
def test_two_set_ups_at_once_both_end_well(project, wheels):
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: project.make("setup", wheels), range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert sum("Another set-up is at work here" in one.stdout for one in done) == 1


@needs_make
@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can make somebody else's clone")
def test_what_sudo_sets_up_in_somebodys_clone_is_theirs_and_nothing_else_is(wheels, tmp_path):
    project = Project(tmp_path / "clone")
    (tmp_path / "roots").write_text("")
    (project.folder / "link").symlink_to(tmp_path / "roots")
    for path in (project.folder, *project.folder.rglob("*")):
        os.chown(path, 12_345, 12_346, follow_symlinks=False)
    project.set_up(wheels, PYTHONDONTWRITEBYTECODE=None)
    made = [path.lstat() for path in project.folder.rglob("*")]
    assert project.found() and list(project.folder.rglob("__pycache__"))
    assert {(path.st_uid, path.st_gid) for path in made} == {(12_345, 12_346)}
    assert (tmp_path / "roots").stat().st_uid == 0


@needs_make
def test_in_a_project_that_was_moved_the_commands_are_found(project, wheels, tmp_path):
    project.set_up(wheels)
    moved = Project.__new__(Project)
    moved.folder = tmp_path / "moved"
    shutil.copytree(project.folder, moved.folder, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    shutil.copytree(project.venv, moved.venv, symlinks=True)
    assert "Updating" in moved.set_up(wheels)
    activated = f"cd {moved.folder}; . .venv/bin/activate; command -v python pip; pip --version"
    said = subprocess.run(["sh", "-c", activated], capture_output=True, text=True, check=True).stdout
    assert str(moved.venv) in said and str(project.folder) not in said


@needs_make
def test_a_setting_of_uvs_own_that_leads_it_astray_leaves_the_packages_to_pip(project, index_with_uv, tmp_path):
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").write_text("[pip]\nno-deps = true\n")
    said = project.set_up(index_with_uv, XDG_CONFIG_HOME=str(tmp_path))
    assert ".venv lacks toy==1, toy-two==3. Now pip is tried." in said
    assert project.found() == dict.fromkeys(("toy", "toy_two", "tutorial_utils"), "pip")


@needs_make
def test_what_cannot_be_had_is_one_line(project, tmp_path):
    done = project.make("setup", tmp_path)
    assert done.returncode != 0
    stopped, make = done.stderr.splitlines()
    assert re.match(r"Set-up stopped: pip could not install the packages\. ERROR: (No match|Cannot install)", stopped)
    assert make.startswith("make: ***")
    assert project.state["done"] is None


@pytest.mark.skipif(os.name == "nt", reason="Windows copies the interpreter together with its libraries")
def test_the_interpreter_is_linked_so_that_it_finds_libraries_beside_the_original(shared):
    python = Path(bootstrap.venv_python(str(shared.venv)))
    assert python.is_symlink() and bootstrap.starts(str(python), os.environ)


@pytest.mark.parametrize("script", [None, "exit 127", "exit 1"], ids=["gone", "without its library", "without pip"])
def test_an_interpreter_that_does_not_start_is_no_environment(tmp_path, script):
    if script:
        (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "python").chmod(0o755)
    assert not bootstrap.starts(str(tmp_path / "python"), os.environ)


def test_where_temporary_files_have_little_room_they_go_beside_the_packages(tmp_path, monkeypatch):
    few = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: few)
    with bootstrap.scratch(str(tmp_path), {"TMPDIR": "/small", "A": "b"}, needed=12) as (folder, environ):
        assert Path(folder).is_dir()
        assert environ == {"A": "b", **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder)}
    assert not Path(folder).exists()
    with bootstrap.scratch(str(tmp_path), {"TMPDIR": "/large"}, needed=1) as (_, environ):
        assert environ == {"TMPDIR": "/large"}


def test_only_a_cache_that_is_there_and_on_the_same_disk_is_used(tmp_path):
    def cache(home, **found):
        return installer.for_uv({"XDG_CACHE_HOME": str(home)}, found, str(tmp_path)).get("UV_CACHE_DIR")

    (tmp_path / "cache" / "uv").mkdir(parents=True)
    assert cache(tmp_path / "cache") is None
    assert cache(tmp_path / "cache", **{"no-cache-dir": "1"}) == str(tmp_path / "uv")
    assert cache(tmp_path / "none") == str(tmp_path / "uv")
    if Path("/dev/shm").is_dir():
        with tempfile.TemporaryDirectory(dir="/dev/shm") as another_disk:
            (Path(another_disk) / "uv").mkdir()
            assert cache(another_disk) == str(tmp_path / "uv")
    assert installer.for_uv({"UV_CACHE_DIR": "/own"}, {}, str(tmp_path))["UV_CACHE_DIR"] == "/own"


def test_a_torch_without_cuda_is_uvs_to_find(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(installer, "connections", lambda python, environ: {})
    monkeypatch.setattr(installer, "run", lambda command, *_: commands.append(command))
    installer.Installer("python", "root", {}, str(tmp_path)).uv(["lesson2"], "cpu")
    assert "--torch-backend=cpu" in commands[1] and commands[1][-2:] == ["--editable", ".[lesson2]"]
