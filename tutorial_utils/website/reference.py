"""The pages of the package's reference: one for each wing, and one for what is in front of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
FOLDER = "reference"
FRONT = "tutorial_utils"


@cache
def pages() -> dict[str, str]:
    """The source of each page in reStructuredText, by its name."""
    wings = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    modules = {FRONT: sorted(PACKAGE.glob("*.py")), **{wing: sorted((PACKAGE / wing).glob("*.py")) for wing in wings}}
    return {name: _page(name, files) for name, files in modules.items()}


def _page(name: str, files: list[Path]) -> str:
    title = name if name == FRONT else f"{FRONT}.{name}"
    modules = [f"{title}.{file.stem}" for file in files if not file.stem.startswith("__")]
    return "\n".join(
        [*_heading(title, "="), f".. automodule:: {title}", "", *(line for one in modules for line in _module(one))]
    )


def _module(name: str) -> list[str]:
    return [*_heading(name, "-"), f".. automodule:: {name}", "   :members:", ""]


def _heading(title: str, line: str) -> list[str]:
    return [title, line * len(title), ""]
