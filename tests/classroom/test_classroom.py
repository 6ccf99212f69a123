"""Several learners at once on one server: each gets through lesson 1, and none gets at another or at more than a share.

make classroom-test
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from client import LESSON_1, ROOT, Learner, classroom, code_cells, wait_for
from memory import holds

from tutorial_utils import execution
from tutorial_utils.checks import MARK

pytestmark = [
    pytest.mark.classroom,
    pytest.mark.skipif(
        importlib.util.find_spec("jupyterhub") is None, reason="the hub is missing: make classroom-test"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="limits for each learner need Linux"),
    pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="to be each learner in turn it must be root"),
]
NAMES = ["anna", "ben", "cleo"]
CPUS = 1.5  # more than one: libraries that may use two threads start them at different times
LESSON = execution.read_notebook(LESSON_1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds the hub's state, and a cache that is open to everyone but for what the classroom does about it."""
    folder = tmp_path_factory.mktemp("classroom")
    (folder / "cache").mkdir()
    (folder / "cache").chmod(0o777)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    limits = {"CLASSROOM_MEMORY": "2G", "CLASSROOM_CPUS": str(CPUS)}
    with classroom(folder / "state", NAMES, TUTORIAL_DATA=str(folder / "cache"), TUTORIAL_SCALE="mini", **limits) as it:
        yield it


@pytest.fixture(scope="module")
def passwords(address, folder) -> dict[str, str]:
    from classroom.passwords import read

    return read(folder / "state" / "passwords")


@pytest.fixture(scope="module")
def learners(address, passwords) -> dict[str, Learner]:
    """All have signed in, at once, and have their servers."""
    with ThreadPoolExecutor() as together:
        return {learner.name: learner for learner in together.map(lambda name: arrive(address, name, passwords), NAMES)}


def arrive(address: str, name: str, passwords: dict[str, str]) -> Learner:
    learner = Learner(address, name)
    assert learner.sign_in(passwords[name])
    learner.start_server()
    return learner


def lesson_1(learner: Learner) -> int:
    """Run lesson 1 from its first cell to its last, and count the facts."""
    kernel, facts = learner.start_kernel(), 0
    for source in code_cells(LESSON):
        reply = kernel.run(source)
        assert reply.status == "ok", f"{learner.name}: {reply.error or reply.status} in:\n{source}"
        facts += sum(line.startswith(MARK) for line in reply.text.splitlines())
    return facts


@pytest.mark.parametrize("name", ["anna", "dora", "teacher"])
def test_a_wrong_password_lets_nobody_in(address, name):
    assert not Learner(address, name).sign_in("abcd-efgh-jkmn")


def test_without_a_password_the_hub_gives_no_server(address):
    stranger = Learner(address, "anna")
    assert stranger.session.post(f"{address}/hub/api/users/anna/server").status_code == 403
    assert stranger.api("contents").status_code != 200


def test_all_at_once_run_lesson_1_to_its_end(learners):
    with ThreadPoolExecutor() as together:
        facts = dict(zip(learners, together.map(lesson_1, learners.values()), strict=True))
    assert facts == dict.fromkeys(NAMES, execution.count_facts(LESSON))


def test_another_learners_server_is_refused(learners):
    assert learners["anna"].api("contents").ok
    assert learners["anna"].api("contents", of="ben").status_code == 403


def test_another_learners_files_and_processes_are_out_of_reach(learners, folder):
    anna, ben = learners["anna"].start_kernel(), learners["ben"].start_kernel()
    pid = ben.run("import os; print(os.getpid())").text.strip()
    home = folder / "state" / "homes" / "ben"
    for attempt in (f"import os; os.kill({pid}, 9)", f"import os; os.listdir({str(home)!r})"):
        assert anna.run(attempt).error.startswith("PermissionError")
    assert anna.run(f"open({str(folder / 'state' / 'passwords')!r})").error.startswith("PermissionError")
    assert ben.run("print('here')").text == "here\n"


def test_nobody_can_write_to_what_is_shared(learners):
    kernel = learners["anna"].start_kernel()
    kernel.run("import os, pathlib; from tutorial_utils.assets import store")
    for shared in ("pathlib.Path(os.environ['TUTORIAL_DATA'])", "store.COURSE.data"):
        assert "Read-only file system" in kernel.run(f"({shared} / 'mine').write_text('')").error
    assert "PermissionError" in kernel.run("pathlib.Path(store.__file__).write_text('')").error


def test_too_much_memory_ends_that_kernel_and_no_other(learners):
    anna, ben = learners["anna"].start_kernel(), learners["ben"].start_kernel()
    ben.run("kept = 1")
    assert anna.run("much = bytearray(3 * 2**30)").status == "dead"
    assert ben.run("print(kept)").text == "1\n"
    assert learners["anna"].start_kernel().run("print('again')").text == "again\n"
    wait_for(lambda: learners["anna"].api(f"kernels/{anna.id}").json()["execution_state"] != "restarting", "a restart")
    assert learners["anna"].connect(anna.id).run("print('much' in dir())").text == "False\n", "it was started anew"


def test_processes_that_share_a_learners_time_get_no_more_than_it(learners):
    kernel = learners["cleo"].start_kernel()
    kernel.run(BUSY)
    spent, passed = map(float, kernel.run("print(*busy(processes=3, seconds=6))").text.split())
    assert spent <= 1.1 * CPUS * passed + 0.2


BUSY = """
import os, time

def busy(processes, seconds):
    started, before = time.monotonic(), sum(os.times()[2:4])
    for _ in range(processes):
        if not os.fork():
            while time.monotonic() < started + seconds:
                pass
            os._exit(0)
    for _ in range(processes):
        os.wait()
    return sum(os.times()[2:4]) - before, time.monotonic() - started
"""


def test_the_terminal_of_the_hub_is_out_of_reach(learners):
    kernel = learners["anna"].start_kernel()
    assert kernel.run("open('/dev/tty', 'w')").error.startswith("OSError: [Errno 6]")
    assert kernel.run("import subprocess; subprocess.run('echo > /dev/tty', shell=True, check=True)").status == "error"


def test_a_learners_memory_holds_no_other_learners_token(learners):
    kernels = {name: learner.start_kernel() for name, learner in learners.items()}
    tokens = {name: one.run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])") for name, one in kernels.items()}
    for name, kernel in kernels.items():
        kernel.run(inspect.getsource(holds))
        for other, token in tokens.items():
            halves = token.text[:16], token.text[16:].strip()  # so that the question itself is not found
            found = kernel.run(f"print(holds(*{halves!r}))").text
            assert found == f"{name == other}\n", f"{other}'s token in the memory of {name}"


def test_processes_are_bounded_for_a_learner_and_nobody_else(learners):
    anna, ben = learners["anna"].start_kernel(), learners["ben"].start_kernel()
    anna.run(SWARM)
    count, reason = anna.run("print(*swarm(2000))").text.split()
    assert int(count) < 500 and reason == "BlockingIOError"
    assert ben.run("import subprocess; print(subprocess.run(['true']).returncode)").text == "0\n"


SWARM = """
import subprocess

def swarm(most):  # of small processes: children of this one would meet the bound of memory before
    started, reason = [], None
    try:
        for _ in range(most):
            started.append(subprocess.Popen(["sleep", "100"]))
    except OSError as error:
        reason = type(error).__name__
    for process in started:
        process.kill()
        process.wait()
    return len(started), reason
"""


def test_each_wrong_password_takes_longer_than_the_last(address):
    guess, seconds = Learner(address, "eve"), []
    for _ in range(3):
        started = time.monotonic()
        assert not guess.sign_in("abcd-efgh-jkmn")
        seconds.append(time.monotonic() - started)
    assert seconds[1] > 2 and seconds[2] > 4


def test_four_kernels_that_sample_at_once_come_to_their_end_and_make_room_for_each_other(learners):
    kernels = [learner.start_kernel() for learner in (*learners.values(), learners["anna"])]
    with ThreadPoolExecutor() as together:
        replies = list(together.map(lambda kernel: kernel.run(SAMPLE), kernels))
    assert [(reply.text, reply.error) for reply in replies] == [("1000 (20, 3, 64, 64)\n", "")] * 4


SAMPLE = """
import os
from tutorial_utils import runtime
from tutorial_utils.sampling import by_class
import torch
runtime.use_threads()
network, vae, names = by_class.load()
garments = torch.arange(20) % len(names), list(range(20)), by_class.SETTINGS["mini"]
images = by_class.sampler(network, vae).samples(*garments)
print(os.environ["GOMP_SPINCOUNT"], tuple(images.shape))
"""


def test_learners_see_lessons_and_nothing_else(learners):
    listed = learners["anna"].api("contents/notebooks").json()["content"]
    lessons = {path.name for path in LESSON_1.parent.glob("*.ipynb")}
    assert {entry["name"] for entry in listed} == lessons | {"configs"}


def by_id(notebook, name: str):
    return next(cell for cell in notebook.cells if cell.id == name)


def correct(state: Path, folder: Path, **cells: str) -> None:
    """A teacher puts other words into cells of lesson 1, in a copy of the course's lessons, and publishes them."""
    from classroom import publishing
    from tutorial_utils import working

    shutil.copytree(LESSON_1.parent, folder, dirs_exist_ok=True)
    notebook = nbformat.read(folder / LESSON_1.name, as_version=4)
    for name, source in cells.items():
        by_id(notebook, name).source = source
    nbformat.write(notebook, folder / LESSON_1.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(working, "LESSONS", folder)
        assert f"notebooks/{LESSON_1.name}" in publishing.publish(state)  # and for every other language


def test_a_correction_reaches_a_learner_who_has_written_in_the_same_lesson(learners, passwords, folder):
    from classroom import publishing

    anna, state = learners["anna"], folder / "state"
    mine = anna.lesson(LESSON_1.name)
    by_id(mine, "solution-1-1").source = "def count_tokens(side, patch):\n    return 1 + (side // patch) ** 2"
    by_id(mine, "solution-1-1").outputs = []
    by_id(mine, "exercises").source = "## My own heading"
    mine.cells.insert(1, nbformat.v4.new_markdown_cell("My own cell", id="own"))
    anna.save(LESSON_1.name, mine)

    correct(state, folder / "first", **{"exercise-1-2": "**1.2**, corrected", "exercises": "## Exercises, corrected"})
    anna.visit(publishing.links(state)[f"notebooks/{LESSON_1.name}"], passwords["anna"])
    merged = anna.lesson(LESSON_1.name)
    assert by_id(merged, "exercise-1-2").source == "**1.2**, corrected"
    assert by_id(merged, "exercises").source == "## My own heading", "where both have written, the learner's words stay"
    assert by_id(merged, "solution-1-1").source == by_id(mine, "solution-1-1").source
    assert by_id(merged, "own").source == "My own cell" and len(merged.cells) == len(mine.cells)

    correct(state, folder / "second", **{"exercise-1-3": "**1.3**, corrected", "exercise-1-2": "**1.2**, corrected"})
    assert by_id(anna.lesson(LESSON_1.name), "exercise-1-3").source != "**1.3**, corrected"
    anna.stop_server()
    anna.start_server()
    again = anna.lesson(LESSON_1.name)
    assert by_id(again, "exercise-1-3").source == "**1.3**, corrected"
    assert by_id(again, "exercises").source == "## My own heading" and by_id(again, "own").source == "My own cell"


def command(folder: Path, *arguments: str) -> str:
    """What one of the classroom's commands prints while the class goes on."""
    around = os.environ | {"CLASSROOM_STATE": str(folder / "state")}
    whole = [sys.executable, "-m", "classroom", *arguments]
    return subprocess.run(whole, cwd=ROOT, env=around, capture_output=True, text=True, check=True).stdout


def test_publishing_by_the_command_brings_the_courses_own_lessons(learners, passwords, folder):
    said = command(folder, "publish").splitlines()
    assert said[0] == f"Published: notebooks/{LESSON_1.name}", "the correction before was of a copy"
    link = next(line for line in said if line.endswith("02_vivit_organmnist3d.ipynb"))
    learners["ben"].visit(link, passwords["ben"])
    kept = by_id(learners["ben"].lesson(LESSON_1.name), "exercise-1-2").source
    assert kept == by_id(LESSON, "exercise-1-2").source


def test_who_is_added_in_mid_class_gets_in_without_a_restart(learners, address, folder):
    name, password = command(folder, "add", "dora").split()
    assert name == "dora" and not Learner(address, "dora").sign_in("abcd-efgh-jkmn")
    dora = arrive(address, "dora", {"dora": password})
    assert dora.start_kernel().run("print('here')").text == "here\n"
    assert learners["anna"].api("contents").ok, "nobody else has noticed"
    dora.stop_server()


def test_everybodys_work_is_collected_for_the_teacher_alone(learners, folder):
    learners["anna"].start_kernel().run("open('mine.txt', 'w').write('mine')")
    learners["anna"].start_kernel().run(f"import os; os.symlink({str(folder / 'state' / 'passwords')!r}, 'theirs.txt')")
    command(folder, "collect", str(folder / "work"))
    copied = folder / "work" / "anna" / "notebooks"
    assert (copied / "mine.txt").read_text() == "mine" and not (copied / "theirs.txt").exists()
    assert {path.name for path in (folder / "work").iterdir()} >= set(NAMES)
    whole = nbformat.read(copied / LESSON_1.name, as_version=4)
    shown = learners["anna"].lesson(LESSON_1.name)
    assert [cell.source for cell in whole.cells] == [cell.source for cell in shown.cells]
    assert stat.S_IMODE((folder / "work").stat().st_mode) == 0o700


def test_work_survives_the_server_and_nothing_else_does(learners, folder):
    from classroom.limits import Group

    ben = learners["ben"]
    mine = folder / "state" / "homes" / "ben" / "notebooks" / "01_vit_inference.ipynb"
    ben.start_kernel().run(f"import pathlib, subprocess; pathlib.Path({str(mine)!r}).write_text('mine')")
    ben.start_kernel().run("subprocess.Popen(['sleep', '1000'], start_new_session=True)")
    ben.stop_server()
    assert Group("ben").processes() == []
    ben.start_server()
    assert mine.read_text() == "mine"
    wait_for(lambda: Group("ben").processes() != [], "the server's processes")


def test_a_name_that_is_deleted_ends_its_session_and_its_server(learners, folder):
    from classroom.limits import Group

    cleo, path = learners["cleo"], folder / "state" / "passwords"
    assert cleo.session.get(f"{cleo.address}/hub/api/user").ok and Group("cleo").processes() != []
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("cleo ")]
    path.write_text("".join(lines))
    wait_for(lambda: Group("cleo").processes() == [], "the server's processes to end")
    wait_for(lambda: not cleo.session.get(f"{cleo.address}/hub/api/user").ok, "the session to end")
    assert learners["anna"].session.get(f"{cleo.address}/hub/api/user").ok
