"""Building the site: Sphinx makes the pages of each language, and their links are followed before anything is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tutorial_utils.execution import write_whole
from tutorial_utils.files import draft_folder
from tutorial_utils.translations import LANGUAGES, ROOT
from tutorial_utils.website import hrefs, sources

CONFIGURATION = ROOT / "site"

NO_PAGES = ("../jupyter_execute", ".buildinfo", "_static/*webpack-macros.html", "_static/**/*.map", "_static/locales")
"""What Sphinx and its theme leave in a site and no reader needs: notes, templates, sources of scripts."""

LANDING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Transformers for images and video</title>
<script>
const known = {codes};
const wanted = navigator.languages.map(one => one.slice(0, 2).toLowerCase()).find(one => known.includes(one));
location.replace((wanted || known[0]) + "/index.html");
</script></head><body><main><h1>Transformers for images and video</h1>{links}</main></body></html>
"""
"""Of the site as a whole: to the reader's language, which those without scripts choose themselves."""


def build(out: Path) -> None:
    """Make the site in `out`, in the place of a former one.

    Raises:
        ValueError: Sphinx is not installed, or warns of something, or a link leads nowhere.
    """
    with tempfile.TemporaryDirectory() as scratch, draft_folder(out) as site:
        for language in LANGUAGES.values():
            sources.write(Path(scratch) / language.code, language, (out / "lab").is_dir())
        _run_sphinx(Path(scratch), site)
        write_whole(site / "index.html", _landing())
        (site / ".nojekyll").touch()  # GitHub Pages would leave out what begins with an underscore
        if (out / "lab").is_dir():  # which `make lab-page` has put there
            shutil.copytree(out / "lab", site / "lab")
        if faults := hrefs.faults(site):
            raise ValueError("\n".join(["Links of the site that lead nowhere:", *faults]))


def _run_sphinx(texts: Path, site: Path) -> None:
    """Let Sphinx make every language's pages, all at the same time."""
    processes = {}
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for code, language in LANGUAGES.items():
        folders = [str(texts / code), str(site / code), "-d", str(texts / f"{code}-doctrees")]
        options = [
            "-q",
            "-W",
            "--keep-going",
            "-b",
            "html",
            "-c",
            str(CONFIGURATION),
            "-D",
            f"language={language.locale}",
        ]
        processes[code] = subprocess.Popen(
            [sys.executable, "-m", "sphinx", *options, *folders],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env=environ,
            cwd=ROOT,
        )
    said = {code: process.communicate()[0] for code, process in processes.items()}
    for code, process in processes.items():
        if process.returncode:
            raise ValueError(f"Sphinx did not make the pages in {LANGUAGES[code].name}:\n{said[code]}")
        for pattern in NO_PAGES:
            for left in list((site / code).glob(pattern)):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _landing() -> str:
    links = " · ".join(
        f'<a href="{one.code}/index.html" lang="{one.code}">{one.name}</a>' for one in LANGUAGES.values()
    )
    return LANDING.replace("{codes}", str(list(LANGUAGES))).replace("{links}", links)
