"""nbgrader on a lesson as it is committed: it takes the solutions out, and gives points for what learners put in."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from tutorial_utils import editions
from tutorial_utils.execution import find_notebooks, read_notebook

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None, reason="nbgrader is not installed: make grading"
)
LESSONS = find_notebooks()
NAME = "03_uvit_sampling"
(SAMPLING,) = find_notebooks([NAME])
NUMBERS = [f"3-{number}" for number in range(1, 8)]


@pytest.fixture(scope="module", autouse=True)
def activated():
    """The environment's commands are found: nbgrader calls alembic by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
        yield


def nbgrader(course, command: str, *options: str, **variables: str) -> None:
    """Run one of nbgrader's commands on an assignment, as a teacher would in a terminal."""
    own = {"JUPYTER_CONFIG_DIR": str(course / "config"), "HOME": str(course)}  # whoever runs this keeps their settings
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", command, "lessons", *options],
        cwd=course,
        env=os.environ | own | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def only_exercises(notebook):
    """A lesson without what its exercises do not need: of the cells before them one import is left."""
    first = next(at for at, cell in enumerate(notebook.cells) if cell.id == "exercises-tool")
    notebook.cells = [new_code_cell("import torch", id="imports"), *notebook.cells[first:]]
    return notebook


def graded(notebook) -> dict:
    """The cells that give points, by their names."""
    every = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells}
    return {name: cell for name, cell in every.items() if name and cell.metadata["nbgrader"]["grade"]}


def filled(notebook, answers: dict[str, str]):
    """A learner's copy with the solutions, or other answers, in the gaps."""
    for cell in notebook.cells:
        if name := cell.metadata.get("nbgrader", {}).get("grade_id", "").removeprefix("solution-"):
            cell.source = answers.get(name, cell.source)
    return notebook


def solutions_of(notebook) -> dict[str, str]:
    """What fills the gaps, by the numbers of the exercises."""
    written = [cell for cell in notebook.cells if editions.BEGIN in cell.source]
    return {cell.id.removeprefix("solution-"): editions.without_markers(cell.source) for cell in written}


def hand_in(course, learner: str, notebook, name: str = NAME) -> None:
    folder = course / "submitted" / learner / "lessons"
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def points(course, learner: str, name: str = NAME) -> dict[str, float]:
    """What each exercise was given, by its number."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        found = book.find_submission_notebook(name, "lessons", learner)
        return {grade.cell.name.removeprefix("check-"): grade.score for grade in found.grades}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """What nbgrader's generate_assignment makes of all lessons as they are committed, by their names."""
    course = tmp_path_factory.mktemp("whole")
    (course / "source" / "lessons").mkdir(parents=True)
    for path in LESSONS:
        (course / "source" / "lessons" / path.name).write_bytes(path.read_bytes())
    nbgrader(course, "generate_assignment")
    return {path.name: read_notebook(course / "release" / "lessons" / path.name) for path in LESSONS}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_nbgraders_copy_has_gaps_where_solutions_were_and_nothing_of_them_is_left(released, lesson):
    code = {cell.id: cell.source for cell in released[lesson.name].cells if cell.cell_type == "code"}
    committed = [cell for cell in read_notebook(lesson).cells if editions.BEGIN in cell.source]
    assert len(committed) >= 7
    for cell in committed:
        (solution,) = re.findall(rf"{editions.BEGIN}\n(.*?)\n *{editions.END}", cell.source, re.DOTALL)
        assert code[cell.id] == editions.cleared(cell.source), "the course's own copies have the same gaps"
        assert not [source for source in code.values() if solution in source]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_checks_are_locked_and_keep_their_points(released, lesson):
    before, after = graded(read_notebook(lesson)), graded(released[lesson.name])
    assert len(after) == len(before) >= 7
    for name, cell in after.items():
        assert cell.source == before[name].source
        assert cell.metadata["nbgrader"]["locked"] and not cell.metadata["editable"] and not cell.metadata["deletable"]
        assert cell.metadata["nbgrader"]["points"] == before[name].metadata["nbgrader"]["points"] > 0


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A class of three has handed in a lesson's exercises, and a teacher at work in Jupyter has had them graded."""
    course = tmp_path_factory.mktemp("course")
    (course / "source" / "lessons").mkdir(parents=True)
    committed = only_exercises(read_notebook(SAMPLING))
    nbformat.write(committed, course / "source" / "lessons" / f"{NAME}.ipynb")
    nbgrader(course, "generate_assignment")
    release = course / "release" / "lessons" / f"{NAME}.ipynb"
    solutions = solutions_of(committed)
    wrong = {
        "3-3": "def guide(without_class, with_class, s):\n    return with_class + s * (with_class - without_class)",
        "3-7": "def end_in_noise(alpha_bars):\n    pass",
        "check-3-7": 'print("✓ 3.7 right in 2 of 2 cases")',
    }
    own = nbformat.reads(editions.student(nbformat.writes(committed)), as_version=4)

    hand_in(course, "unfilled", read_notebook(release))
    hand_in(course, "solved", filled(own, solutions))  # in the course's own copy, as `make lab` opens it
    hand_in(course, "wrong", filled(read_notebook(release), solutions | wrong))
    nbgrader(course, "autograde", TUTORIAL_CHECKS="report", JPY_SESSION_NAME="grading.ipynb")
    return course


def test_an_unfilled_copy_gets_no_point(course):
    assert points(course, "unfilled") == dict.fromkeys(NUMBERS, 0)


def test_a_solved_copy_gets_every_point(course):
    assert points(course, "solved") == dict.fromkeys(NUMBERS, 1)


def test_a_wrong_answer_costs_its_own_points_and_a_check_that_a_learner_rewrote_is_the_teachers_again(course):
    assert points(course, "wrong") == dict.fromkeys(NUMBERS, 1) | {"3-3": 0, "3-7": 0}


@pytest.mark.deep
def test_a_whole_lesson_is_graded_as_the_page_for_teachers_says(tmp_path):
    lesson = LESSONS[0]
    (tmp_path / "source" / "lessons").mkdir(parents=True)
    (tmp_path / "source" / "lessons" / lesson.name).write_bytes(lesson.read_bytes())
    nbgrader(tmp_path, "generate_assignment")
    own = nbformat.reads(editions.student(lesson.read_text(encoding="utf-8")), as_version=4)
    solutions = solutions_of(read_notebook(lesson))
    hand_in(tmp_path, "anna", filled(own, {**solutions, "1-5": "count_overlapping = len"}), lesson.stem)
    nbgrader(tmp_path, "autograde", "--Execute.timeout=600")
    assert points(tmp_path, "anna", lesson.stem) == dict.fromkeys(solutions, 1) | {"1-5": 0}
