"""Files that people edit are read whatever their editor put around the text; a bad line is named and costs no other."""

import os
import subprocess
import sys

import nbformat
import pytest
from commandline import run

from tutorial_utils import execution, files, working
from tutorial_utils.assets import manifest
from tutorial_utils.sampling.latte_config import load_config

ENDS = {"Unix": "\n", "Windows": "\r\n", "old Mac": "\r", "blanks at the ends": "   \n"}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be with a mark"]


def saved(text: str, encoding: str, end: str) -> bytes:
    """A text as some editor saves it."""
    text = text.replace("\n", end)
    return b"\xfe\xff" + text.encode("utf-16-be") if encoding.endswith("mark") else text.encode(encoding)


def notebook() -> str:
    return nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")]), indent=1)


EDITED = {
    "a configuration": (
        (working.LESSONS / "configs/latte_mini.yaml").read_text(encoding="utf-8"),
        lambda path: load_config(path).prompts,
    ),
    "the list of assets": (
        manifest.MANIFEST.read_text(encoding="utf-8"),
        lambda path: manifest.read(path),
    ),
    "a notebook": (notebook(), lambda path: execution.read_notebook(path).cells[0].source),
}
"""Every kind of file that somebody writes by hand: a sound text, and what reads it."""


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("what", EDITED)
def test_it_means_the_same_whichever_editor_saved_it(what, encoding, end, tmp_path):
    text, read = EDITED[what]
    (tmp_path / "plain").write_text(text, encoding="utf-8")
    (tmp_path / "edited").write_bytes(saved(text, encoding, end))
    assert read(tmp_path / "edited") == read(tmp_path / "plain")


@pytest.mark.parametrize("what", EDITED)
def test_a_line_in_another_encoding_is_named(what, tmp_path):
    text, read = EDITED[what]
    lines = text.split("\n")
    (tmp_path / "edited").write_bytes("\n".join([*lines[:2], lines[2] + " é", *lines[3:]]).encode("latin-1", "replace"))
    with pytest.raises(ValueError, match=r"edited cannot be read.*line 3 is not text in UTF-8.*0xe9|could not be read"):
        read(tmp_path / "edited")


# --- The class list -------------------------------------------------------------------------------------------------


@pytest.fixture
def passwords():
    return pytest.importorskip("classroom.passwords", reason="the hub is not installed: make classroom")


LISTS = {
    "headings and blank lines": "# class of 2026\n\nname password\nanna one\n   \nben two\n",
    "tabs and blanks": "anna\tone  \n  ben   two\t\n",
    "capital letters": "Anna one\nBEN two\n",
    "a name without a password": "anna one\ncarl\nben two\n",
    "a name that cannot be one": "anna one\n../carl three\nben two\n",
    "semicolons": "anna one\ncarl;three\nben two\n",
    "the same name twice": "anna one\nben two\nanna three\n",
    "no end of the last line": "anna one\nben two",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_a_bad_line_of_the_class_list_costs_no_other(text, encoding, end, passwords, tmp_path):
    (tmp_path / "passwords").write_bytes(saved(text, encoding, end))
    assert passwords.read(tmp_path / "passwords") == {"anna": "one", "ben": "two"}


def test_a_byte_that_is_no_text_spoils_its_own_line(passwords, tmp_path):
    (tmp_path / "passwords").write_bytes(b"anna one\nj\xf6rg three\nben two\n")
    assert passwords.read(tmp_path / "passwords") == {"anna": "one", "ben": "two"}
    (slip,) = passwords.slips(tmp_path / "passwords")
    assert "line 2" in slip


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("anna one\ncarl\n", 2, "carl has no password"),
        ("\n\nc:arl x\n", 3, "'c:arl' cannot be a learner's name"),
        ("anna one\n\nanna two", 3, "anna stands there twice"),
    ],
)
def test_a_bad_line_is_named(text, line, why, passwords, tmp_path):
    (tmp_path / "passwords").write_text(text)
    (slip,) = passwords.slips(tmp_path / "passwords")
    assert f"line {line}: " in slip and why in slip


def test_what_a_teacher_wrote_stays_when_somebody_is_added(passwords, tmp_path):
    (tmp_path / "passwords").write_bytes("\ufeff# my class\r\nanna one\r\ncarl\r\n".encode())
    new = passwords.enrol(tmp_path / "passwords", ["anna", "ben"])
    lines = files.edited_text(tmp_path / "passwords").splitlines()
    assert lines[:3] == ["# my class", "anna one", "carl"] and lines[3:] == [" ".join(pair) for pair in new.items()]


# --- Streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk", "latin-1"])
def test_output_fits_any_stream(encoding):
    env = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for arguments in (["preflight", "01"], ["assets", "fetch", "☃ 图"]):
        command = [sys.executable, "-m", "tutorial_utils", *arguments]
        result = subprocess.run(command, cwd=working.ROOT, env=env, capture_output=True)
        assert b"Traceback" not in result.stderr, result.stderr
        assert result.returncode == (0 if arguments[0] == "preflight" else 1)


def test_a_stream_that_takes_everything_gets_everything():
    assert "✓" in run("preflight", "01")[1]
