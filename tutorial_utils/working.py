"""The learner's own copies of the lessons: to write in, and never written over.

The lessons in ``notebooks/`` are what the course ships and compares with; whoever changed them there could not fetch a
newer course any more. So JupyterLab opens copies, in which the exercises' solutions have given way to gaps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tutorial_utils import editions, files
from tutorial_utils.translations import ENGLISH, ROOT, Language

Edition = Callable[[str], str]

LESSONS = ROOT / "notebooks"
COPIED = (".ipynb", ".yaml")
OFFLINE = ("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None")
"""Options of JupyterLab without which it asks the network for news: there may be none."""

RECORD = ".copied.json"
"""Beside the copies: the SHA-256 that each original had when it was copied."""


def lesson_file(name: str | Path) -> Path:
    """A file that a lesson reads, such as ``"configs/latte_mini.yaml"``: the learner's own, or else the course's.

    Args:
        name: as seen from the present folder, from that of the lessons, or from the root of the course.

    Raises:
        FileNotFoundError: there is none.
    """
    for folder in (Path.cwd(), LESSONS, ROOT):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"There is no {name} in {Path.cwd()} or in {LESSONS}: check the name.")


def home(edition: str = "student", language: Language = ENGLISH) -> Path:
    """The folder of the copies of an edition."""
    return ROOT.joinpath("work", *[edition] * (edition != "student"), *[language.code] * (language is not ENGLISH))


def bring(folder: Path, edition: Edition = editions.student, language: Language = ENGLISH) -> list[str]:
    """Copy the lessons that a folder lacks, and what they read.

    Args:
        edition: what becomes of a lesson's text in its copy.
        language: in which the copy is.

    Returns:
        A sentence for each copy of which the course has a newer edition.
    """
    record, newer = _read_record(folder), []
    for name, original in originals().items():
        copy, digest = folder / name, files.digest(original)
        if not copy.exists() or not copy.stat().st_size:
            _copy(original, copy, edition, language)
            record[name] = digest
        elif record.get(name, digest) != digest != files.digest(copy):
            newer.append(
                f"There is a newer {name}: `python -m tutorial_utils reset {name}` brings it, and keeps yours."
            )
    _write_record(folder, record)
    return newer


def reset(folder: Path, start: str, language: Language = ENGLISH) -> dict[Path, Path | None]:
    """Put fresh copies in the place of some, which are kept under another name beside them.

    Args:
        start: the beginning of the lesson's name, or of names.
        language: in which the copies are.

    Returns:
        For each fresh copy the name under which the former one is kept, or None if there was none.

    Raises:
        ValueError: no lesson has such a name.
    """
    chosen = {name: path for name, path in originals().items() if name.startswith(start)}
    if not start or not chosen:
        raise ValueError(f"No lesson starts with {start!r}: choose from {', '.join(originals())}.")
    record, kept = _read_record(folder), {}
    for name, original in chosen.items():
        copy = folder / name
        kept[copy] = _set_aside(copy) if copy.exists() else None
        _copy(original, copy, editions.student, language)
        record[name] = files.digest(original)
    _write_record(folder, record)
    return kept


def originals() -> dict[str, Path]:
    """Every lesson, and every file that one reads, by its name inside ``notebooks/``."""
    every = {path.relative_to(LESSONS): path for path in sorted(LESSONS.rglob("*")) if path.suffix in COPIED}
    return {
        name.as_posix(): path for name, path in every.items() if not any(part.startswith(".") for part in name.parts)
    }


def _copy(original: Path, copy: Path, edition: Edition, language: Language) -> None:
    text = edition(original.read_text(encoding="utf-8"))
    if original.suffix == ".ipynb":
        text = language.notebook(text, original.stem)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with files.draft(copy) as partial:
        partial.write_text(text, encoding="utf-8")


def _set_aside(copy: Path) -> Path:
    number = 1
    while (kept := copy.with_name(f"{copy.stem}.old-{number}{copy.suffix}")).exists():
        number += 1
    return copy.rename(kept)


def _read_record(folder: Path) -> dict[str, str]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or one that is no use
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(folder: Path, record: dict[str, str]) -> None:
    if record != _read_record(folder):
        with files.draft(folder / RECORD) as partial:
            partial.write_text(json.dumps(record, indent=2), encoding="utf-8")
