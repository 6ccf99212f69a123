"""No traceback reaches a person: what the system refuses becomes one line, with the path and what to do."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import run
from test_known_before import LONG, commands

from tutorial_utils import __main__ as cli
from tutorial_utils import failures, working
from tutorial_utils.assets import store
from tutorial_utils.assets.copies import Copy
from tutorial_utils.recipes import training

LATTE = ["--config", str(working.LESSONS / "configs/latte_mini.yaml")]
NEEDED = {
    "fetch": ["vit"],
    "uvit": ["--out", "nowhere"],
    "latte": LATTE,
    "bundle": ["--out", "nowhere"],
    "editions": ["--out", "nowhere"],
    "site": ["--out", "nowhere"],
    "reset": ["01"],
    "train": ["vae", "--out", "nowhere"],
    "onnx": ["--out", "nowhere"],
}
COMMANDS = [words for words, _ in commands(cli.app)]


def raised(call: Callable, kind: type[Exception]) -> Exception:
    """The error with which a library refuses."""
    with pytest.raises(kind) as caught:
        call(10**15)
    return caught.value


FAILURES = {
    "a full disk": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/samples.npz"),
    "a closed file": lambda: PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/closed/model.safetensors"),
    "a disk that fails": lambda: OSError(errno.EIO, os.strerror(errno.EIO), "/stick/model.safetensors"),
    "too many files": lambda: OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/some/file"),
    "memory, Python's": lambda: MemoryError(),
    "memory, torch's": lambda: raised(torch.empty, RuntimeError),
    "memory, numpy's": lambda: raised(np.empty, MemoryError),
    "memory, a GPU's": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ..."),
    "memory, the system's": lambda: OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    "memory, of a mapping": lambda: RuntimeError("unable to mmap 99 bytes from file <x>: Cannot allocate memory (12)"),
}


@pytest.fixture
def broken(monkeypatch):
    """What every command calls first fails, as it would at its first or its last second."""

    def breaking(error: BaseException) -> None:
        def fail(*_, **__):
            raise error

        for module, name in (*LONG, (Copy, "problems"), (Copy, "damage")):
            monkeypatch.setattr(module, name, fail)

    return breaking


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_says_it_in_a_line(words, failure, broken, tmp_path, monkeypatch):
    error = FAILURES[failure]()
    broken(error)
    arguments = [str(tmp_path / word) if word == "nowhere" else word for word in NEEDED.get(words[-1], [])]
    arguments += [f"--folder={tmp_path / 'work'}"] if words[-1] in ("lab", "reset") else []
    arguments += ["--scale=full"] if words[-1] in ("preflight", "fetch", "verify", "bundle") else []
    status, _, err = run(*words, *arguments)
    assert status == 1 and "Traceback" not in err
    line = failures.in_a_line(error)
    assert line.split(".")[0] in err.replace("\n", " ")
    assert len(line) < 300 and line.endswith(".")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_recipe_says_it_in_a_line(failure, tmp_path, monkeypatch):
    def recipe(*_):
        raise FAILURES[failure]()

    monkeypatch.setattr("sys.argv", ["recipe", f"--out={tmp_path / 'out'}", f"--work={tmp_path / 'work'}"])
    with pytest.raises(SystemExit) as end:
        training.command(recipe)
    assert "\n" not in end.value.code and len(end.value.code) > 20


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), KeyError("x"), ValueError("steps=0"), OSError("odd")])
def test_a_fault_of_the_program_is_not_taken_for_the_systems(error):
    assert not failures.is_systems(error)


def test_a_line_names_the_path_and_what_to_do():
    assert failures.in_a_line(FAILURES["a full disk"]()).startswith("/full/samples.npz: No space left on device: free")
    assert "20.00 GiB more were asked for" in failures.in_a_line(FAILURES["memory, a GPU's"]())
    assert "smaller batches" in failures.in_a_line(FAILURES["memory, torch's"]())


def test_the_meanings_of_the_exit_status_are_in_the_help():
    status, out, _ = run("--help")
    assert status == 0 and all(word in out for word in ("Exit status", "0 done", "1 not done", "2 no such", "130"))


# --- For real -------------------------------------------------------------------------------------------------------


def command_line(*arguments: str, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tutorial_utils", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=working.ROOT, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_an_output_that_cannot_be_written_is_a_line():
    with Path("/dev/full").open("w") as full:
        result = command_line("assets", "list", stdout=full)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "No space left" in result.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    result = command_line("assets", "list", stdout=writing)
    os.close(writing)
    assert result.returncode == 1 and result.stderr == ""


WITHOUT_RIGHTS = """
import contextlib, io, json, os, sys
from tutorial_utils import __main__ as cli
def run(arguments):
    sys.argv, err = ["tutorial_utils", *arguments], io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        return [cli.main(), err.getvalue()]
asked = json.loads(sys.argv[1])
for arguments in asked: run(arguments)  # so that all is imported: somebody else may not be able to read this Python
os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(json.dumps([run(arguments) for arguments in asked]))
"""
READING = [
    ["preflight", "--scale=full"],
    ["assets", "list"],
    ["assets", "verify", "--scale=full"],
    ["assets", "fetch", "organmnist3d", "--scale=full"],
    ["assets", "verify", "organmnist3d", "--scale=full"],
]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="only an administrator can be somebody else")
@pytest.mark.parametrize("closed", ["cache", "cache/organmnist3d-full", "cache/organmnist3d-full/organmnist3d.npz"])
def test_a_cache_that_may_not_be_read_is_named(closed, tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2]):  # pytest shuts its folders
        folder.chmod(0o755)
    (tmp_path / "cache" / "organmnist3d-full").mkdir(parents=True)
    (tmp_path / "cache" / "organmnist3d-full" / "organmnist3d.npz").write_bytes(b"PK")
    (tmp_path / closed).chmod(0)
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(0o777)
    away = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    env = os.environ | {"TUTORIAL_DATA": str(tmp_path / "cache"), "XDG_CACHE_HOME": str(tmp_path / "own")} | away
    command = [sys.executable, "-c", WITHOUT_RIGHTS, json.dumps(READING)]
    result = subprocess.run(command, cwd=working.ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for arguments, (status, err) in zip(READING, json.loads(result.stdout), strict=True):
        assert "Traceback" not in err, (arguments, err)
        assert status in (0, 1)
        if arguments[-2:] == ["organmnist3d", "--scale=full"]:
            assert status == 1 and str(tmp_path / closed) in err and "Permission denied" in err, (arguments, err)


@pytest.mark.parametrize("variables", [{}, {"HOME": ""}], ids=["none", "empty"])
def test_who_has_no_home_is_told_what_to_set(variables, monkeypatch, tmp_path):
    for name in ("HOME", "XDG_CACHE_HOME", "TUTORIAL_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user whom the system does not know
    status, _, err = run("assets", "list")
    assert status == 1 and err.count("\n") == 1 and "set HOME, or XDG_CACHE_HOME" in err
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run("assets", "list")[0] == 0


def test_a_copy_that_may_not_be_read_is_not_sound(tmp_path, monkeypatch):
    asset = store.COURSE.find("organmnist3d", "full")
    copy = Copy.at(asset, tmp_path)
    copy.folder.mkdir()

    def closed(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(copy.folder))

    monkeypatch.setattr(Path, "is_file", closed)
    assert "Permission denied" in copy.problems()[copy.folder] and "chmod" in copy.damage()[copy.folder]
