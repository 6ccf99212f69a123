"""What a teacher prepares others can read, whatever the umask; and what is private stays so."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from commandline import run
from fetching import npz, write_manifest
from hub import Hub

from tutorial_utils import files
from tutorial_utils.assets import store

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
NET = 'huggingface = "lab/net"\nfiles = [{ path = "config.json" }, { path = "sub/weights.json" }]'


@pytest.fixture(params=[0o077, 0o027], ids=["077", "027"])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def course(tmp_path, own_world, monkeypatch):
    """A course whose assets a hub has."""
    with Hub() as hub:
        volumes = npz(np.random.default_rng(0).bytes(5_000))
        hub.plain["/set.npz"] = volumes
        hub.huggingface["lab/net"] = {"config.json": b"{}", "sub/weights.json": b"[1]"}
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        write_manifest(tmp_path, NET, [f"{hub.url}/set.npz"], volumes)
        yield


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def assert_open(folder: Path) -> None:
    """Everybody can enter every folder and read every file that is finished."""
    for path in (folder, *folder.rglob("*")):
        needed = 0o555 if path.is_dir() else 0o444
        assert path.suffix == ".lock" or mode(path) & needed == needed, (path, oct(mode(path)))


def test_a_bundle_can_be_read_by_the_class(course, tmp_path, umask):
    out = tmp_path / "stick" / "course"
    assert run("bundle", "net", "set", "--scale=full", "--out", str(out))[0] == 0
    assert_open(tmp_path / "stick")


def test_a_bundle_of_before_is_opened_when_it_is_verified(course, tmp_path, umask):
    out = tmp_path / "stick"
    assert run("bundle", "set", "--scale=full", "--out", str(out))[0] == 0
    for path in (out / "set-full").iterdir():
        path.chmod(0o600)
    (out / "set-full").chmod(0o700)
    assert run("bundle", "set", "--scale=full", "--out", str(out))[0] == 0
    assert_open(out / "set-full")


def test_what_is_copied_from_a_closed_cache_is_open(course, tmp_path, umask):
    store.fetch("set", "full")
    for path in (tmp_path / "own" / "set-full").iterdir():
        path.chmod(0o600)
    assert run("bundle", "set", "--scale=full", "--out", str(tmp_path / "stick"))[0] == 0
    assert_open(tmp_path / "stick")


def test_a_class_cache_that_a_teacher_fills_by_fetching_is_open(course, tmp_path, umask, monkeypatch):
    (tmp_path / "class").mkdir()
    (tmp_path / "class").chmod(0o755)
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path / "class"))
    store.fetch("net", "full")
    assert_open(tmp_path / "class")


def test_a_closed_folder_that_was_there_stays_closed(course, tmp_path, umask):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o700)
    assert run("bundle", "set", "--scale=full", "--out", str(tmp_path / "mine"))[0] == 0
    assert mode(tmp_path / "mine") == 0o700


@pytest.mark.parametrize("before", [0o600, 0o640, 0o444, 0o755])
def test_a_file_that_is_written_again_keeps_its_rights(tmp_path, before):
    (tmp_path / "file").write_text("former")
    (tmp_path / "file").chmod(before)
    with files.draft(tmp_path / "file") as partial:
        partial.write_text("new")
    assert (tmp_path / "file").read_text() == "new" and mode(tmp_path / "file") == before


@pytest.mark.parametrize("open_to", [0o000, 0o022, 0o077], ids=oct)
def test_passwords_are_for_root_alone(tmp_path, open_to):
    passwords = pytest.importorskip("classroom.passwords", reason="the hub is not installed: make classroom")
    before = os.umask(open_to)
    try:
        passwords.enrol(tmp_path / "passwords", ["anna"])
        assert mode(tmp_path / "passwords") == 0o600
        (tmp_path / "passwords").chmod(0o644)  # as an editor leaves it
        passwords.enrol(tmp_path / "passwords", ["ben"])
        assert mode(tmp_path / "passwords") == 0o600
    finally:
        os.umask(before)
