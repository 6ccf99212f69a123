"""All lessons at `full`, end to end: real downloads by the real clients from a hub on loopback, then every cell.

The hub's files have the published names and formats with small random weights (`small.py`), and the manifest their
checksums. Two things are shortened: lesson 2 trains for three epochs, and lesson 4 makes small clips in few steps.
"""

import hashlib
import json
import os
import shutil
import tomllib
from pathlib import Path

import hub as hubs
import pytest
import small

from tutorial_utils.assets import store
from tutorial_utils.assets.manifest import MANIFEST
from tutorial_utils.execution import execute, find_notebooks, obstacle

pytestmark = pytest.mark.full

HERE = Path(__file__).parent

SHORTER = {
    "02_vivit_organmnist3d.ipynb": [(r"\"full\": (60, 120)", r"\"full\": (3, 3)")],
    "configs/latte_full.yaml": [
        ("steps: 50", "steps: 3"),
        ("height: 512", f"height: {small.LATTE_SIDE}"),
        ("width: 512", f"width: {small.LATTE_SIDE}"),
    ],
}

SMALLER = {
    "03_uvit_sampling.ipynb": [
        ("by_class.SETTINGS[scale]", "diffusion.Settings('dpm-single', 6, 4.0)"),
        ("per_class = 4", "per_class = 1"),
        (r"many = 300 if scale == \"mini\" else 32", "many = 16"),
        ("many_steps = 200", "many_steps = 60"),
    ],
    "04_latte_video_generation.ipynb": [("guidance = [1.0, 2.0, 6.0, 12.0]", "guidance = [1.0, 2.0]")],
}
"""What is smaller still where lessons run for the sake of their precision."""

ABOUT_WEIGHTS = {
    "01_vit_inference": set(),
    "02_vivit_organmnist3d": {"the model has learned", "every one of them beats guessing"},
    "03_uvit_sampling": {
        "a round trip costs little: at least 20 dB",
        "about as large as standard normal noise",
        "most of the change stays near",
        "without skips the noise is harder to predict",
        "guidance makes the variety smaller",
        "most samples are taken for what was asked for",
    },
    "04_latte_video_generation": set(),
}
"""The facts of each lesson that random weights, or three epochs, may make false."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return small.build(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def hub(folders):
    """ModelScope, Hugging Face and a plain server in one, with what each of them has."""
    with hubs.Hub() as serving:
        for name, folder in folders.items():
            asset = store.COURSE.find(name, "full")
            content = {file.path: (folder / file.path).read_bytes() for file in asset.files}
            for model, place in ((asset.modelscope, serving.modelscope), (asset.huggingface, serving.huggingface)):
                if model:
                    place[model] = content
            if asset.urls:
                serving.plain |= {f"/{path}": body for path, body in content.items()}
        yield serving


@pytest.fixture(scope="module")
def classroom(folders, hub, tmp_path_factory) -> Path:
    """A copy of the lessons, and an environment in which they meet the hub and an empty cache."""
    root = tmp_path_factory.mktemp("classroom")
    shutil.copytree(find_notebooks()[0].parent, root / "notebooks")
    change(root / "notebooks", SHORTER)
    (root / "manifest.toml").write_text(manifest(folders, hub.url), encoding="utf-8")
    startup = root / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(HERE / "startup.py", startup / "00-startup.py")
    return root


def change(folder: Path, table: dict[str, list[tuple[str, str]]]) -> None:
    """Put other texts in the place of those that must each stand in a file once."""
    for name, changes in table.items():
        text = (folder / name).read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        (folder / name).write_text(text, encoding="utf-8")


def manifest(folders: dict[str, Path], url: str) -> str:
    """The course's manifest, with the sizes and checksums that the folders' files have and the hub's addresses."""
    entries = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    for name in folders:
        files = small.sizes(folders[name], name)
        full = entries[name]["full"]
        full["files"] = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in files]
        if "urls" in full:
            full["urls"] = [f"{url}/{files[0].path}"]
            digest = hashlib.md5((folders[name] / files[0].path).read_bytes()).hexdigest()
            full["editions"] = [{"name": "the stand-in", "md5": digest}]
    return "\n".join(f"[{json.dumps(name)}]\n{table(entry)}" for name, entry in entries.items())


def table(entry: dict) -> str:
    """A table of the manifest as TOML."""
    return "".join(f"{json.dumps(key)} = {inline(value)}\n" for key, value in entry.items())


def inline(value: object) -> str:
    """A value as TOML writes it within a line; of numbers, strings and lists JSON's form is also TOML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@pytest.fixture
def run(classroom, hub, tmp_path, monkeypatch):
    """Run a notebook in the classroom: what came of it, and the facts that were false."""
    false_facts = tmp_path / "false"
    false_facts.touch()
    for name in [name for name in os.environ if name.startswith("TUTORIAL_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "TUTORIAL_SCALE": "full",
        "TUTORIAL_DEVICE": "cpu",
        "MODELSCOPE_ENDPOINT": hub.url,
        "HF_ENDPOINT": hub.url,
        "XDG_CACHE_HOME": str(classroom / "cache"),
        "IPYTHONDIR": str(classroom / "ipython"),
        "TEST_MANIFEST": str(classroom / "manifest.toml"),
        "TEST_UVIT": json.dumps(small.UVIT),
        "TEST_FALSE_FACTS": str(false_facts),
    }.items():
        monkeypatch.setenv(name, value)

    def execute_there(path: Path):
        notebook, outcome = execute(path, lambda done, total: None)
        assert not outcome.error
        assert set(false_facts.read_text(encoding="utf-8").splitlines()) <= ABOUT_WEIGHTS[path.stem]
        assert outcome.facts >= 8
        return notebook

    return execute_there


@pytest.mark.parametrize("lesson", [path.stem for path in find_notebooks()])
def test_every_cell_runs_on_what_was_downloaded(lesson, classroom, run):
    if reason := obstacle(classroom / "notebooks" / f"{lesson}.ipynb"):
        pytest.skip(reason)
    notebook = run(classroom / "notebooks" / f"{lesson}.ipynb")
    card = next(cell for cell in notebook.cells if cell.get("outputs")).outputs[0]["data"]["text/plain"]
    assert "full, about" in card and "to download" in card


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["smaller", "whole"])
@pytest.mark.parametrize("lesson", ["03_uvit_sampling", "04_latte_video_generation"])
def test_the_facts_hold_in_bfloat16(lesson, whole, classroom, run, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_PRECISION", "bfloat16")
    shutil.copytree(classroom / "notebooks", tmp_path / "notebooks")
    if not whole:
        change(tmp_path / "notebooks", {f"{lesson}.ipynb": SMALLER[f"{lesson}.ipynb"]})
    run(tmp_path / "notebooks" / f"{lesson}.ipynb")
