"""The faults that `make mutants` tries are where it says they are; and one that matters is rejected, no other."""

import ast

import nbformat
import pytest
from cells import replace
from faults import FAULTS, LESSON, Fault
from mutants import QUICK, require_once, tried

from tutorial_utils.execution import ROOT, find_notebooks, read_notebook, write_notebook


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.lesson}-{fault.what}")
def test_a_fault_stands_once_and_leaves_code_that_can_be_read(fault):
    if fault.where != LESSON:
        text = (ROOT / "tutorial_utils" / fault.where).read_text(encoding="utf-8")
        require_once(fault, text)
        ast.parse(text.replace(fault.old, fault.new))
    else:
        cells = read_notebook(find_notebooks([fault.lesson])[0]).cells
        sources = {number: cell.source for number, cell in enumerate(cells) if cell.cell_type == "code"}
        replace(sources, {fault.old: fault.new} | QUICK[fault.lesson])
        for source in sources.values():
            ast.parse(source)


def test_there_are_a_dozen_faults_of_each_lesson_and_none_twice():
    assert len({(fault.lesson, fault.where, fault.new) for fault in FAULTS}) == len(FAULTS)
    for lesson in ("01", "02", "03", "04"):
        assert sum(fault.lesson == lesson for fault in FAULTS) >= 12


CELLS = [
    "import numpy as np\nfrom tutorial_utils.checks import check\nfrom tutorial_utils.networks.patches import patchify",
    "image = np.arange(16.0).reshape(1, 4, 4)",
    "patches = patchify(image, 2)",
    "check('the second patch is to the right', patches[1].tolist(), [2.0, 3.0, 6.0, 7.0])",
]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with the package, and one lesson of four cells."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "notebooks").mkdir()
    for name in ("tutorial_utils", "data", "docs"):
        (folder / name).symlink_to(ROOT / name)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    write_notebook(notebook, folder / "notebooks" / "09_patches.ipynb")
    return folder


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (("networks/patches.py", "-> ... (row col) (c h w)", "-> ... (col row) (c h w)"), "fact"),
        (("networks/patches.py", "-> ... (row col) (c h w)", "-> ... (row col) (c h)"), "error"),
        (("networks/patches.py", "(row col) (c h w) -> ... c", "(col row) (c h w) -> ... c"), "survived"),
        ((LESSON, "patchify(image, 2)", "patchify(image.mT, 2)"), "fact"),
        ((LESSON, "patchify(image, 2)", "patchify(image, (2, 2))"), "survived"),
    ],
    ids=["a fault of the package", "an exception", "not used", "a fault of the lesson", "harmless"],
)
def test_a_fault_is_rejected_by_the_fact_that_notices_it(course, fault, verdict):
    before = (ROOT / "tutorial_utils/networks/patches.py").read_bytes()
    found = tried(Fault("09", *fault, "tried here"), course)
    assert found.kind == verdict, found.why
    assert ("the second patch is to the right" in str(found)) == (verdict == "fact")
    assert (ROOT / "tutorial_utils/networks/patches.py").read_bytes() == before
