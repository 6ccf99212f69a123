"""Learners write in copies: never written over, begun anew on request, and told of newer lessons."""

import shutil

import pytest
from commandline import run

from tutorial_utils import working

NAMES = ["01_first.ipynb", "02_second.ipynb", "configs/second.yaml"]


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """A course of two lessons, one of which reads a file."""
    folder = tmp_path / "course"
    for name in [*NAMES, "conftest.py", ".ipynb_checkpoints/01_first-checkpoint.ipynb"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"the course's {name}")
    monkeypatch.setattr(working, "LESSONS", folder)
    return folder


@pytest.fixture
def own(tmp_path, lessons):
    """The learner's folder."""
    assert working.bring(tmp_path / "work") == []
    return tmp_path / "work"


def texts(folder) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != working.RECORD
    }


def test_every_lesson_and_what_it_reads_is_copied_and_nothing_else(own):
    assert texts(own) == {name: f"the course's {name}" for name in NAMES}


def test_what_a_learner_wrote_is_never_written_over_and_what_is_missing_comes_back(own):
    (own / NAMES[0]).write_text("mine")
    (own / NAMES[1]).unlink()
    (own / NAMES[2]).write_text("")  # as a full disk leaves it
    assert working.bring(own) == []
    assert texts(own) == {NAMES[0]: "mine", NAMES[1]: f"the course's {NAMES[1]}", NAMES[2]: f"the course's {NAMES[2]}"}


def test_a_newer_lesson_is_announced_and_not_forced(own, lessons):
    (own / NAMES[0]).write_text("mine")
    (lessons / NAMES[0]).write_text("newer")
    (said,) = working.bring(own)
    assert "newer 01_first.ipynb" in said and "reset 01_first.ipynb" in said
    assert (own / NAMES[0]).read_text() == "mine"
    assert len(working.bring(own)) == 1  # until it has been fetched
    working.reset(own, "01")
    assert working.bring(own) == [] and (own / NAMES[0]).read_text() == "newer"


def test_a_lesson_begun_anew_leaves_the_former_ones_beside_it(own):
    for text in ("first", "second"):
        (own / NAMES[0]).write_text(text)
        working.reset(own, "01")
    assert texts(own)["01_first.old-1.ipynb"] == "first" and texts(own)["01_first.old-2.ipynb"] == "second"
    assert texts(own)[NAMES[0]] == f"the course's {NAMES[0]}"


@pytest.mark.parametrize("record", ["", "[]", "{", '{"01_first.ipynb": 3}'])
def test_a_spoilt_record_costs_no_copy(own, record):
    (own / NAMES[0]).write_text("mine")
    (own / working.RECORD).write_text(record)
    working.bring(own)
    assert (own / NAMES[0]).read_text() == "mine"


def test_the_command_says_where_yours_is_now(own):
    (own / NAMES[0]).write_text("mine")
    status, out, err = run("reset", "01", "--folder", str(own))
    assert (status, err) == (0, "") and "yours is 01_first.old-1.ipynb now" in out.replace("\n", "")


@pytest.mark.parametrize("name", ["03", "first", "x"])
def test_an_unknown_lesson_is_refused_with_the_choices(own, name):
    before = texts(own)
    status, _, err = run("reset", name, "--folder", str(own))
    assert status == 1 and "choose from 01_first.ipynb" in err and texts(own) == before


def test_a_clone_stays_clean_when_a_learner_works(own, lessons):
    before = texts(lessons)
    (own / NAMES[0]).write_text("mine")
    working.bring(own)
    shutil.rmtree(own)
    assert texts(lessons) == before
