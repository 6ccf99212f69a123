"""Fashion-MNIST: what the bundled files hold, and what is said about files that do not hold it."""

import gzip

import numpy as np
import pytest
import torch

from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES, fashion_mnist, fashion_mnist_tensors, read_idx
from tutorial_utils.datasets.names import Names


def idx(array: np.ndarray, code: int = 0x08, shape: tuple[int, ...] | None = None) -> bytes:
    """An idx file's content before compression."""
    shape = array.shape if shape is None else shape
    return bytes([0, 0, code, len(shape)]) + np.array(shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture(scope="module")
def bundled():
    return fashion_mnist("test")


def test_the_test_split_has_ten_thousand_images_a_thousand_of_each_class(bundled):
    images, labels = bundled
    assert images.shape == (10_000, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (10_000,) and labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [1_000] * len(FASHION_CLASSES)


def test_images_use_the_whole_range_on_a_black_background(bundled):
    images, _ = bundled
    assert images.min() == 0 and images.max() == 255
    assert np.median(images[:, 0, 0]) == 0
    assert images.mean() == pytest.approx(73.15, abs=0.01)  # the published 0.2868 of 255


def test_the_training_split_is_balanced_too():
    images, labels = fashion_mnist("train")
    assert images.shape == (60_000, 28, 28)
    assert np.bincount(labels).tolist() == [6_000] * 10


def test_labels_name_what_the_pictures_show(bundled):
    images, labels = bundled
    filled = {name: (images[labels == i] > 0).mean() for i, name in enumerate(FASHION_CLASSES)}
    assert filled["coat"] > filled["trouser"] and filled["pullover"] > filled["sandal"]
    first_ten = "ankle boot, pullover, trouser, trouser, shirt, trouser, coat, shirt, sandal, sneaker"
    assert ", ".join(FASHION_CLASSES[label] for label in labels[:10]) == first_ten


def test_the_tensor_form_holds_the_same_pixels_from_0_to_1(bundled):
    images, labels = bundled
    tensors, tensor_labels = fashion_mnist_tensors("test")
    assert tensors.shape == (10_000, 1, 28, 28) and tensors.dtype == torch.float32
    assert tensors.min() == 0 and tensors.max() == 1
    assert np.array_equal((tensors[:50, 0] * 255).round().numpy(), images[:50])
    assert tensor_labels.dtype == torch.int64 and np.array_equal(tensor_labels.numpy(), labels)


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="split='validation' is unknown.*'test', 'train'"):
        fashion_mnist("validation")


def write_split(folder, images: np.ndarray, labels: np.ndarray) -> None:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), 1))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels), 1))


def test_files_of_another_count_are_rejected_with_both_shapes(tmp_path):
    write_split(tmp_path, np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8))
    with pytest.raises(ValueError) as caught:
        fashion_mnist("test", tmp_path)
    assert "(3, 28, 28)" in str(caught.value) and "(10000, 28, 28)" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_label_without_a_class_is_rejected(tmp_path):
    write_split(tmp_path, np.zeros((10_000, 28, 28), np.uint8), np.full(10_000, 10, np.uint8))
    with pytest.raises(ValueError, match="label 10.*labels 0 to 9"):
        fashion_mnist("test", tmp_path)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4)])
def test_read_idx_returns_the_array_that_was_written(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array)))
    read = read_idx(tmp_path / "a.gz")
    assert read.dtype == np.uint8 and read.flags.writeable
    np.testing.assert_array_equal(read, array)


WHOLE = gzip.compress(idx(np.arange(200, dtype=np.uint8) * 7))
BROKEN = {
    "a truncated gzip file": (WHOLE[:-20], "could not be read as a gzip file"),
    "damaged in the middle": (WHOLE[:12] + b"\xff\xff\xff\xff" + WHOLE[16:], "could not be read as a gzip file"),
    "not gzip": (b"<html>not found</html>", "could not be read as a gzip file"),
    "another type of values": (gzip.compress(idx(np.zeros(4, np.uint8), code=0x0D)), "not an idx file"),
    "not idx": (gzip.compress(b"hello, world"), "not an idx file of unsigned bytes: it starts with b'hell'"),
    "no content": (gzip.compress(b""), "not an idx file"),
    "too few values": (
        gzip.compress(idx(np.zeros(4, np.uint8), shape=(2, 3))),
        r"shape \(2, 3\) but holds 4 bytes",
    ),
    "too many values": (gzip.compress(idx(np.zeros(7, np.uint8), shape=(2, 3))), r"shape \(2, 3\) but holds 7 bytes"),
    "no header's end": (gzip.compress(bytes([0, 0, 8, 3, 0, 0])), r"announces the shape"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_not_whole_is_named_with_what_is_wrong(tmp_path, content, message):
    (tmp_path / "broken.gz").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(tmp_path / "broken.gz")
    assert "broken.gz" in str(caught.value)


def test_every_class_is_found_by_its_name():
    assert [FASHION_CLASSES.index(name) for name in FASHION_CLASSES] == list(range(10))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Sneaker", r"no class 'Sneaker': choose one of T-shirt/top, .*, ankle boot\. Did you mean 'sneaker'\?$"),
        ("snaeker", r"Did you mean 'sneaker'\?$"),
        ("boots", r"Did you mean 'ankle boot'\?$"),
        ("T-shirt", r"Did you mean 'T-shirt/top' or 'shirt'\?$"),
        ("bicycle", r"ankle boot\.$"),
        (7, r"7 is a label already: the one of 'sneaker'"),
        (["bag"], r"no class \['bag'\]"),
    ],
)
def test_a_name_that_is_no_class_is_answered_with_what_may_be_meant_and_what_there_is(name, words):
    with pytest.raises(ValueError, match=words):
        FASHION_CLASSES.index(name)


def test_of_very_many_names_the_first_and_the_last_are_named():
    with pytest.raises(ValueError, match=r"choose one of 1,000, from 'c0' to 'c999'\.$"):
        Names(f"c{k}" for k in range(1000)).index("bag")
