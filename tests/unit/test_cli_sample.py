"""`sample uvit` with the bundled miniatures: one process, and two that share the work."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tutorial_utils.assets import find

pytestmark = pytest.mark.skipif(bool(find("uvit", "mini").ships_with), reason="U-ViT-mini is not shipped yet")

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
