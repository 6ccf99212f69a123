"""OrganMNIST3D: its synthetic stand-in, the reader of the real file, and the way to it. No network but the loopback."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fetching import change_course
from hub import Hub, closed_port

from tutorial_utils.assets import store
from tutorial_utils.assets.copies import AssetError
from tutorial_utils.assets.manifest import AssetFile, Edition
from tutorial_utils.datasets import organs
from tutorial_utils.datasets.organmnist3d import SYNTHETIC, Volumes, organmnist3d, read_organmnist3d, synthetic_organs
from tutorial_utils.datasets.organs import draw_organs

medmnist = pytest.importorskip("medmnist", reason="a light environment has no medmnist, which lesson 2 alone needs")

COUNTS = {"train": 971, "val": 161, "test": 610}
FEW = {"train": 3, "val": 2, "test": 2}
PAIRED = ("kidney", "femur", "lung")


@pytest.fixture(scope="module")
def stand_in():
    return synthetic_organs()


@pytest.fixture
def few(monkeypatch):
    """Let the set have `FEW` volumes, so that a test can write and read many files of it."""
    monkeypatch.setitem(medmnist.INFO["organmnist3d"], "n_samples", FEW)


def arrays(counts: dict[str, int] = FEW, seed: int = 0) -> dict[str, np.ndarray]:
    """The six arrays of the real file: labels count up, and images are black but for a few volumes' noise."""
    rng, content = np.random.default_rng(seed), {}
    for split, count in counts.items():
        images = np.zeros((count, 28, 28, 28), np.uint8)
        images[:3] = rng.integers(0, 256, images[:3].shape)
        content[f"{split}_images"] = images
        content[f"{split}_labels"] = (np.arange(count) % 11).astype(np.uint8)[:, None]
    return content


def npz(content: dict[str, np.ndarray]) -> bytes:
    archive = io.BytesIO()
    np.savez_compressed(archive, **content)
    return archive.getvalue()


def assert_layout(volumes: Volumes) -> None:
    assert volumes.names == tuple(medmnist.INFO["organmnist3d"]["label"].values())
    with pytest.raises(ValueError, match=r"no class 'Spleen'.* Did you mean 'spleen'\?$"):
        volumes.names.index("Spleen")
    for split, count in COUNTS.items():
        images, labels = getattr(volumes, split)
        assert images.shape == (count, 28, 28, 28) and images.dtype == np.uint8
        assert labels.shape == (count,) and labels.dtype == np.int64
        assert set(labels.tolist()) == set(range(11))


# --- The stand-in ---------------------------------------------------------------------------------


def test_stand_in_has_the_real_sets_layout_and_says_what_it_is(stand_in):
    assert_layout(stand_in)
    assert "synthetic" in stand_in.about and "no medical data" in stand_in.about


def test_no_volume_is_drawn_twice(stand_in):
    volumes = [volume.tobytes() for split in COUNTS for volume in getattr(stand_in, split)[0]]
    assert len(set(volumes)) == sum(COUNTS.values())


def test_seed_decides_everything(few):
    def content(seed: int) -> list[bytes]:
        volumes = synthetic_organs(seed)
        return [array.tobytes() for split in FEW for array in getattr(volumes, split)]

    assert content(3) == content(3)
    assert not set(content(3)) & set(content(4))


def test_more_slices_cut_the_same_box_more_finely(few):
    volumes = synthetic_organs(3, slices=56).test[0]
    assert volumes.shape[1:] == (56, 28, 28)
    pairs = volumes.reshape(-1, 28, 2, 28, 28).astype(float)
    neighbours = np.abs(pairs[:, :, 0] - pairs[:, :, 1]).mean()
    assert neighbours < np.abs(pairs[:, 1:, 0] - pairs[:, :-1, 0]).mean()


@pytest.mark.parametrize(("kind", "sign"), [("lung", -1), ("femur", 1)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_lungs_are_darker_than_their_surroundings_and_femurs_brighter(stand_in, kind, side, sign):
    images, labels = stand_in.train
    scans = images[labels == stand_in.names.index(f"{kind}-{side}")] / 255
    border = np.ones((28, 28, 28), bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert sign * (scans[:, 11:17, 11:17, 11:17].mean() - scans[:, border].mean()) > 0.05


@pytest.mark.parametrize("kind", PAIRED)
def test_left_organs_mirror_right_ones(kind):
    left, right = (draw_organs([f"{kind}-{side}"] * 3, np.random.default_rng(5)) for side in ("left", "right"))
    np.testing.assert_array_equal(left, right[..., ::-1])


@pytest.mark.parametrize("kind", PAIRED)
def test_sides_differ_in_shape(monkeypatch, kind):
    """Without pose, neighbours and noise, all that is left to tell a volume from its mirror image is the organ."""
    for name, value in {"TURN": 0.0, "SHIFT": 0.0, "NEIGHBOURS": 0, "NOISE": (0.0, 0.0)}.items():
        monkeypatch.setattr(organs, name, value)
    left, right = (draw_organs([f"{kind}-{side}"] * 3, np.random.default_rng(5)) for side in ("left", "right"))
    differ = np.abs(left.astype(int) - right) > 25
    assert (differ.sum(axis=(1, 2, 3)) > 20).all()


@pytest.mark.parametrize("name", ["spline", "kidney-up", ""])
def test_unknown_organ_is_named_with_what_there_is(name):
    with pytest.raises(ValueError, match=f"{name!r} is no organ.*liver.*pancreas"):
        draw_organs(["liver", name], np.random.default_rng(0))


# --- The reader of the real file ------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "organmnist3d.npz"
    path.write_bytes(npz(arrays(COUNTS)))
    return path


def test_real_file_is_read_in_the_same_layout(whole):
    volumes, written = read_organmnist3d(whole, "a test"), arrays(COUNTS)
    assert_layout(volumes)
    assert volumes.about == "a test"
    for split in COUNTS:
        images, labels = getattr(volumes, split)
        np.testing.assert_array_equal(images, written[f"{split}_images"])
        np.testing.assert_array_equal(labels, written[f"{split}_labels"][:, 0])
        assert images.flags.writeable  # torch warns about others


def test_labels_may_be_wider_integers(few, tmp_path):
    content = arrays()
    wide = {key: value.astype(np.int64) if "labels" in key else value for key, value in content.items()}
    (tmp_path / "wide.npz").write_bytes(npz(wide))
    _, labels = read_organmnist3d(tmp_path / "wide.npz", "a test").train
    assert labels.dtype == np.int64 and labels.tolist() == content["train_labels"][:, 0].tolist()


WRONG_ARRAYS = {
    "a missing array": ("val_labels", None, "no item named 'val_labels.npy'"),
    "other sides": (
        "train_images",
        np.zeros((3, 28, 28, 64), np.uint8),
        r"train_images is uint8 of shape \(3, 28, 28, 64\).*\(3, 28, 28, 28\)",
    ),
    "too few volumes": ("test_images", np.zeros((1, 28, 28, 28), np.uint8), r"test_images is .*\(1, 28, 28, 28\)"),
    "float images": ("val_images", np.zeros((2, 28, 28, 28), np.float32), "val_images is float32 .* has uint8"),
    "flat labels": ("train_labels", np.zeros(3, np.uint8), r"train_labels is uint8 of shape \(3,\).*\(3, 1\)"),
    "float labels": ("val_labels", np.zeros((2, 1)), "val_labels is float64 .* has integers"),
    "a label too large": ("test_labels", np.array([[10], [11]], np.uint8), "test_labels holds 11; .*0 to 10"),
    "a label too small": ("test_labels", np.array([[0], [-1]]), "test_labels holds -1; .*0 to 10"),
}


@pytest.mark.parametrize(("key", "value", "message"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_wrong_array_is_named_with_what_is_wrong(few, tmp_path, key, value, message):
    content = {name: array for name, array in (arrays() | {key: value}).items() if array is not None}
    path = tmp_path / "wrong.npz"
    path.write_bytes(npz(content))
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*{message}"):
        read_organmnist3d(path, "a test")


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def archive_of(member: bytes) -> bytes:
    """A sound zip archive whose first array is not one."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("train_images.npy", member)
    return archive.getvalue()


def changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


WHOLE = npz(arrays())
WHERE_LISTED = WHOLE.index(b"PK\x01\x02")  # the zip archive's entry for the first array
BROKEN_FILES = {
    "cut short": (WHOLE[:-1000], "not a zip file"),
    "cut in half": (WHOLE[: len(WHOLE) // 2], "not a zip file"),
    "empty": (b"", "not a zip file"),
    "a web page": (b"<!doctype html>", "not a zip file"),
    "a bare array": (npy(), "not a zip file"),
    "a byte of an image": (changed(WHOLE, 5_000), "CRC-32|decompressing"),
    "an unknown compression": (changed(WHOLE, WHERE_LISTED + 10), "compression"),
    "no array in the archive": (archive_of(b"hello, world"), "the magic string is not correct"),
    "half an array in the archive": (archive_of(npy()[:-1]), "array data"),
    "an array's damaged header": (archive_of(npy().replace(b"(3,)", b"(3,(")), "EOF|parse header"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_broken_file_is_named_with_what_is_wrong(few, tmp_path, content, message):
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} could not be read.*({message}).*Fetch"):
        read_organmnist3d(path, "a test")


def test_missing_file_is_named(tmp_path):
    path = tmp_path / "none.npz"
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} could not be read.*No such file"):
        read_organmnist3d(path, "a test")


class Bomb:
    """Unpickling it creates a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("bare", [False, True], ids=["in the archive", "instead of it"])
def test_code_in_the_file_is_refused_and_not_run(few, tmp_path, bare):
    path, run = tmp_path / "bomb.npz", tmp_path / "run"
    bomb = np.array([Bomb(run)], object)
    path.write_bytes(pickle.dumps(bomb) if bare else npz(arrays() | {"train_images": bomb}))
    message = "not a zip file" if bare else "Object arrays cannot be loaded"
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} could not be read.*{message}"):
        read_organmnist3d(path, "a test")
    assert not run.exists()
    pickle.loads(path.read_bytes()) if bare else np.load(path, allow_pickle=True)["train_images"]
    assert run.exists()  # it would have run


# --- The way to the real file ---------------------------------------------------------------------

EDITIONS = {"the first": npz(arrays(seed=1)), "the second": npz(arrays(seed=2))}
UNKNOWN = npz(arrays(seed=3))


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def hub(few, tmp_path, monkeypatch):
    """A server and an empty cache."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    change_course(own=tmp_path / "own")
    with Hub() as hub:
        yield hub


def serve_from(*urls: str) -> None:
    """The course's OrganMNIST3D, with these addresses and the editions of this test."""
    editions = tuple(Edition(name, md5(content)) for name, content in EDITIONS.items())
    published = store.COURSE.find("organmnist3d", "full")
    change_course(
        assets=(replace(published, urls=urls, files=(AssetFile("organmnist3d.npz", mb=0.1),), editions=editions),)
    )


@pytest.mark.parametrize(("name", "seed"), [("the first", 1), ("the second", 2)])
def test_either_edition_is_downloaded_once_read_and_named(hub, name, seed):
    hub.plain["/set.npz"] = EDITIONS[name]
    serve_from(f"{hub.url}/set.npz")
    for _ in range(2):
        volumes = organmnist3d("full")
        assert name in volumes.about and "CT" in volumes.about and "synthetic" not in volumes.about
        np.testing.assert_array_equal(volumes.test[0], arrays(seed=seed)["test_images"])
    assert hub.downloads("/set.npz") == 1


@pytest.mark.parametrize("fault", ["no server", "no such file", "an unknown edition"])
def test_second_address_is_used_when_the_first_fails(hub, fault):
    hub.plain = {"/set.npz": EDITIONS["the second"]} | ({"/first.npz": UNKNOWN} if "edition" in fault else {})
    serve_from(f"{closed_port() if fault == 'no server' else hub.url}/first.npz", f"{hub.url}/set.npz")
    assert "the second" in organmnist3d("full").about


def test_unknown_edition_is_refused_and_leaves_nothing(hub, tmp_path):
    hub.plain["/set.npz"] = UNKNOWN
    serve_from(f"{hub.url}/set.npz")
    with pytest.raises(AssetError, match=f"no known edition.*{md5(UNKNOWN)}.*the first.*the second"):
        organmnist3d("full")
    assert sum(path.stat().st_size for path in (tmp_path / "own").rglob("*") if path.is_file()) == 0


def test_file_that_has_changed_in_the_cache_is_not_read(hub, tmp_path):
    hub.plain["/set.npz"] = EDITIONS["the first"]
    serve_from(f"{hub.url}/set.npz")
    organmnist3d("full")
    path = tmp_path / "own" / "organmnist3d-full" / "organmnist3d.npz"
    path.write_bytes(changed(path.read_bytes(), 5_000))
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} has changed.*delete"):
        organmnist3d("full")


def test_scale_defaults_to_the_environment(hub, monkeypatch):
    assert organmnist3d().about == organmnist3d("mini").about == SYNTHETIC
    hub.plain["/set.npz"] = EDITIONS["the first"]
    serve_from(f"{hub.url}/set.npz")
    monkeypatch.setenv("TUTORIAL_SCALE", "full")
    assert "the first" in organmnist3d().about
    assert organmnist3d("mini").about == SYNTHETIC
    monkeypatch.setenv("TUTORIAL_SCALE", "medium")
    with pytest.raises(ValueError, match="TUTORIAL_SCALE='medium'"):
        organmnist3d()


def test_unknown_scale_is_named():
    with pytest.raises(ValueError, match="scale='huge'.*'mini'.*'full'"):
        organmnist3d("huge")


def test_the_older_edition_has_one_more_training_volume(tmp_path):
    path = tmp_path / "organmnist3d.npz"
    path.write_bytes(npz(arrays(COUNTS | {"train": 972})))
    volumes = read_organmnist3d(path, "older")
    assert len(volumes.train[0]) == len(volumes.train[1]) == 972
