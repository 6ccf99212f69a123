"""`python -m tutorial_utils train`: each recipe in seconds, own pictures, and what is refused and why."""

import json
import logging
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, LattePipeline
from PIL import Image
from transformers import ViTForImageClassification

from tutorial_utils import __main__ as cli
from tutorial_utils import surroundings
from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES, fashion_mnist_tensors
from tutorial_utils.networks.uvit import load_uvit
from tutorial_utils.recipes import latte, uvit, vae, vit
from tutorial_utils.recipes.latte import Recipe as LatteRecipe
from tutorial_utils.recipes.pictures import LEAST, Pictures
from tutorial_utils.recipes.training import shortened
from tutorial_utils.recipes.uvit import Recipe as UvitRecipe
from tutorial_utils.recipes.vae import Recipe as VaeRecipe
from tutorial_utils.recipes.vit import Recipe as VitRecipe
from tutorial_utils.sampling import by_class

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def train(capsys, monkeypatch, tmp_path):
    """Run `python -m tutorial_utils train`, or another command, in an empty folder: status, output and complaints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(surroundings, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(logging.getLogger("recipes"), "handlers", [])

    def run(*arguments, command=("train",)) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["python -m tutorial_utils", *command, *map(str, arguments)])
        try:
            status = cli.main()
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


def draw(folder: Path, counts: dict[str, int]) -> Path:
    """Noisy pictures, 40 wide and 30 high, with a bar that lies in one class and stands in the other."""
    chance = np.random.default_rng(0)
    for place, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = chance.integers(0, 60, (30, 40, 3), np.uint8)
            across = slice(12, 18) if place else slice(None)
            pixels[across, slice(None) if place else slice(17, 23)] = 230
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    return folder


@pytest.fixture
def bars(tmp_path) -> Path:
    return draw(tmp_path / "bars", {"standing": 15, "lying": 12})


# --- Own pictures -------------------------------------------------------------------------------------------------


def test_a_folder_becomes_pictures_in_the_form_of_fashion_mnist(bars):
    pictures = Pictures.of_folder(bars)
    grey, labels = pictures.train
    assert grey.shape == (12 + 10, 1, 28, 28) and grey.dtype == torch.float32 and 0 <= grey.min() <= grey.max() <= 1
    assert pictures.names == ("lying", "standing") and labels.bincount().tolist() == [10, 12]
    assert pictures.test[1].bincount().tolist() == [2, 3]
    rows, columns = (grey[labels == label][:, 0].mean(0) for label in (0, 1))
    assert rows[14].mean() > 2 * rows[8].mean() and columns[:, 14].mean() > 2 * columns[:, 6].mean()


def test_every_fifth_picture_by_name_is_for_the_test_and_stays_there(tmp_path):
    counts = {"a": 11, "b": 10}
    folder = draw(tmp_path / "all", counts)
    for number in range(11):  # a picture's brightness tells its number, its frame keeps it from being stretched
        pixels = np.zeros((28, 28), np.uint8)
        pixels[5:20, 5:20], pixels[10, 10] = 20 * (number + 1), 255
        Image.fromarray(pixels).save(folder / "a" / f"{number:03}.png")
    first, again = Pictures.of_folder(folder), Pictures.of_folder(folder)
    found = [
        sorted((part[0][part[1] == 0][:, 0, 6, 6] * 255 / 20).round().int().tolist())
        for part in (first.test, first.train)
    ]
    assert found == [[5, 10], [1, 2, 3, 4, 6, 7, 8, 9, 11]]
    assert torch.equal(first.train[0], again.train[0]) and first.key == again.key
    (folder / "a" / "010.png").unlink()
    assert Pictures.of_folder(folder).key != first.key


def test_pictures_may_lie_in_folders_of_their_class(tmp_path):
    some = draw(tmp_path / "some", {"a/one": 6, "a/two": 6, "b": 12})
    assert Pictures.of_folder(some).names == ("a", "b")
    assert (
        Pictures.of_folder(draw(tmp_path / "more", {"a/one": 12, "b/two": 12})).train[1].bincount().tolist() == [10] * 2
    )


def test_names_of_folders_do_not_spoil_the_card(tmp_path):
    some = draw(tmp_path / "it's mine", {"a|b": 10, "连衣裙": 10})
    pictures = Pictures.of_folder(some)
    assert "(a\\|b 10, 连衣裙 10)" in pictures.said
    assert """--images 'it'"'"'s mine'`""" in pictures.command("vit", 1.0)


def test_what_systems_leave_in_folders_is_no_picture(bars):
    before = Pictures.of_folder(bars)
    for name in (".DS_Store", "lying/.DS_Store", "lying/Thumbs.db", "notes.txt"):
        (bars / name).write_text("nothing to see")
    for hidden in (".git", "lying/.ipynb_checkpoints"):
        (bars / hidden).mkdir()
        (bars / hidden / "x").write_text("nor here")
    assert Pictures.of_folder(bars).key == before.key


def test_the_garments_are_fashion_mnist():
    pictures = Pictures.of_garments()
    for part, split in ((pictures.train, "train"), (pictures.test, "test")):
        assert all(torch.equal(*pair) for pair in zip(part, fashion_mnist_tensors(split), strict=True))
    assert pictures.names == FASHION_CLASSES


# --- What is refused ----------------------------------------------------------------------------------------------


def spoil(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder


FOLDERS = {
    "none at all": (lambda at: at / "nowhere", ["nowhere is not there"]),
    "a file": (lambda at: spoil(at, "file.png", b"x") / "file.png", ["file.png is a file"]),
    "no subfolders": (lambda at: spoil(at, "1.png", b"x"), ["has no subfolders", "a subfolder for each class"]),
    "one class": (lambda at: draw(at / "some", {"cats": 12}), ["one class only, 'cats'", "two or more"]),
    "too few": (
        lambda at: draw(at / "some", {"cats": LEAST, "dogs": LEAST - 1, "cows": 0}),
        [f"'dogs' has {LEAST - 1}", "'cows' has 0", f"{LEAST} pictures or more"],
    ),
    "parts of a data set": (
        lambda at: draw(at / "some", {"train/cats": 12, "train/dogs": 12, "test/cats": 12, "test/dogs": 12}),
        ["the same folders in each of its folders, 'cats', 'dogs'", "a subfolder for each class"],
    ),
    "no picture": (
        lambda at: spoil(draw(at / "some", {"cats": 10, "dogs": 10}), "cats/zzz.txt", b"a cat"),
        ["zzz.txt", "not a picture", "take it out"],
    ),
    "half a picture": (
        lambda at: spoil(draw(at / "some", {"cats": 10, "dogs": 10}), "cats/zz.png", b"\x89PNG\r\n\x1a\n\0\0"),
        ["zz.png", "take it out"],
    ),
}


@pytest.mark.parametrize(("make", "parts"), FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("recipe", ["vit", "vae", "uvit"])
def test_a_wrong_folder_is_refused_in_a_line_and_nothing_is_written(train, tmp_path, recipe, make, parts):
    status, _, err = train(recipe, "--images", make(tmp_path))
    assert status == 1 and len(err.splitlines()) == 1, err
    assert [part for part in parts if part not in err] == []
    assert not (tmp_path / "build").exists() and not (tmp_path / "cache").exists()


ORDERS = {
    "no such recipe": (["bert"], ["'bert'", "vit, vae, uvit, latte, vivit"]),
    "pictures for latte": (["latte", "--images", "."], ["latte takes no --images", "films", "vit, vae, uvit"]),
    "pictures for vivit": (["vivit", "--images", "."], ["vivit takes no --images", "volumes"]),
    "no share": (["vae", "--share", "0"], ["--share 0.0", "more than 0"]),
    "more than all": (["vae", "--share", "1.5"], ["--share 1.5", "at most 1"]),
    "no number": (["vae", "--share", "nan"], ["--share nan"]),
    "a file for --work": (["vae", "--work", "file"], ["file", "--work"]),
    "a file for --out": (["vae", "--out", "file"], ["file", "--out"]),
    "a folder with something in it": (["vae", "--out", "mine"], ["--out mine", "has something in it"]),
}


@pytest.mark.parametrize(("arguments", "parts"), ORDERS.values(), ids=ORDERS)
def test_a_training_that_cannot_be_is_refused_in_a_line_and_nothing_is_lost(train, tmp_path, arguments, parts):
    (tmp_path / "mine").mkdir()
    for kept in ("file", "mine/file"):
        (tmp_path / kept).write_text("mine")
    status, _, err = train(*arguments)
    assert status == 1 and len(err.splitlines()) == 1, err
    assert [part for part in parts if part not in err] == []
    assert {path.name for path in tmp_path.iterdir()} == {"file", "mine"}
    assert (tmp_path / "mine/file").read_text() == (tmp_path / "file").read_text() == "mine"


# --- Training -----------------------------------------------------------------------------------------------------


TINY = {
    "vit": VitRecipe(epoch=32, batch_size=16, teacher_epochs=10, epochs=20, whole_epochs=10, refine_epochs=10),
    "vae": VaeRecipe(widths=(4, 4, 4, 4), steps=40, tinted_steps=10, grey_stills=2, tinted_stills=2, frames=4),
    "uvit": UvitRecipe(embed_dim=32, num_heads=2, depth=2, steps=40, batch_size=8),
    "latte": LatteRecipe(
        **{"width": 16, "heads": 2, "layers": 1, "text_width": 32, "text_layers": 1, "clips": 8, "sentences": 2},
        **{"schedule": 40, "steps": 40, "frame_steps": 10, "frame_batch": 2, "clip_batch": 2},
    ),
}


@pytest.fixture
def tiny(monkeypatch):
    """The recipes with little to do, and little to learn from if they take garments."""
    for module in (vit, vae, uvit, latte):
        monkeypatch.setattr(module, "Recipe", partial(lambda name: TINY[name], module.__name__.split(".")[-1]))
    monkeypatch.setattr(uvit, "SAMPLES", 20)
    monkeypatch.setattr(latte, "judge_clips", partial(latte.judge_clips, count=4))
    monkeypatch.setattr(latte, "judge_partial", partial(latte.judge_partial, count=2))
    few = {split: [part[:60] for part in fashion_mnist_tensors(split)] for split in ("train", "test")}
    monkeypatch.setattr("tutorial_utils.recipes.pictures.fashion_mnist_tensors", few.__getitem__)


LOADED = {
    "vit": (ViTForImageClassification.from_pretrained, lambda network: list(network.config.id2label.values())),
    "vae": (AutoencoderKL.from_pretrained, None),
    "uvit": (load_uvit, lambda network: network.null_label),
}


SHOWN = {
    "vit": ["reading", "teacher", "student", "refined", "judging"],
    "vae": ["reading", "vae", "encoding", "reconstructing"],
    "uvit": ["reading", "encoding", "uvit", "sampling", "decoding"],
}
"""The progress bars of all that may take a while."""


@pytest.mark.parametrize("recipe", LOADED)
def test_a_network_is_trained_on_own_pictures_and_its_card_says_so(train, tiny, bars, tmp_path, recipe):
    status, out, err = train(recipe, "--images", bars, "--share", "0.1")
    assert status == 0, err
    folder = Path("build", f"{recipe}-bars")
    load, classes = LOADED[recipe]
    if classes:
        assert classes(load(folder)) == {"vit": ["lying", "standing"], "uvit": 2}[recipe]
    load(folder)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "27 own pictures from the folder `bars` (lying 12, standing 15)" in card
    assert f"`python -m tutorial_utils train {recipe} --images bars --share 0.1`" in card
    others = (
        "Fashion",
        "fashion_mnist",
        "ten kinds",
        "10,000",
        "shirt",
        "as ViT-mini judges",
        "Fréchet",
        "apache",
        "Not copies",
    )
    assert [word for word in others if word in card] == []
    assert str(tmp_path) not in card and "{" not in card
    assert card.split("# ", 1)[1].splitlines()[-1] in out  # it is shown
    assert [title for title in SHOWN[recipe] if f"{title} ━" not in out] == []
    taken = json.loads((folder / "metrics.json").read_text())["recipe"]
    assert {"vit": ("epochs", 2), "vae": ("steps", 4), "uvit": ("steps", 4)}[recipe] in taken.items()
    assert (folder / "samples.png").exists() == (recipe == "uvit")


def test_what_was_trained_on_own_pictures_is_sampled_by_the_names_of_their_classes(train, tiny, bars, monkeypatch):
    def sample(*arguments) -> tuple[int, str, str]:
        return train(*arguments, "--num", "2", "--steps", "2", command=("sample", "uvit"))

    assert train("uvit", "--images", bars, "--share", "0.1", "--out", "net")[0] == 0
    assert "sample uvit --checkpoint" in Path("net/README.md").read_text(encoding="utf-8")
    assert json.loads(Path("net/vae/config.json").read_text())["_name_or_path"] == "vae-mini"  # and no place
    monkeypatch.setattr(by_class, "fetch", None)  # its VAE is its own
    status, out, err = sample("--checkpoint", "net", "--classes", "Standing", "--out", "drawn")
    assert status == 0 and out.endswith("drawn\n"), err
    with np.load("drawn/samples.npz") as saved:
        assert saved["images"].shape == (2, 64, 64, 3) and saved["labels"].tolist() == [1, 1]
    status, _, err = sample("--checkpoint", "net", "--classes", "bag", "--out", "bags")
    assert status == 1 and "'bag' is no class: choose from 0 to 1, or lying, standing." in err
    assert train("uvit", "--images", bars, "--share", "0.2", "--out", "other")[0] == 0
    status, _, err = sample("--checkpoint", "other", "--classes", "Standing", "--out", "drawn")
    assert status == 1 and "another request" in err  # what another network draws is something else


@pytest.mark.parametrize(
    ("folder", "words"), [("nowhere", "`train uvit` has made"), ("empty", "holds no U-ViT"), ("vit", "not a UViT")]
)
def test_what_no_u_vit_is_in_is_refused_as_a_checkpoint_in_a_line(train, tmp_path, folder, words):
    (tmp_path / "empty").mkdir()
    ViTForImageClassification(vit.student_config(("a", "b"))).save_pretrained(tmp_path / "vit")
    status, _, err = train("--checkpoint", folder, "--out", "drawn", command=("sample", "uvit"))
    assert status == 1 and words in err and len(err.splitlines()) == 1, err
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize("recipe", [*LOADED, "latte"])
def test_a_network_is_trained_on_the_courses_garments_by_default(train, tiny, recipe, monkeypatch):
    if recipe == "latte":
        monkeypatch.setattr(latte, "fashion_mnist_tensors", fashion_mnist_tensors)
    if recipe == "uvit":  # distances of 60 images, whose covariances are no matter here
        monkeypatch.setattr(uvit, "SAMPLES", 60)
    status, _, err = train(recipe, "--share", "0.01", "--out", "net")
    assert status == 0, err
    load = LattePipeline.from_pretrained if recipe == "latte" else LOADED[recipe][0]
    load(Path("net"))
    card = Path("net/README.md").read_text(encoding="utf-8")
    assert "Fashion-MNIST" in card and "license: apache-2.0" in card and "own pictures" not in card
    assert f"`python -m tutorial_utils train {recipe} --share 0.01`, a share of 0.01 of the recipe's length" in card


def test_an_interrupted_training_goes_on_and_ends_as_an_uninterrupted_one(train, tiny, bars, monkeypatch):
    assert train("vae", "--images", bars, "--out", "whole", "--work", "one")[0] == 0
    steps, learn = [], vae.loss_of

    def power_fails(*arguments):
        steps.append(1)
        if len(steps) == 15:
            raise KeyboardInterrupt
        return learn(*arguments)

    monkeypatch.setattr(vae, "loss_of", power_fails)
    status, _, err = train("vae", "--images", bars, "--out", "cut", "--work", "two")
    assert status == cli.INTERRUPTED and "what was finished is kept" in err and not Path("cut").exists()
    assert train("vae", "--images", bars, "--out", "cut", "--work", "two")[0] == 0
    assert len(steps) == 15 + 40 - 14
    whole, cut = (Path(name, "diffusion_pytorch_model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_other_pictures_or_another_share_begin_a_training_of_their_own(train, tiny, bars):
    assert train("vae", "--images", bars, "--share", "0.1", "--out", "a")[0] == 0
    assert train("vae", "--images", bars, "--share", "0.2", "--out", "b")[0] == 0
    (bars / "lying" / "000.png").unlink()
    assert train("vae", "--images", bars, "--share", "0.1", "--out", "c")[0] == 0
    states = list(Path("cache/training").glob("vae-*/vae.pt"))
    assert len(states) == 3


def test_a_share_shortens_steps_and_epochs_and_nothing_else():
    short = shortened(VitRecipe(), 0.1)
    assert (short.teacher_epochs, short.epochs, short.whole_epochs, short.refine_epochs) == (1, 2, 1, 1)
    assert short.warmup_epochs == VitRecipe.warmup_epochs and short.batch_size == VitRecipe.batch_size
    short = shortened(LatteRecipe(), 0.01)
    assert (short.schedule, short.steps, short.frame_steps, short.warmup) == (134, 117, 20, 3)
    assert short.frame_every == LatteRecipe.frame_every
    assert shortened(UvitRecipe(), 1.0) == UvitRecipe()
