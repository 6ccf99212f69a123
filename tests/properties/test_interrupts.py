"""Ctrl-C at any moment keeps what is finished, whole, and the next run goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import models
import nbformat.v4
import numpy as np
import psutil
import pytest
import yaml
from commandline import REQUEST, assert_all_whole, run, tiny_networks
from fetching import npz, write_manifest
from hub import Hub
from PIL import Image

from tutorial_utils import execution
from tutorial_utils.sampling import shards

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
PICTURE, ARRAYS = Image.Image.save, np.savez


def interrupted_in_the_middle(write, file_of):
    """As `write`, but after half of the file comes Ctrl-C."""

    def half(*arguments, **options):
        write(*arguments, **options)
        file = file_of(*arguments)
        path = file if isinstance(file, Path) else Path(file.name)
        if hasattr(file, "flush"):
            file.flush()
        os.truncate(path, path.stat().st_size // 2)
        raise KeyboardInterrupt

    return half


@tiny_networks
@pytest.mark.parametrize(
    ("where", "write", "file_of"),
    [
        ("PIL.Image.Image.save", PICTURE, lambda picture, file, *_: file),
        ("numpy.savez", ARRAYS, lambda file, **_: file),
    ],
    ids=["a picture", "samples"],
)
def test_ctrl_c_while_a_file_is_written_leaves_no_half_of_it(tmp_path, where, write, file_of):
    with mock.patch(where, interrupted_in_the_middle(write, file_of)):
        status, _, err = run(*REQUEST, str(tmp_path))
    assert status == 130 and err.startswith("Interrupted: ")
    assert_all_whole(tmp_path)
    assert run(*REQUEST, str(tmp_path))[0] == 0
    assert_all_whole(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "request.json", "samples.npz"]


def heed_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        preexec_fn=heed_ctrl_c,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def interrupt(process: subprocess.Popen, when) -> str:
    """Send Ctrl-C as soon as `when()` holds; the program's complaints, after it has ended as it should."""
    deadline = time.monotonic() + 200
    while not when():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate(timeout=5)
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    return err


def assert_says_interrupted(err: str) -> None:
    (line,) = err.strip().splitlines()
    assert line.startswith("Interrupted: what was finished is kept")


def latte_config(folder: Path) -> Path:
    models.latte().save_pretrained(folder / "model")
    config = {
        "model": str(folder / "model"),
        "prompts": [f"a {colour} bag moving left" for colour in ("red", "blue", "green", "cyan", "yellow", "magenta")],
        "steps": 12,
        "guidance_scale": 4.0,
        "scheduler": "ddim",
        "frames": 8,
        "height": 64,
        "width": 64,
        "batch_size": 2,
        "out": str(folder / "unused"),
    }
    (folder / "latte.yaml").write_text(yaml.safe_dump(config))
    return folder / "latte.yaml"


@POSIX
@pytest.mark.parametrize("what", ["uvit", "latte"])
def test_an_interrupted_run_keeps_whole_batches_and_ends_with_the_same_samples(what, tmp_path):
    request = ["sample", what]
    if what == "uvit":
        request += ["--classes=0,1,2,3", "--num=4", "--batch-size=2", "--steps=20", "--out"]
    else:
        request += [f"--config={latte_config(tmp_path)}", "--out"]
    halfway, straight = tmp_path / "halfway", tmp_path / "straight"
    process = start("-m", "tutorial_utils", *request, str(halfway))
    assert_says_interrupted(interrupt(process, lambda: any(halfway.glob("parts/*.npz"))))
    parts = {path.name for path in halfway.glob("parts/*.npz")}
    assert parts and not (halfway / "samples.npz").exists()
    assert_all_whole(halfway)
    with mock.patch.object(shards, "_write_npz", wraps=shards._write_npz) as write:
        assert run(*request, str(halfway))[0] == 0
    assert parts.isdisjoint(call.args[0].name for call in write.call_args_list)
    assert run(*request, str(straight))[0] == 0
    assert sorted(path.name for path in halfway.iterdir()) == sorted(path.name for path in straight.iterdir())
    with np.load(halfway / "samples.npz") as one, np.load(straight / "samples.npz") as other:
        assert all(np.array_equal(one[name], other[name]) for name in other)


NET = 'huggingface = "lab/net"\nfiles = [{ path = "config.json" }]'
FETCH = """
import sys
from pathlib import Path
from tutorial_utils import __main__
from tutorial_utils.assets import manifest, store
store.COURSE = store.Store(manifest.read(Path(sys.argv.pop(1))), Path("data"))
sys.exit(__main__.main())
"""


@POSIX
def test_an_interrupted_download_goes_on_where_it_was(tmp_path, monkeypatch):
    volumes = npz(np.random.default_rng(0).bytes(400_000))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    command = ["-c", FETCH, str(tmp_path / "assets.toml"), "assets", "fetch", "set", "--scale=full"]
    with Hub() as hub:
        hub.plain["/set.npz"], hub.rate = volumes, 100_000
        write_manifest(tmp_path, NET, [f"{hub.url}/set.npz"], volumes)
        process = start(*command)

        def begun() -> bool:
            return any(path.stat().st_size for path in (tmp_path / "cache").rglob("set.npz*"))

        assert "Interrupted: what was finished is kept" in interrupt(process, begun)
        assert not any((tmp_path / "cache").rglob("set.npz")) and not (tmp_path / "cache" / "set-full").exists()
        hub.rate = None
        _, err = (process := start(*command)).communicate(timeout=200)
        assert process.returncode == 0, err
        assert (tmp_path / "cache" / "set-full" / "set.npz").read_bytes() == volumes
        assert [asked for path, asked in hub.log if path == "/set.npz"][-1] not in (None, "bytes=0-")


RUN = """
import sys
from pathlib import Path
from tutorial_utils import __main__, execution
execution.ROOT = Path(sys.argv.pop(1))
sys.exit(__main__.main())
"""


@POSIX
def test_an_interrupted_execution_stops_at_once_and_leaves_no_kernel_and_no_half_notebook(tmp_path):
    sources = {
        "01_first": "1",
        "02_second": "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(100)",
        "03_third": "3",
    }
    for name, source in sources.items():
        cells = [nbformat.v4.new_code_cell(source)]
        execution.write_notebook(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    process = start("-c", RUN, str(tmp_path), "run", "--out", str(tmp_path / "out"))
    kernels = []

    def begun() -> bool:
        kernels[:] = psutil.Process(process.pid).children(recursive=True)
        return (tmp_path / "notebooks" / "begun").exists()

    assert_says_interrupted(interrupt(process, begun))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["01_first.html", "01_first.ipynb"]
    _, alive = psutil.wait_procs(kernels, timeout=10)
    assert kernels and not alive
