"""What the package and the lessons say, found in their source: the messages of the catalogue of sentences.

In a message a name in braces stands for what is filled in: ``f"{len(wrong)} numbers are wrong"`` is the message
``{len_wrong} numbers are wrong``.
"""

from __future__ import annotations

import ast
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from tutorial_utils.execution import find_notebooks, read_notebook
from tutorial_utils.translations import BLANK

PACKAGE = Path(__file__).parent

SPEAKING = {"Need", "check", "print", "say"}
"""Functions whose arguments are shown. In a lesson nothing else is translated: the texts in a figure and the prompts
stay as they are, and so does a single word."""

SILENT = {
    "alt",
    "bootstrap",
    "catalogues",
    "installer",
    "links",
    "openmp",
    "recipes",
    "spoken",
    "translations",
    "vendored",
    "web",
}
"""Modules that say nothing to a learner, or before there is a catalogue; recipes write cards, which are in English, and
alternative texts read the English labels of a figure."""

ALONE = (
    "got {value}",
    "bundled",
    "Figure:",
    "Animation:",
    "from ModelScope or Hugging Face",
    "from ModelScope",
    "from Hugging Face",
)
"""Short texts that stand in others."""

TABLES = ("lessons.toml", "assets/assets.toml")

NO_SENTENCE = re.compile(
    r"->|^import |"
    r"^\(\w+ \w+ |^\(\?|\\[swd]|[{};]\n|\(\{|^\S*[-/<]\S*$|^[A-Z_]+=|^#|https?://\S+$|^--|<[/\w!]|: \w+, \w+: "
)
"""Axes for einops, patterns, styles, variables, comments, options and addresses."""


def sentences() -> list[str]:
    """All messages, in the order in which they stand."""
    found = dict.fromkeys(ALONE)
    for module in sorted(PACKAGE.rglob("*.py")):
        if not SILENT & {*module.relative_to(PACKAGE).parts, module.stem}:
            found |= dict.fromkeys(said_in(module.read_text(encoding="utf-8"), shown_from=1, found_from=2))
    for lesson in find_notebooks():
        for cell in read_notebook(lesson).cells:
            if cell.cell_type == "code":
                found |= dict.fromkeys([*said_in(cell.source), *_descriptions(cell)])
    for table in TABLES:
        found |= dict.fromkeys(_titles(tomllib.loads((PACKAGE / table).read_text(encoding="utf-8"))))
    return list(found)


def said_in(source: str, shown_from: int = 2, found_from: float = math.inf) -> Iterator[str]:
    """The messages in some Python.

    Args:
        shown_from: so many words, at least, has an argument of a function which shows it.
        found_from: so many any other text that is taken for something said.
    """
    tree = ast.parse(source)
    shown, silent = _shown(tree), _silent(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in silent:
            text = message(node)
            words = len(re.findall(r"(?<![\w.])[A-Za-z]{2,}(?![\w/])", BLANK.sub("", text)))
            if words >= (shown_from if id(node) in shown else found_from) and not NO_SENTENCE.search(text):
                yield text


def message(node: ast.Constant | ast.JoinedStr) -> str:
    """A text of the source with a name in braces for each value that is filled in; empty if it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    text, names = "", set()
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += part.value
            continue
        name = re.sub(r"\W+", "_", ast.unparse(part.value)).strip("_").lower()[:24].strip("_") or "value"
        name = name if not name[0].isdigit() else f"value_{name}"
        while name in names:
            name += "_"
        names.add(name)
        text += f"{{{name}}}"
    return text


def _shown(tree: ast.AST) -> set[int]:
    """The nodes of all that is shown: of the arguments of `SPEAKING`, or of what has an argument's name."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    speaking = [call for call in calls if getattr(call.func, "id", getattr(call.func, "attr", "")) in SPEAKING]
    arguments = [argument for call in speaking for argument in call.args]
    names = {argument.id for argument in arguments if isinstance(argument, ast.Name)}
    named = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and names & _names(node.targets)]
    return {id(inner) for shown in (*arguments, *named) for inner in ast.walk(shown)}


def _names(targets: list[ast.expr]) -> set[str]:
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _silent(tree: ast.AST) -> set[int]:
    """The nodes of texts that nobody is told: documentation, the command line's help, and mere parts of a text."""
    spoken, silent = _mistakes(tree), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and id(node) not in spoken:
            silent.add(id(node.value))
        elif isinstance(node, ast.keyword) and node.arg == "help":
            silent |= {id(inner) for inner in ast.walk(node)}
        elif isinstance(node, ast.JoinedStr):
            silent |= {id(part) for part in node.values if isinstance(part, ast.Constant)}
        elif isinstance(node, ast.FormattedValue) and node.format_spec:
            silent |= {id(inner) for inner in ast.walk(node.format_spec)}
    return silent


def _mistakes(tree: ast.AST) -> set[int]:
    """The docstrings of an exercise's mistakes, which are what a learner is told about them."""
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Exercise"
    ]
    listed = [node for call in calls for argument in call.args[2:3] for node in ast.walk(argument)]
    names = {node.id for node in listed if isinstance(node, ast.Name)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
    return {id(function.body[0]) for function in functions}


def _descriptions(cell: NotebookNode) -> Iterator[str]:
    """What a cell's stored figures are said to be."""
    for output in cell.outputs:
        if found := re.match(r"(?:Figure|Animation): (.+)", output.get("data", {}).get("text/plain", "")):
            yield found[1]


def _titles(table: dict) -> Iterator[str]:
    """Titles and notes, at any depth."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _titles(value)
        elif name in ("title", "note"):
            yield value
