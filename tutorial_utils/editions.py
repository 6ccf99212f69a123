"""What becomes of the committed notebooks for those who learn from them: solutions give way to gaps.

A solution stands between nbgrader's markers, so that nbgrader reads the same notebooks
(https://nbgrader.readthedocs.io/en/stable/user_guide/creating_and_grading_assignments.html).
"""

from __future__ import annotations

import re

import nbformat
from nbformat.v4 import new_markdown_cell

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
GAP = "# YOUR CODE HERE\n{indent}raise NotImplementedError()"
"""What nbgrader puts in a solution's place."""

SOLUTION = re.compile(rf"^(?P<indent>[ \t]*){BEGIN}\n.*?^[ \t]*{END}$", re.MULTILINE | re.DOTALL)


def cleared(source: str) -> str:
    """A cell's source with a gap in the place of each solution.

    Raises:
        ValueError: a solution begins or ends alone.
    """
    gaps = SOLUTION.sub(lambda found: found["indent"] + GAP.format(indent=found["indent"]), source)
    if BEGIN in gaps or END in gaps:
        raise ValueError(f"A solution needs a line {BEGIN!r} and one {END!r}, in this order:\n{source}")
    return gaps


def student(text: str) -> str:
    """A notebook's text for a learner: gaps to fill, no outputs of what is to be written, solutions one click away.

    Raises:
        ValueError: a solution begins or ends alone.
    """
    if BEGIN not in text and END not in text:
        return text
    notebook = nbformat.reads(text, as_version=4)
    cells, solution = [], ""
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        if cell.source != (gaps := cleared(cell.source)):
            solution, cell.source = without_markers(cell.source), gaps
            cell.outputs, cell.execution_count = [], None
        elif solution and cell.metadata.get("nbgrader", {}).get("grade"):  # the check of what is to be written
            cell.outputs, cell.execution_count = [], None
            words = f"<details><summary>Solution</summary>\n\n```python\n{solution}\n```\n\n</details>"
            cells.append(new_markdown_cell(words, id=f"{cell.id}-solution"[:64]))
            solution = ""
    notebook.cells = cells
    return nbformat.writes(notebook) + "\n"


def without_markers(source: str) -> str:
    """A cell's source with its solutions, and without the lines that mark them."""
    return "\n".join(line for line in source.splitlines() if line.strip() not in (BEGIN, END))
