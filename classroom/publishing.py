"""A teacher's side of how lessons, and corrections to them, come to learners: a repository that root alone writes to.

It holds the learners' edition of the lessons, a branch for each language. `corrections` is the learners' side.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from classroom import corrections
from tutorial_utils import files, require, working
from tutorial_utils.editions import student
from tutorial_utils.execution import read_notebook
from tutorial_utils.translations import ENGLISH, Language

NOBODYS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
IDENTITY = ("-c", "user.name=classroom", "-c", "user.email=classroom@localhost")


class PublishingError(RuntimeError):
    """git is missing or refused; the message says why."""


def publish(state: Path) -> list[str]:
    """Commit the lessons as they stand in ``notebooks/`` now, in each language.

    Returns:
        What is new or has changed since the last time, by its place in a learner's home.

    Raises:
        ValueError: a lesson is no notebook, or a solution in it begins or ends alone. Then nothing is published.
        PublishingError: git is missing, or refused.
    """
    texts = {language: _texts(language) for language in corrections.languages()}
    repository, settings = corrections.repository_in(state), corrections.settings_in(state)
    if not repository.exists():
        with files.draft_folder(repository) as new:  # without templates: these may bring hooks
            _git("init", "--quiet", "--bare", "--template=", f"--initial-branch={ENGLISH.code}", str(new))
    with files.draft(settings) as partial:
        _git("config", "--file", str(partial), "include.path", "/etc/gitconfig")
        _git("config", "--file", str(partial), "safe.directory", str(repository))
        _git("config", "--file", str(partial), "core.quotePath", "false")  # nbgitpuller takes names as git prints them
    changed = {language: _commit(repository, language.code, of_it) for language, of_it in texts.items()}
    return [f"{corrections.folder_of(language)}/{name}" for language, names in changed.items() for name in names]


def links(state: Path) -> dict[str, str]:
    """What brings corrections and opens a lesson, by the lesson's place in a learner's home.

    Each link begins behind the address at which learners sign in, which a hub does not know for sure.
    """
    found = {}
    for language in corrections.languages():
        folder = corrections.folder_of(language)
        asked = {"repo": corrections.repository_in(state).as_uri(), "branch": language.code, "targetpath": folder}
        for name in (f"{folder}/{name}" for name in working.originals() if name.endswith(".ipynb")):
            found[name] = f"/hub/user-redirect/git-pull?{urlencode(asked | {'urlpath': f'lab/tree/{name}'})}"
    return found


def _texts(language: Language) -> dict[str, str]:
    """The learners' edition of each lesson in a language, and of what it reads."""
    found = {}
    for name, path in working.originals().items():
        if path.suffix == ".ipynb":
            read_notebook(path)  # or it is refused by its name
            found[name] = language.notebook(student(path.read_text(encoding="utf-8")), path.stem)
        else:
            found[name] = path.read_text(encoding="utf-8")
    return found


def _commit(repository: Path, branch: str, texts: dict[str, str]) -> list[str]:
    """Make texts, by their names, all that a branch holds. Returns the names of those that differ from before."""
    reference = f"refs/heads/{branch}"
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            path = Path(folder, "lessons", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        # an index of its own: one in the repository would stay locked if this process were killed
        places = {"GIT_DIR": str(repository), "GIT_WORK_TREE": f"{folder}/lessons", "GIT_INDEX_FILE": f"{folder}/index"}
        _git("add", "--all", "--force", ".", **places)
        tree = _git("write-tree", **places)
        before = _git("for-each-ref", "--format=%(objectname)", reference, **places)
        nothing = _git("hash-object", "-t", "tree", "-w", os.devnull, **places)
        changed = _git("diff", "--name-only", "-z", before or nothing, tree, **places).split("\0")[:-1]
        if changed:
            parent = ("-p", before) if before else ()
            commit = _git(*IDENTITY, "commit-tree", tree, *parent, "-m", "The lessons as they are now", **places)
            _git("update-ref", reference, commit, before, **places)
        return changed


def _git(*arguments: str, **variables: str) -> str:
    """What git prints, whatever root has configured for other work."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    options = {"env": around | NOBODYS | variables, "cwd": variables.get("GIT_WORK_TREE"), "capture_output": True}
    try:
        done = subprocess.run(["git", *arguments], encoding="utf-8", **options)
    except FileNotFoundError as error:
        raise PublishingError("git is missing, which brings the lessons to learners: apt-get install git.") from error
    if done.returncode:
        raise PublishingError(f"The lessons could not be published. {require.shortened(done.stderr.strip())}")
    return done.stdout.removesuffix("\n")
