"""A file counts if it is what it should be, and not because it is there: in finished folders, parts and states."""

import shutil
from pathlib import Path
from unittest import mock

import models
import numpy as np
import pytest
import torch
import yaml
from commandline import REQUEST, run, tiny_networks
from PIL import Image

from tutorial_utils.figures import films
from tutorial_utils.recipes import training
from tutorial_utils.sampling import latte_model, shards

DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another kind": lambda path: path.write_bytes(b"<html>Not found</html>"),
}
damaged = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)


def contents(out: Path) -> dict[str, object]:
    """What the files of a finished folder hold, as far as one can tell whether it is the same."""
    found = {path.name: path.stat().st_size > 0 for path in out.iterdir()}
    with np.load(out / "samples.npz") as saved:
        found |= {name: saved[name].tolist() for name in saved}
    return found | {path.name: np.asarray(Image.open(path)).tolist() for path in out.glob("*.png")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    out = tmp_path_factory.mktemp("pictures") / "out"
    with tiny_networks:
        assert run(*REQUEST, str(out))[0] == 0
    return out


@tiny_networks
@damaged
@pytest.mark.parametrize("name", ["samples.npz", "grid.png"])
def test_a_finished_folder_of_pictures_is_made_whole_again(name, damage, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "out")
    damage(tmp_path / "out" / name)
    status, _, err = run(*REQUEST, str(tmp_path / "out"))
    assert status == 0 and contents(tmp_path / "out") == contents(pictures)
    told = name == "samples.npz" and damage is not DAMAGE["gone"]
    assert ("is damaged: its samples are made anew" in err) == told


@tiny_networks
@pytest.mark.parametrize("keys", [["images"], ["images", "labels", "seeds"]], ids=["too few arrays", "too few samples"])
def test_samples_that_are_too_few_do_not_count_as_all(keys, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "out")
    with np.load(pictures / "samples.npz") as saved:
        np.savez(tmp_path / "out" / "samples.npz", **{key: saved[key][:1] for key in keys})
    assert run(*REQUEST, str(tmp_path / "out"))[0] == 0
    assert contents(tmp_path / "out") == contents(pictures)


@tiny_networks
@pytest.mark.parametrize(
    "damage", [*DAMAGE.values(), lambda path: np.savez(path, samples=np.zeros((0, 1)))], ids=[*DAMAGE, "no samples"]
)
def test_a_part_that_is_damaged_is_made_anew(damage, pictures, tmp_path):
    out = tmp_path / "out"
    with mock.patch.object(shards, "_read", side_effect=KeyboardInterrupt):  # at the end, with all parts there
        assert run(*REQUEST, str(out))[0] == 130
    damage(sorted((out / "parts").glob("*.npz"))[0])
    assert run(*REQUEST, str(out))[0] == 0
    assert contents(out) == contents(pictures)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips, and the command that makes them."""
    folder = tmp_path_factory.mktemp("clips")
    models.latte().save_pretrained(folder / "model")
    settings = {"steps": 1, "guidance_scale": 1.0, "scheduler": "ddim", "frames": 8, "height": 64, "width": 64}
    prompts = ["a red bag moving left", "a blue bag moving up"]
    places = {"model": str(folder / "model"), "out": str(folder / "out")}
    config = settings | places | {"prompts": prompts, "batch_size": 2}
    (folder / "clips.yaml").write_text(yaml.safe_dump(config))
    assert run("sample", "latte", "--config", str(folder / "clips.yaml"))[0] == 0
    return folder


@pytest.mark.parametrize("damage", [DAMAGE["gone"], DAMAGE["cut short"]], ids=["gone", "cut short"])
@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_a_finished_folder_of_clips_is_made_whole_again(suffix, damage, clips):
    out = clips / "out"
    before, victim = contents(out), sorted(out.glob(f"*{suffix}"))[1]
    damage(victim)
    with mock.patch.object(latte_model, "load_pipeline", lambda *_: models.latte()):
        assert run("sample", "latte", "--config", str(clips / "clips.yaml"))[0] == 0
    assert contents(out) == before and films.plays(victim)


@pytest.mark.parametrize("damage", [DAMAGE["empty"], DAMAGE["cut short"], DAMAGE["another kind"]])
def test_a_state_of_training_that_is_damaged_is_named(damage, tmp_path):
    training.save_state(tmp_path / "state.pt", {"step": 3, "weights": torch.zeros(1_000)})
    damage(tmp_path / "state.pt")
    with pytest.raises(ValueError, match="state.pt could not be read"):
        training.load_state(tmp_path / "state.pt")
