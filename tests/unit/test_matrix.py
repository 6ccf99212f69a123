"""The matrix: what it asks uv for, what it keeps, and what its page says. The real one is `make matrix`."""

import json
import re
import subprocess
from types import SimpleNamespace

import matrix
import pytest

from tutorial_utils.execution import find_notebooks

LESSON = find_notebooks(["01"])[0].stem


@pytest.fixture
def uv(monkeypatch):
    """A uv that knows one package; what it was asked for."""
    made = SimpleNamespace(asked=[], resolves_to="torch==9\n")

    def answer(command, **options):
        made.asked.append(command[3:5])
        return made.resolves_to

    monkeypatch.setattr(subprocess, "check_output", answer)
    monkeypatch.setattr(subprocess, "run", answer)
    return made


def test_what_is_whole_is_kept_and_what_was_measured_under_other_versions_is_not(uv, tmp_path):
    known = tmp_path / "lesson.json"
    matrix.environment("newest", tmp_path)
    assert ["pip", "sync"] in uv.asked
    known.write_text("{}")
    uv.asked.clear()
    matrix.environment("newest", tmp_path)
    assert uv.asked == [["pip", "compile"]] and known.exists()
    uv.resolves_to = "torch==10\n"
    matrix.environment("newest", tmp_path)
    assert ["pip", "sync"] in uv.asked and not known.exists()


def test_an_environment_that_was_cut_off_is_made_again(uv, tmp_path, monkeypatch):
    def fail(command, **options):
        raise subprocess.CalledProcessError(1, command)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", fail)
        with pytest.raises(subprocess.CalledProcessError):
            matrix.environment("oldest", tmp_path)
    uv.asked.clear()
    matrix.environment("oldest", tmp_path)
    assert ["pip", "sync"] in uv.asked


def test_a_lesson_that_was_measured_is_not_run_again(tmp_path):
    (tmp_path / f"{LESSON}.json").write_text(json.dumps({"facts": 3}))
    assert matrix.outcome(LESSON, "no such python", tmp_path) == {"facts": 3}


def test_what_was_not_run_is_said_to_be_so(tmp_path):
    assert matrix.outcome(LESSON, "no such python", tmp_path, known=True) == {}
    page = matrix.written({"newest": {LESSON: {}, "versions": {}}}, [LESSON])
    assert re.search(rf"\| {LESSON} \| \d+ \| not run \|", page)


def test_the_page_has_a_row_for_each_lesson_and_package_and_names_what_failed():
    result = {LESSON: {"facts": 5, "failed": ["a fact: got 1, expected 2."], "error": "under 'X': E: e"}}
    page = matrix.written({"newest": result | {"versions": {"torch": "9.9"}}}, [LESSON])
    assert re.search(rf"\| {LESSON} \| (\d+) \| 5 of \1 \|", page)
    assert f"- newest, {LESSON}: a fact: got 1, expected 2." in page
    assert f"- newest, {LESSON} stopped under 'X': E: e" in page
    assert re.search(r"\| torch \| [\d.]+ \| 9\.9 \|", page) and re.search(r"\| keras \| [\d.]+ \|  \|", page)


def test_a_page_on_which_everything_holds_says_so():
    result = {LESSON: {"facts": 5, "failed": [], "error": ""}, "versions": {}}
    assert "Every fact that was looked at holds." in matrix.written({"newest": result, "oldest": result}, [LESSON])
