"""How lessons come to a learner, and a teacher's corrections after them: nbgitpuller brings them, as that learner.

It clones the hub's repository of lessons, and merges what is new there (https://nbgitpuller.readthedocs.io): what the
learner and the teacher have changed in different places stays, and in the same place the learner's words stay.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tutorial_utils import failures, translations
from tutorial_utils.translations import ENGLISH, Language

FOLDER = "notebooks"


def languages() -> list[Language]:
    """Those that the lessons can be read in here."""
    every = translations.LANGUAGES.values()
    return [one for one in every if one is ENGLISH or translations.has_catalogues(one.locale)]


def folder_of(language: Language) -> str:
    """The folder in a learner's home for the lessons in a language."""
    return FOLDER if language is ENGLISH else f"{FOLDER}-{language.code}"


def repository_in(state: Path) -> Path:
    """Where the repository is, in the folder of a class; each language is a branch."""
    return state / "lessons.git"


def settings_in(state: Path) -> Path:
    """Where the settings are without which git lets nobody read what another user owns."""
    return state / "gitconfig"


def around(state: Path) -> dict[str, str]:
    """Variables for whoever reads from the repository."""
    return {"GIT_CONFIG_SYSTEM": str(settings_in(state))}


def bring(home: Path, repository: Path, language: str) -> None:
    """Bring the lessons into a learner's home, or what has changed in them.

    A server without the newest lessons is better than none: what stands in the way is said in the log alone.
    """
    from nbgitpuller.pull import GitPuller  # which belongs to the hub; settings and tests do without

    folder, said = home / folder_of(translations.find(language)), []
    try:
        if folder.is_dir() and not (folder / ".git").exists():
            _adopt(folder, repository, language)
        said.extend(GitPuller(repository.as_uri(), str(folder), branch=language).pull())
    except Exception as error:  # nbgitpuller's have nothing in common
        if failures.is_memory(error):
            raise
        print(f"{home.name} has not got the newest lessons: {error}\n{''.join(said)}", file=sys.stderr)


def _adopt(folder: Path, repository: Path, language: str) -> None:
    """Make a clone of a folder of copies, in which all that differs from the lessons counts as the learner's."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".lessons-") as beside:
        clone = Path(beside, "clone")
        source = ["--quiet", "--no-checkout", "--depth=1", f"--branch={language}", "--", repository.as_uri()]
        subprocess.run(["git", "clone", *source, str(clone)], check=True)
        subprocess.run(["git", "reset", "--quiet"], cwd=clone, check=True)
        (clone / ".git").rename(folder / ".git")
