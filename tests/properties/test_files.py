"""Data sets, copies in a cache, folders of samples: whatever is in a file, and whenever the writing was interrupted."""

from __future__ import annotations

import gzip
import json

import models
import nbformat.v4
import numpy as np
import pytest
import torch
from fetching import change_course
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import REFUSED, attempt

from tutorial_utils import execution, files, pages, runtime
from tutorial_utils.assets import copies, downloads, manifest, store
from tutorial_utils.assets.copies import Copy
from tutorial_utils.datasets import fashion_mnist, organmnist3d
from tutorial_utils.networks import uvit
from tutorial_utils.sampling import by_class, diffusion, shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


# --- Data sets ------------------------------------------------------------------------------------------------------


shapes = st.lists(st.integers(0, 3) | st.sampled_from([2**16, 2**31, 2**32 - 1]), max_size=5)


@given(
    start=st.sampled_from([b"\0\0\x08", b"\0\0\x0d", b"PK", b""]),
    shape=shapes,
    axes=st.integers(0, 255) | st.none(),
    body=st.binary(max_size=30),
)
def test_any_unpacked_bytes_are_an_idx_file_or_refused(folder, start, shape, axes, body):
    header = start + bytes([len(shape) if axes is None else axes]) + np.array(shape, ">u4").tobytes()
    path = folder / "any.gz"
    path.write_bytes(gzip.compress(header + body))
    array = attempt(fashion_mnist.read_idx, path)
    if array is not REFUSED:
        assert array.dtype == np.uint8 and array.nbytes <= len(shape) * 4 + len(body)


@given(content=st.binary(max_size=60), kept=st.integers(0, 40))
def test_any_bytes_are_a_packed_file_or_refused(folder, content, kept):
    path = folder / "any.gz"
    for damaged in (content, gzip.compress(b"\0\0\x08\x01\0\0\0\x02ab")[:kept] + content):
        path.write_bytes(damaged)
        attempt(fashion_mnist.read_idx, path)
    assert attempt(fashion_mnist.read_idx, folder / "missing.gz") is REFUSED


def test_a_small_file_that_unpacks_to_very_much_is_refused(folder, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "_IDX_BYTES", 2**16)
    path = folder / "bomb.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\x00\x10\x00\x00" + bytes(2**20)))
    assert attempt(fashion_mnist.read_idx, path) is REFUSED


@settings(max_examples=10)
@given(data=st.data())
def test_volumes_with_an_array_spoiled_are_refused(folder, data):
    path, counts = folder / "volumes.npz", {"train": 971, "val": 161, "test": 610}
    arrays = {f"{split}_labels": np.zeros((count, 1), np.uint8) for split, count in counts.items()}
    arrays |= {f"{split}_images": np.zeros((count, 28, 28, 28), np.uint8) for split, count in counts.items()}
    name = data.draw(st.sampled_from(sorted(arrays)))
    spoil = data.draw(
        st.sampled_from(
            [
                lambda array: array[:-1],
                lambda array: array[0],
                lambda array: array[:0],
                lambda array: array.astype(np.float32),
                lambda array: array.astype(object),
                lambda array: np.array(["text"]),
                lambda array: array.astype(np.int64) - 1,
            ]
        )
    )
    np.savez_compressed(path, **arrays | {name: spoil(arrays[name])})
    assert attempt(organmnist3d.read_organmnist3d, path, "a test") is REFUSED


@given(content=st.binary(max_size=60))
def test_any_bytes_are_volumes_or_refused(folder, content):
    path = folder / "any.npz"
    path.write_bytes(content)
    assert attempt(organmnist3d.read_organmnist3d, path, "a test") is REFUSED


# --- Copies in a cache ------------------------------------------------------------------------------------------------


ASSET = manifest.Asset(
    name="thing",
    scale="full",
    kind="hub",
    title="A thing",
    licence="none",
    source="a test",
    files=(manifest.AssetFile("a.json"), manifest.AssetFile("b.safetensors"), manifest.AssetFile("c/d.bin", bytes=3)),
    huggingface="a/thing",
)
SOUND = {"a.json": b"{}", "b.safetensors": b"\2\0\0\0\0\0\0\0{}", "c/d.bin": b"abc"}
contents = st.fixed_dictionaries(
    {}, optional={name: st.just(sound) | st.binary(max_size=20) for name, sound in SOUND.items()}
)
recorded = st.fixed_dictionaries({"bytes": st.integers(-1, 9), "sha256": st.text(max_size=3)})
stamps = st.binary(max_size=20) | st.builds(
    lambda entries: json.dumps({"files": entries}).encode(), st.dictionaries(st.sampled_from(sorted(SOUND)), recorded)
)


@given(content=contents, stamp=st.none() | stamps)
@example(content=SOUND, stamp=None)
def test_a_copy_with_any_content_is_sound_or_what_is_wrong_is_said(tmp_path_factory, content, stamp):
    copy = Copy(ASSET, tmp_path_factory.mktemp("cache") / ASSET.folder_name)
    for name, data in content.items():
        (copy.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.folder / name).write_bytes(data)
    copy.folder.mkdir(exist_ok=True)
    stamped = copy.folder / copies.STAMP
    if stamp is not None:
        stamped.write_bytes(stamp)
        assert attempt(copy.edition, stamped) is None
    assert isinstance(copy.stamp, dict | None)
    by_manifest = attempt(copy.manifest_problems)
    for found in (by_manifest, attempt(copy.damage), attempt(copy.problems)):
        assert all(path.is_relative_to(copy.folder) and str(path) in problem for path, problem in found.items())
    assert not by_manifest or attempt(copy.damage)
    if not by_manifest:
        stamped.unlink(missing_ok=True)
        attempt(copy.adopt)
        attempt(copy.write_stamp, "a test")
        assert not attempt(copy.damage) and not attempt(copy.problems)


def test_what_is_said_of_a_disk_holds_for_folders_that_are_not_there_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path))
    change_course(own=tmp_path / "own")
    assert attempt(files.free_bytes, tmp_path / "a" / "b") > 0
    assert attempt(files.writable, tmp_path / "a" / "b")
    copy = attempt(store.COURSE.destination, ASSET)
    assert copy.folder == tmp_path / ASSET.folder_name and ASSET.name in copy.remedy
    assert [source.label.split()[0] for source in attempt(downloads.sources, ASSET)] == ["Hugging"]


@given(count=st.integers(0, 10**13))
def test_a_number_of_bytes_is_said_in_few_letters(count):
    number, unit = attempt(manifest.readable, count).split()
    assert float(number) * {"MB": 1e6, "GB": 1e9}[unit] == pytest.approx(count, rel=0.06, abs=1e5)


# --- Folders of samples -----------------------------------------------------------------------------------------------


@given(
    count=st.integers(0, 7),
    batch_size=st.integers(-1, 9) | st.just(10**30),
    stops=st.lists(st.integers(1, 4), max_size=3),
)
def test_a_folder_is_filled_in_order_however_often_it_is_interrupted(tmp_path_factory, count, batch_size, stops):
    out = tmp_path_factory.mktemp("samples")

    def fill(calls: int) -> object:
        def make(mine: slice) -> np.ndarray:
            nonlocal calls
            calls -= 1
            if calls < 0:
                raise KeyboardInterrupt
            return np.arange(count)[mine]

        rest = (lambda samples: {"n": samples}, lambda saved: None, lambda done, total: None)
        return attempt(shards.fill, out, {}, count, batch_size, make, *rest)

    for calls in stops:
        try:
            fill(calls)
        except KeyboardInterrupt:
            assert not (out / "samples.npz").exists()
    filled = fill(100)
    assert (filled is REFUSED) == (count < 1 or batch_size < 1)
    if filled is not REFUSED:
        with np.load(out / "samples.npz") as saved:
            assert saved["n"].tolist() == list(range(count))


@given(labels=st.lists(st.integers(-1, 4), max_size=4), seed=st.integers(-1, 2), batch_size=st.integers(-1, 3))
def test_any_labels_are_sampled_or_refused(tmp_path_factory, labels, seed, batch_size):
    out, quick = tmp_path_factory.mktemp("uvit"), diffusion.Settings(steps=1)
    sampler = attempt(by_class.sampler, models.uvit_network(), models.vae(), batch_size)
    assert (sampler is REFUSED) == (batch_size < 1)
    done = sampler
    if sampler is not REFUSED:
        done = attempt(by_class.sample_to_folder, sampler, labels, seed, quick, out)
    sensible = labels and all(0 <= label <= 2 for label in labels) and seed >= 0 and batch_size >= 1
    assert (done is not REFUSED) == bool(sensible) == (out / "samples.npz").exists()


@given(text=st.text(st.characters(exclude_categories=["Cs"])), how=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_any_text_is_read_whatever_the_editor_put_around_it(folder, text, how):
    (folder / "edited").write_bytes(text.replace("\n", "\r\n").encode(how))
    read = attempt(files.edited_text, folder / "edited")
    assert read.removeprefix("\ufeff") == text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")


@given(content=st.binary(max_size=40))
def test_any_bytes_are_text_or_the_line_that_is_none_is_named(folder, content):
    (folder / "edited").write_bytes(content)
    attempt(files.edited_text, folder / "edited")


@given(before=st.none() | st.binary(max_size=5), after=st.binary(max_size=5), fails=st.booleans())
def test_a_draft_becomes_the_file_or_leaves_it_as_it_was(folder, before, after, fails):
    path = folder / "draft"
    path.unlink(missing_ok=True)
    if before is not None:
        path.write_bytes(before)
    try:
        with attempt(files.draft, path) as partial:
            partial.write_bytes(after)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert (path.read_bytes() if path.exists() else None) == (before if fails else after)
    assert not list(folder.glob("draft.*")), "nothing is left half-written"


@settings(max_examples=5)
@given(text=st.text(max_size=20))
def test_a_notebook_with_any_text_is_written_and_read_again(folder, text):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(text)])
    attempt(execution.write_notebook, notebook, folder / "any.ipynb")
    assert attempt(execution.read_notebook, folder / "any.ipynb").cells[0].source == text
    assert isinstance(attempt(execution.obstacle, folder / "any.ipynb"), str)
    attempt(pages.write_html, notebook, folder / "any.html")
    assert (folder / "any.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


# --- Networks -------------------------------------------------------------------------------------------------------


sizes = st.integers(-1, 9)


@given(img_size=sizes, patch_size=sizes, embed_dim=sizes, depth=sizes, num_heads=sizes, num_classes=st.integers(-2, 4))
def test_sizes_make_a_network_that_answers_or_are_refused(**given):
    sizes = {name: given[name] for name in ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "num_classes")}
    if attempt(uvit.require_sizes, **sizes) is REFUSED:
        assert attempt(uvit.UViT, **sizes) is REFUSED
        return
    network = attempt(uvit.UViT, **sizes, in_chans=1)
    labels = torch.zeros(1, dtype=torch.int64) if network.null_label is not None else None
    x = torch.zeros(1, 1, sizes["img_size"], sizes["img_size"])
    assert network(x, torch.ones(1), labels).shape == x.shape


def test_the_precision_of_a_cpu_is_single():
    assert attempt(runtime.dtype, torch.device("cpu")) == torch.float32


@given(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]), st.floats(0, 1))
def test_a_tolerance_is_no_less_than_what_single_precision_is_allowed(precision, single):
    assert attempt(runtime.tolerance, precision, single) >= single
