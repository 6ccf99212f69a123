"""Copies of learners' work are whole, are nobody else's to read, and hold nothing that was not the learner's."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the classroom is for Linux")
OWN = (os.getuid(), os.getgid()) if sys.platform == "linux" else (0, 0)


@pytest.fixture
def homes(tmp_path):
    """Two learners' homes, with hidden files, and what a learner may have laid there for whoever looks."""
    homes = tmp_path / "homes"
    for name in ("anna", "ben"):
        (homes / name / "notebooks" / ".git").mkdir(parents=True)
        (homes / name / "notebooks" / ".git" / "HEAD").write_text("ref")
        (homes / name / "notebooks" / "01.ipynb").write_text(f"{name}'s")
        (homes / name / ".bashrc").write_text("")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "passwords").write_text("anna abcd")
    ben = homes / "ben"
    (ben / "file").symlink_to(secret / "passwords")
    (ben / "folder").symlink_to(secret)
    (ben / "own").symlink_to("notebooks")
    os.mkfifo(ben / "pipe")
    with (ben / "huge").open("wb") as huge:
        huge.truncate(2**40)  # of holes
    return homes


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def collect(homes, folder) -> dict[str, list[str]]:
    from classroom import collecting

    return collecting.collect(homes, folder, OWN)


def test_everybodys_work_is_copied_and_nothing_that_links_lead_to(homes, tmp_path):
    left_out = collect(homes, tmp_path / "work")
    copied = {"anna/notebooks/01.ipynb": "anna's", "ben/notebooks/01.ipynb": "ben's"}
    assert contents(tmp_path / "work") == copied
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_symlink()]
    assert left_out["anna"] == []
    assert [slip.partition(":")[0] for slip in left_out["ben"]] == ["folder", "own", "file", "huge", "pipe"]


def test_copies_are_read_by_their_owner_alone_and_written_by_nobody(homes, tmp_path):
    before = os.umask(0)
    try:
        collect(homes, tmp_path / "work")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "work", *(tmp_path / "work").rglob("*")]}
    assert modes == {0o700, 0o400}


@pytest.mark.skipif(OWN[0] != 0, reason="only root can give files away")
def test_copies_belong_to_whoever_asked_and_what_is_not_the_learners_stays_behind(homes, tmp_path):
    from classroom import collecting

    (homes / "anna" / "not hers").write_text("root's")
    for path in (homes / "anna", homes / "anna" / "notebooks" / "01.ipynb"):
        os.chown(path, 70_001, 70_001)
    left_out = collecting.collect(homes, tmp_path / "work", (12_345, 12_345))
    assert contents(tmp_path / "work" / "anna") == {"notebooks/01.ipynb": "anna's"}
    assert left_out["anna"] == ["not hers: not copied; it is no file, or not the learner's"]
    assert {path.stat().st_uid for path in [tmp_path / "work", *(tmp_path / "work").rglob("*")]} == {12_345}


@pytest.mark.parametrize("place", ["full", "file", "link", "homes/anna/work", "nowhere/work"])
def test_a_folder_that_is_no_place_for_copies_is_refused_by_name_and_stays_as_it_is(homes, tmp_path, place):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    before = contents(tmp_path / "full"), sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match=str(tmp_path / place.split("/work")[0])):
        collect(homes, tmp_path / place)
    assert (contents(tmp_path / "full"), sorted(path.name for path in tmp_path.iterdir())) == before


def test_when_the_disk_is_full_nothing_is_left_half_copied(homes, tmp_path, monkeypatch):
    from classroom import collecting

    def full(path, *arguments):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(collecting.Path, "chmod", full)
    with pytest.raises(OSError, match="No space left"):
        collect(homes, tmp_path / "work")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["homes", "secret"]


def test_an_empty_folder_that_is_there_already_is_used(homes, tmp_path):
    (tmp_path / "work").mkdir()
    collect(homes, tmp_path / "work")
    assert (tmp_path / "work" / "anna" / "notebooks" / "01.ipynb").exists()
    shutil.rmtree(tmp_path / "work")
