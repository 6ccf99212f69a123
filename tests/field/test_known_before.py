"""What can be known before the first second of work is checked then: places for results, and steps for schedules."""

import importlib
import inspect
import json
from pathlib import Path
from unittest import mock

import pytest
import torch
import typer
from commandline import run

from tutorial_utils import __main__ as cli
from tutorial_utils import catalogues, execution, teaching, working
from tutorial_utils.assets import bundle, store
from tutorial_utils.recipes import training
from tutorial_utils.sampling import by_class, diffusion, latte, latte_model
from tutorial_utils.web import export, page
from tutorial_utils.website import build

PLACES = ("out", "folder", "work")
"""Options that say where results go."""

LATTE = ["--config", str(working.LESSONS / "configs/latte_mini.yaml")]
NEEDED = {"latte": LATTE, "reset": ["01"], "run": ["01"], "train": ["vae"]}


def commands(group: typer.Typer, above: tuple[str, ...] = ()):
    """Every command, as the words that call it, and its function."""
    for command in group.registered_commands:
        yield (*above, command.name or command.callback.__name__), command.callback
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, (*above, inner.name))


WRITING = {
    words: name
    for words, function in commands(cli.app)
    for name in inspect.signature(function).parameters
    if name in PLACES
}


def work(*_, **__):
    raise AssertionError("work has begun")


LONG = [
    (by_class, "load"),
    (latte_model, "load_pipeline"),
    (execution, "execute"),
    (bundle, "add"),
    (working, "_copy"),
    (teaching, "written"),
    (build, "build"),
    (training, "carry_out"),
    (catalogues, "update"),
    (export, "export"),
    (page, "build"),
    (cli, "serve"),
]
"""What the commands spend their time with."""


@pytest.fixture
def no_work(monkeypatch):
    """Everything that takes long fails."""
    for module, name in LONG:
        monkeypatch.setattr(module, name, work)


def test_every_command_that_writes_is_tried():
    known = {"run", "editions", "bundle", "uvit", "latte", "lab", "reset", "train", "onnx", "lab-page", "site"}
    assert {words[-1] for words in WRITING} == known


@pytest.mark.parametrize("place", ["a file", "below a file", "where nobody writes"])
@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_a_place_that_cannot_be_written_to_is_refused_before_any_work(words, place, tmp_path, no_work):
    (tmp_path / "file").write_text("mine")
    folders = {"a file": tmp_path / "file", "below a file": tmp_path / "file/x", "where nobody writes": Path("/proc/x")}
    option = f"--{WRITING[words]}={folders[place]}"
    status, out, err = run(*words, option, *NEEDED.get(words[-1], []))
    assert status == 1 and out == "" and "cannot be written to" not in out
    assert "is not a folder that can be written to" in err and err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("option", ["--out", "--work"])
def test_a_recipe_asks_for_its_places_first(option, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    folders = {"--out": str(tmp_path / "out"), "--work": str(tmp_path / "work")} | {option: str(tmp_path / "file")}
    monkeypatch.setattr("sys.argv", ["recipe", *(word for pair in folders.items() for word in pair)])
    with pytest.raises(SystemExit, match=f"choose another for {option}"):
        training.command(work)


# --- Steps ----------------------------------------------------------------------------------------------------------


SCHEDULES = {
    "Stable Diffusion's": diffusion.STABLE_DIFFUSION,
    "U-ViT's": diffusion.UVIT,
    "Latte-mini's": latte.schedule_of(
        json.loads((store.COURSE.data / "checkpoints/latte-mini/scheduler/scheduler_config.json").read_text())
    ),
    "Latte-1's": latte.schedule_of(
        json.loads((working.ROOT / "tests/full/published/latte-1.scheduler.json").read_text())
    ),
}


@pytest.mark.parametrize("steps", [1, 61, 499, 1000])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("name", diffusion.SCHEDULERS)
def test_steps_give_numbers_or_are_refused_before_the_network_is_asked(name, schedule, steps):
    asked = []

    def network(x, times, labels):
        asked.append(times)
        return 0.1 * x

    try:
        scheduler = diffusion.make_scheduler(name, schedule)
    except ValueError:  # it cannot start from pure noise, with no steps at all
        return
    try:
        end = diffusion.last(diffusion.sample(network, scheduler, torch.ones(1, 1, 2, 2), steps=steps)).latent
    except ValueError as error:
        assert not asked and "choose" in str(error)
        return
    assert end.isfinite().all() and len(asked) >= steps


def test_a_refusal_names_steps_that_can_be_had():
    scheduler = diffusion.make_scheduler("dpm-multi")
    with pytest.raises(ValueError, match="choose 999 steps"):
        diffusion.set_timesteps(scheduler, 1000)
    diffusion.set_timesteps(scheduler, 999)


def test_steps_are_tried_before_a_model_is_loaded(tmp_path, no_work):
    status, _, err = run("sample", "uvit", "--steps=1000", f"--out={tmp_path / 'out'}")
    assert status == 1 and "choose 999 steps" in err and not (tmp_path / "out").exists()


def test_a_disk_that_is_too_small_for_a_bundle_is_found_first(tmp_path, no_work):
    with mock.patch("tutorial_utils.files.free_bytes", lambda _: 0):
        status, _, err = run("bundle", "--scale=full", f"--out={tmp_path}")
    assert status == 1 and "has room for 0.0 MB" in err
    assert not any(tmp_path.iterdir())


def test_a_film_program_that_does_not_start_is_found_before_the_first_clip(tmp_path, no_work, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    status, _, err = run("sample", "latte", *LATTE, f"--out={tmp_path / 'out'}")
    assert status == 1 and "IMAGEIO_FFMPEG_EXE" in err and str(tmp_path / "absent") in err.replace("\n", "")


@pytest.mark.parametrize("name", ["report", "matrix"])
def test_what_measures_for_an_hour_asks_for_its_place_first(name, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("sys.argv", [name, f"--out={tmp_path / 'file' / 'page.md'}"])
    with pytest.raises(ValueError, match="choose another for --out"):
        importlib.import_module(name).main()
