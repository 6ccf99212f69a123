"""`sample uvit` with the bundled miniatures and `sample latte` with a tiny one: one process, and two that share."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tiny_latte
import yaml
from PIL import Image

from tutorial_utils import __main__ as cli

REQUEST = ["sample", "uvit", "--classes", "trouser,9", "--num", "3", "--steps", "2", "--batch-size", "2"]


def run(*arguments: str, processes: int = 1) -> subprocess.CompletedProcess:
    """The command line in its own process, or in several under `accelerate launch`."""
    launch = [
        f"--num_processes={processes}",
        "--cpu",
        "--num_machines=1",
        "--mixed_precision=no",
        "--dynamo_backend=no",
    ]
    start = ["-m", "accelerate.commands.launch", *launch] if processes > 1 else []
    return subprocess.run(
        [sys.executable, *start, "-m", "tutorial_utils", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder that one process has filled."""
    out = tmp_path_factory.mktemp("alone")
    done = run(*REQUEST, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


def test_samples_and_their_picture_are_written(alone):
    with np.load(alone / "samples.npz") as saved:
        assert saved["images"].shape == (6, 64, 64, 3)
        assert saved["labels"].tolist() == [1, 1, 1, 9, 9, 9]
    assert Image.open(alone / "grid.png").size == (3 * 64, 2 * 64)


def test_two_processes_write_what_one_does(alone, tmp_path):
    done = run(*REQUEST, "--out", str(tmp_path), processes=2)
    assert done.returncode == 0, done.stderr
    with np.load(alone / "samples.npz") as one, np.load(tmp_path / "samples.npz") as two:
        assert one["seeds"].tolist() == two["seeds"].tolist()
        assert np.abs(one["images"].astype(int) - two["images"]).max() <= 1
    assert not (tmp_path / "parts").exists()


def test_a_folder_of_another_request_and_a_wrong_class_are_one_line_each(alone):
    other = run(*REQUEST, "--seed", "5", "--out", str(alone))
    wrong = run("sample", "uvit", "--classes", "hat", "--out", str(alone / "new"))
    for done, word in ((other, "another request"), (wrong, "'hat' is no class")):
        assert done.returncode == 1 and word in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (alone / "new").exists()


# --- Latte --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def write_config(tmp_path_factory):
    """Write a configuration file for a tiny pipeline, with some keys changed; returns its path."""
    folder = tmp_path_factory.mktemp("latte")
    tiny_latte.build().save_pretrained(folder / "model")
    settings = {"steps": 2, "guidance_scale": 4.0, "scheduler": "dpm-multi", "frames": 8, "height": 64, "width": 64}
    prompts = ["a red sneaker moving left", "a blue zebra", "a red coat"]

    def write(name: str, **changes) -> str:
        path = folder / f"{name}.yaml"
        config = settings | {"model": str(folder / "model"), "prompts": prompts, "out": str(folder / name)} | changes
        path.write_text(yaml.safe_dump(config))
        return str(path)

    return write


@pytest.fixture(scope="module")
def clips(write_config, tmp_path_factory):
    """A folder that one process has filled, and what it said on the way."""
    out = tmp_path_factory.mktemp("clips")
    done = run("sample", "latte", "--config", write_config("clips"), "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out, done


def test_clips_are_written_as_videos_pictures_and_numbers(clips):
    out, done = clips
    stems = ["000-a-red-sneaker-moving-left", "001-a-blue-zebra", "002-a-red-coat"]
    files = [f"{stem}.{suffix}" for stem in stems for suffix in ("gif", "mp4", "png")]
    assert sorted(path.name for path in out.iterdir()) == [*files, "request.json", "samples.npz"]
    assert done.stdout.strip().splitlines()[-1].endswith(out.name)
    assert done.stderr.strip() == "'a blue zebra': the model does not know zebra."
    with np.load(out / "samples.npz") as saved:
        assert saved["videos"].shape == (3, 8, 64, 64, 3) and saved["videos"].dtype == np.uint8
        assert saved["prompts"][1] == "a blue zebra"


def test_two_processes_write_the_clips_that_one_does(clips, write_config):
    config = write_config("shared")
    done = run("sample", "latte", "--config", config, processes=2)
    assert done.returncode == 0, done.stderr
    out = config.removesuffix(".yaml")
    with np.load(clips[0] / "samples.npz") as one, np.load(f"{out}/samples.npz") as two:
        assert one["seeds"].tolist() == two["seeds"].tolist()
        assert np.abs(one["videos"].astype(int) - two["videos"]).max() <= 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0, "stepz": 3}, ["steps: 0", "no key stepz: did you mean steps?"]),
        ({"frames": 5, "width": 128}, ["frames: 5 does not fit", "width: 128 does not fit"]),
        ({"prompts": ["a red coat"]}, ["another request"]),
    ],
    ids=["slips", "misfit", "other"],
)
def test_what_latte_cannot_do_is_a_line_for_each_problem(clips, write_config, monkeypatch, capsys, changes, words):
    config = write_config("wrong", **changes)
    monkeypatch.setattr(sys, "argv", ["tutorial_utils", "sample", "latte", "--config", config, "--out", str(clips[0])])
    assert cli.main() == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == len(words) and all(word in line for word, line in zip(words, lines, strict=True))
