"""Two runs into one folder both end well, or the second is told who is at work; who was killed is in nobody's way."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import models
import pytest
from commandline import REQUEST, assert_all_whole, run, tiny_networks

from tutorial_utils import editions, files, working
from tutorial_utils.recipes import training
from tutorial_utils.sampling import by_class
from tutorial_utils.sampling.diffusion import Settings


def test_the_second_is_told_who_is_at_work_and_the_first_ends_well(tmp_path, monkeypatch):
    out, begun, go_on = tmp_path / "out", threading.Event(), threading.Event()
    decode = models.sampler().decode

    def slowly(latents):
        begun.set()
        go_on.wait()
        return decode(latents)

    def sample():
        slow = replace(models.sampler(), decode=slowly, batch_size=1)
        by_class.sample_to_folder(slow, [0, 1], 0, Settings(steps=1), out)

    first = threading.Thread(target=sample)
    first.start()
    begun.wait()
    with pytest.raises(ValueError, match=rf"out is being filled by process {os.getpid()} on .*: wait for its end"):
        sample()
    go_on.set()
    first.join()
    assert_all_whole(out)
    assert sorted(path.name for path in out.iterdir()) == ["grid.png", "request.json", "samples.npz"]
    sample()  # what is finished is nobody's work


HOLD = """
import sys, time
from pathlib import Path
from tutorial_utils import files
with files.alone(Path(sys.argv[1]), "it is held"):
    print("held", flush=True)
    time.sleep(100)
"""


@tiny_networks
def test_who_was_killed_is_in_nobodys_way(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out" / "parts")]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert killed.stdout.readline() == "held\n"
    assert run(*REQUEST, str(tmp_path / "out"))[0] == 1
    killed.kill()
    killed.communicate()
    assert run(*REQUEST, str(tmp_path / "out"))[0] == 0
    assert_all_whole(tmp_path / "out")


def together(count: int, call) -> list[BaseException]:
    """What goes wrong when so many threads call something at the same moment."""
    wrong, begin = [], threading.Barrier(count)

    def one(number: int) -> None:
        begin.wait()
        try:
            call(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def test_writers_of_one_file_leave_a_whole_one(tmp_path):
    def write(number: int) -> None:
        for _ in range(20):
            with files.draft(tmp_path / "one.txt") as partial:
                partial.write_text(str(number) * 10_000)

    assert together(8, write) == []
    assert [path.name for path in tmp_path.iterdir()] == ["one.txt"]
    text = (tmp_path / "one.txt").read_text()
    assert len(text) == 10_000 and len(set(text)) == 1


def test_learners_copies_are_whole_whoever_makes_them(tmp_path):
    assert together(4, lambda _: working.bring(tmp_path / "work")) == []
    for name, original in working.originals().items():
        made = editions.student(original.read_text(encoding="utf-8"))
        assert (tmp_path / "work" / name).read_text(encoding="utf-8") == made


def test_a_name_of_any_length_has_a_draft(tmp_path):
    for name in ("x" * 250, "图" * 80):
        with files.draft(tmp_path / name) as partial:
            partial.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"


def test_two_trainings_in_one_folder_are_one_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["recipe", f"--out={tmp_path / 'out'}", f"--work={tmp_path / 'work'}"])

    def recipe(out, work, device):
        with pytest.raises(SystemExit, match="is in use by process"):
            training.command(lambda *_: pytest.fail("a second training began"))
        out.mkdir(parents=True)
        (out / "done").touch()

    with pytest.raises(SystemExit) as end:
        training.command(recipe)
    assert not end.value.code and (tmp_path / "out" / "done").exists()


def test_a_checkpoint_that_is_not_finished_leaves_the_former_one(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "former").touch()
    with pytest.raises(KeyboardInterrupt), files.draft_folder(tmp_path / "net") as draft:
        draft.mkdir(parents=True)
        (draft / "half").touch()
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == ["net", "former"]
    with files.draft_folder(tmp_path / "net") as draft:
        draft.mkdir(parents=True)
        (draft / "whole").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["net", "whole"]


def test_a_checkpoint_that_was_never_made_leaves_the_former_one(tmp_path):
    (tmp_path / "net").mkdir()
    with pytest.raises(FileNotFoundError), files.draft_folder(tmp_path / "net") as draft:
        draft.parent.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
