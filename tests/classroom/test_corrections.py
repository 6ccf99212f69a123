"""A teacher's corrections and a learner's work in the same lessons: both are there afterwards, whoever was first."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import nbformat
import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tutorial_utils import translations, working
from tutorial_utils.translations import ENGLISH, Language

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the classroom is for Linux"),
    pytest.mark.skipif(
        importlib.util.find_spec("nbgitpuller") is None, reason="nbgitpuller is missing: make classroom-test"
    ),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is missing"),
]
SOLVED = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
NAME = "notebooks/01_doubles.ipynb"


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """A course of one lesson, a file that it reads, and what no learner needs."""
    folder = tmp_path / "course" / "notebooks"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "mini.yaml").write_text("frames: 8\n")
    (folder / "conftest.py").write_text("")
    cells = [
        new_markdown_cell("# Doubles", id="title"),
        new_markdown_cell("A double is a number, twise.\n\nWrite it.", id="words"),
        new_code_cell(SOLVED, id="gap"),
        new_code_cell("double(2)", id="try"),
        new_markdown_cell("The end.", id="end"),
    ]
    nbformat.write(new_notebook(cells=cells), folder / "01_doubles.ipynb")
    monkeypatch.setattr(working, "LESSONS", folder)
    return folder


@pytest.fixture(autouse=True)
def klingon(tmp_path, monkeypatch):
    """The course has two languages; of the second there are catalogues as soon as its folder is made."""
    known = {"en": ENGLISH, "tlh": Language("tlh", "tlh", "tlhIngan Hol")}
    monkeypatch.setattr(translations, "LANGUAGES", known)
    monkeypatch.setattr(translations, "CATALOGUES", tmp_path / "translations")
    caches = translations.catalogue, translations._messages, translations._said
    for cached in caches:
        cached.cache_clear()
    yield known["tlh"]
    for cached in caches:
        cached.cache_clear()


def store(language: Language, lesson: str, **cells: tuple[str, str]) -> None:
    """Translate cells of a lesson, by their ids."""
    catalogue = Catalog("zh")  # the rules for plurals do not matter
    for name, (english, words) in cells.items():
        catalogue.add(english, words, context=name)
    path = translations.path_of(language.locale, lesson)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue)


@pytest.fixture
def state(tmp_path, monkeypatch):
    from classroom import corrections

    (tmp_path / "state").mkdir()
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(corrections.settings_in(tmp_path / "state")))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "state"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def publish(state) -> list[str]:
    from classroom import publishing

    return publishing.publish(state)


def bring(home, state, language: str = "en") -> None:
    from classroom import corrections

    corrections.bring(home, corrections.repository_in(state), language)


def edit(path: Path, **sources: str) -> None:
    """Change cells of a notebook, by their ids, and save it as JupyterLab does."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = sources.get(cell.id, cell.source)
    nbformat.write(notebook, path)


def sources(path: Path) -> dict[str, str]:
    return {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}


def test_learners_get_lessons_with_gaps_and_what_these_read_and_nothing_else(lessons, state, home):
    assert publish(state) == [NAME, "notebooks/configs/mini.yaml"]
    bring(home, state)
    shown = [path for path in home.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert sorted(path.relative_to(home).as_posix() for path in shown) == [NAME, "notebooks/configs/mini.yaml"]
    assert "raise NotImplementedError()" in sources(home / NAME)["gap"] and "2 * x" not in sources(home / NAME)["gap"]


def test_a_correction_and_a_learners_work_in_the_same_lesson_are_both_there(lessons, state, home):
    publish(state)
    bring(home, state)
    edit(home / NAME, gap="def double(x):\n    return x + x", end="I have understood it.")
    edit(lessons / "01_doubles.ipynb", words="A double is a number, twice.\n\nWrite it.")
    assert publish(state) == [NAME]
    bring(home, state)
    found = sources(home / NAME)
    assert found["gap"] == "def double(x):\n    return x + x" and found["end"] == "I have understood it."
    assert found["words"] == "A double is a number, twice.\n\nWrite it."


def test_where_both_have_changed_the_same_words_the_learners_stay(lessons, state, home):
    publish(state)
    bring(home, state)
    edit(home / NAME, words="A double is mine.\n\nWrite it.")
    edit(lessons / "01_doubles.ipynb", words="A double is a number, twice.\n\nWrite it.", end="Well done.")
    publish(state)
    bring(home, state)
    assert sources(home / NAME)["words"] == "A double is mine.\n\nWrite it."
    assert sources(home / NAME)["end"] == "Well done."


def test_a_lesson_that_a_learner_has_deleted_comes_back_and_own_files_stay(lessons, state, home):
    publish(state)
    bring(home, state)
    (home / NAME).unlink()
    (home / "notebooks" / "mine.ipynb").write_text("{}")
    bring(home, state)
    assert (home / NAME).exists() and (home / "notebooks" / "mine.ipynb").read_text() == "{}"


def test_a_new_lesson_does_not_take_the_place_of_a_learners_file_of_its_name(lessons, state, home):
    publish(state)
    bring(home, state)
    (home / "notebooks" / "02_triples.ipynb").write_text("mine")
    nbformat.write(new_notebook(), lessons / "02_triples.ipynb")
    publish(state)
    bring(home, state)
    kept = [path for path in (home / "notebooks").glob("02_triples*") if path.read_text() == "mine"]
    assert len(kept) == 1 and nbformat.read(home / "notebooks" / "02_triples.ipynb", as_version=4)


def test_a_home_with_copies_from_before_keeps_them_and_gets_corrections_from_then_on(lessons, state, home):
    working.bring(home / "notebooks")
    edit(home / NAME, gap="def double(x):\n    return x + x")
    edit(lessons / "01_doubles.ipynb", title="# Doubles, newly")
    (home / "notebooks" / "configs" / "mini.yaml").unlink()
    publish(state)
    bring(home, state)
    assert sources(home / NAME)["title"] == "# Doubles", "who cannot tell an old copy from a changed one keeps it"
    assert (home / "notebooks" / "configs" / "mini.yaml").read_text() == "frames: 8\n"
    edit(lessons / "01_doubles.ipynb", end="Well done.")
    publish(state)
    bring(home, state)
    found = sources(home / NAME)
    assert found["end"] == "Well done." and found["gap"] == "def double(x):\n    return x + x"
    assert [path.name for path in home.iterdir() if path.name != "notebooks"] == []


def test_what_has_not_changed_is_not_published_again(lessons, state):
    publish(state)
    assert publish(state) == []
    (lessons / "configs" / "mini.yaml").unlink()
    assert publish(state) == ["notebooks/configs/mini.yaml"]


def test_a_lesson_that_is_no_notebook_is_refused_and_nothing_is_published(lessons, state, home):
    publish(state)
    (lessons / "configs" / "mini.yaml").write_text("frames: 16\n")
    (lessons / "01_doubles.ipynb").write_text("{")
    with pytest.raises(ValueError, match="01_doubles.ipynb could not be read as a notebook"):
        publish(state)
    bring(home, state)
    assert (home / "notebooks" / "configs" / "mini.yaml").read_text() == "frames: 8\n"


def test_a_learner_without_the_newest_lessons_still_gets_a_server_and_the_log_says_why(lessons, state, home, capfd):
    publish(state)
    bring(home, state)
    (home / "notebooks" / ".git" / "index.lock").touch()
    bring(home, state)
    assert "home has not got the newest lessons: Recent .git/index.lock found" in capfd.readouterr().err


def test_nothing_that_root_has_configured_for_git_reaches_the_repository(lessons, state, tmp_path, monkeypatch):
    hooks = tmp_path / "templates" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "reference-transaction").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (hooks / "reference-transaction").chmod(0o755)
    (tmp_path / "home").mkdir()
    settings = f"[init]\n\ttemplateDir = {hooks.parent}\n[core]\n\thooksPath = {hooks}\n\tautocrlf = true\n"
    (tmp_path / "home" / ".gitconfig").write_text(settings)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    publish(state)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "elsewhere").exists()
    assert not (state / "lessons.git" / "hooks").exists()


def test_a_link_opens_a_lesson_in_its_language(lessons, state):
    from classroom import corrections, publishing

    publish(state)
    links = publishing.links(state)
    assert list(links) == [NAME]
    assert links[NAME].startswith("/hub/user-redirect/git-pull?")
    asked = {name: value for name, (value,) in parse_qs(urlparse(links[NAME]).query).items()}
    repository = corrections.repository_in(state).as_uri()
    assert asked == {
        "repo": repository,
        "branch": "en",
        "targetpath": "notebooks",
        "urlpath": f"lab/tree/{NAME}",
    }


def test_each_language_has_a_branch_a_folder_and_links_of_its_own(lessons, state, home, klingon):
    from classroom import publishing

    store(klingon, "01_doubles", end=("The end.", "Qapla'!"))
    other = NAME.replace("notebooks", "notebooks-tlh")
    assert {NAME, other} < set(publish(state))
    for language in ("tlh", "en"):
        bring(home, state, language)
    assert sources(home / other)["end"] == "Qapla'!" and sources(home / NAME)["end"] == "The end."
    edit(home / other, end="my end")
    edit(lessons / "01_doubles.ipynb", title="# Doubles, corrected")
    publish(state)
    bring(home, state, "tlh")
    assert sources(home / other)["end"] == "my end" and sources(home / other)["title"] == "# Doubles, corrected"
    asked = parse_qs(urlparse(publishing.links(state)[other]).query)
    assert (asked["branch"], asked["targetpath"], asked["urlpath"]) == (
        ["tlh"],
        ["notebooks-tlh"],
        [f"lab/tree/{other}"],
    )


def test_a_class_has_the_language_that_was_chosen_and_english_where_it_has_no_translations(klingon, monkeypatch):
    from classroom import settings

    monkeypatch.setenv("TUTORIAL_LANGUAGE", "tlh")
    assert settings.read().language is ENGLISH
    store(klingon, "01_doubles")
    assert settings.read().language is klingon
    monkeypatch.setenv("CLASSROOM_LANGUAGE", "en")
    assert settings.read().language is ENGLISH


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="to be a learner it must be root")
def test_a_learner_can_read_the_repository_and_not_write_to_it(lessons):
    from classroom import corrections

    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        state, home = Path(folder, "state"), Path(folder, "home")
        for each in (Path(folder), state, home):
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
        os.chown(home, 70_009, 70_009)
        publish(state)
        repository, settings = corrections.repository_in(state).as_uri(), corrections.settings_in(state)
        learner = {"user": 70_009, "group": 70_009, "extra_groups": [], "cwd": home, "capture_output": True}
        around = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_SYSTEM": str(settings)}
        clone = subprocess.run(["git", "clone", "-q", "-b", "en", repository, "own"], env=around, **learner)
        assert clone.returncode == 0, clone.stderr
        assert (home / "own" / "01_doubles.ipynb").exists()
        push = subprocess.run(["git", "-C", "own", "push", "-q", "origin", "HEAD:refs/heads/x"], env=around, **learner)
        assert push.returncode != 0 and b"unable to create" in push.stderr
