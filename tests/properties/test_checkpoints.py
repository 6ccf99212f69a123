"""Checkpoints that are not what they should be: refused by name, and the code that a file may hold is never run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import models
import pytest
import tiny_latte
import torch
from diffusers import AutoencoderKL, LatteTransformer3DModel
from fetching import change_course
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from strategies import REFUSED, attempt, texts
from torch import Tensor
from transformers import T5EncoderModel

from tutorial_utils import require
from tutorial_utils.assets import copies, store
from tutorial_utils.assets.copies import Copy
from tutorial_utils.measures import metrics
from tutorial_utils.networks import checkpoints, uvit
from tutorial_utils.sampling import by_class, latte_model, latte_older
from tutorial_utils.sampling.latte_model import Saved
from tutorial_utils.sampling.latte_older import Older


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint: how a sound one is saved, what loads it, and where it has its weights."""

    save: Callable[[Path], None]
    load: tuple  # a function and its arguments, to which the folder comes
    weights: str
    config: str = "config.json"
    surplus: bool = True  # whether a surplus tensor may be left out

    def attempt(self, folder: Path) -> object:
        return attempt(*self.load, folder)


def save_judge(folder: Path) -> None:
    models.vit().save_pretrained(folder)
    models.processor().save_pretrained(folder)


def part(network: str, kind: type, weights: str) -> Kind:
    """A part of the tiny Latte."""
    save = lambda folder: models.latte().components[network].save_pretrained(folder)  # noqa: E731
    return Kind(save, (checkpoints.load, kind), weights)


def save_own(folder: Path) -> None:
    models.uvit_network().save_pretrained(folder)
    models.vae().save_pretrained(folder / "vae")


KINDS = {
    "U-ViT": Kind(
        lambda folder: models.uvit_network().save_pretrained(folder),
        (uvit.load_uvit,),
        "diffusion_pytorch_model.safetensors",
        surplus=False,
    ),
    "ViT": Kind(save_judge, (metrics.load_judge,), "model.safetensors"),
    "VAE": part("vae", AutoencoderKL, "diffusion_pytorch_model.safetensors"),
    "Latte": part("transformer", LatteTransformer3DModel, "diffusion_pytorch_model.safetensors"),
    "T5": part("text_encoder", T5EncoderModel, "model.safetensors"),
}
EVERY = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A sound folder of each kind, saved once."""
    folders: dict[int, Path] = {}

    def find(kind: Kind) -> Path:
        if id(kind) not in folders:
            folders[id(kind)] = tmp_path_factory.mktemp("sound")
            kind.save(folders[id(kind)])
        return folders[id(kind)]

    return find


@contextmanager
def replaced(path: Path, content: bytes) -> Iterator[Path]:
    """Another content for a file, for a while; in a file of its own, for the libraries map weights into memory."""
    sound = path.rename(path.with_name(f"{path.name}.sound"))
    try:
        path.write_bytes(content)
        yield path
    finally:
        sound.replace(path)


class Touch:
    """An object whose pickle, when it is loaded, creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# --- Sound ones -----------------------------------------------------------------------------------------------------


@EVERY
def test_a_sound_checkpoint_is_loaded(kind, folder_of):
    assert kind.attempt(folder_of(kind)) is not REFUSED


def test_a_folder_of_ones_own_says_what_its_classes_are_called(tmp_path):
    save_own(tmp_path)
    assert attempt(by_class.load_own, tmp_path)[2] == ("0", "1")
    before = attempt(by_class.digest_of, tmp_path)
    for classes, understood in ((["猫", "chat"], True), (["cat"], False), ("ab", False), ([1, 2], False)):
        (tmp_path / "metrics.json").write_text(json.dumps({"classes": classes}))
        found = attempt(by_class.load_own, tmp_path)
        assert (found is not REFUSED) == understood and (not understood or found[2] == tuple(classes))
    assert attempt(by_class.digest_of, tmp_path) == before
    models.vae().half().save_pretrained(tmp_path / "vae")
    models.vae().float()
    assert attempt(by_class.digest_of, tmp_path) != before


def test_a_folder_of_ones_own_whose_vae_does_not_fit_is_refused(tmp_path):
    models.uvit_network().save_pretrained(tmp_path)  # of 2 channels, and VAE-mini has 4
    assert attempt(by_class.load_own, tmp_path) is REFUSED
    assert attempt(by_class.load_own, tmp_path / "nowhere") is REFUSED


# --- Tensors --------------------------------------------------------------------------------------------------------


def with_value(tensor: Tensor, value: float) -> Tensor:
    spoiled = tensor.clone()
    spoiled.view(-1)[-1] = value
    return spoiled


CHANGES = {  # what becomes of one tensor; None takes it away
    "missing": lambda tensor: None,
    "longer": lambda tensor: torch.cat([tensor, tensor]),
    "of another rank": lambda tensor: tensor[None],
    "empty": lambda tensor: tensor[:0],
    "NaN": lambda tensor: with_value(tensor, float("nan")),
    "infinite": lambda tensor: with_value(tensor, float("inf")),
}


@EVERY
@settings(max_examples=12)
@given(data=st.data())
def test_a_tensor_that_is_missing_or_spoiled_is_found(kind, folder_of, data):
    path = folder_of(kind) / kind.weights
    tensors = load(path.read_bytes())
    name = data.draw(st.sampled_from(sorted(tensors)))
    changed = tensors | {name: CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))](tensors[name])}
    left = {key: value for key, value in changed.items() if value is not None}
    with replaced(path, save(left, {"format": "pt"})):
        assert kind.attempt(folder_of(kind)) is REFUSED


@EVERY
def test_a_surplus_tensor_is_left_out_or_refused(kind, folder_of):
    path = folder_of(kind) / kind.weights
    tensors = load(path.read_bytes()) | {"surplus": torch.zeros(2)}
    with replaced(path, save(tensors, {"format": "pt"})):
        assert (kind.attempt(folder_of(kind)) is REFUSED) != kind.surplus


# --- Files ----------------------------------------------------------------------------------------------------------


@EVERY
@settings(max_examples=12)
@given(kept=st.floats(0, 1, exclude_max=True))
def test_a_file_of_weights_that_is_cut_short_is_refused(kind, folder_of, kept):
    path = folder_of(kind) / kind.weights
    content = path.read_bytes()
    with replaced(path, content[: int(kept * len(content))]):
        assert kind.attempt(folder_of(kind)) is REFUSED


@EVERY
@settings(max_examples=12)
@given(place=st.integers(0, 120), value=st.integers(0, 255))
def test_a_file_with_a_damaged_header_is_loaded_or_refused(kind, folder_of, place, value):
    path = folder_of(kind) / kind.weights
    content = bytearray(path.read_bytes())
    content[place] = value
    with replaced(path, bytes(content)):
        kind.attempt(folder_of(kind))


PICKLES = ("diffusion_pytorch_model.bin", "pytorch_model.bin", "model.bin", "diffusion_pytorch_model.pt")


@EVERY
@pytest.mark.parametrize("beside", [True, False], ids=["under a pickle's name", "under the name of safetensors"])
def test_code_in_a_pickle_is_refused_and_not_run(kind, folder_of, tmp_path, beside):
    trace, path = tmp_path / "trace", folder_of(kind) / kind.weights
    torch.save({**load(path.read_bytes()), "surplus": Touch(trace)}, tmp_path / "pickle")
    pickled = (tmp_path / "pickle").read_bytes()
    names = [path.with_name(name) for name in PICKLES] if beside else [path]
    with replaced(path, b""):
        path.unlink()
        for name in names:
            name.write_bytes(pickled)
        assert kind.attempt(folder_of(kind)) is REFUSED
        for name in names:
            name.unlink()
    assert not trace.exists()
    torch.load(tmp_path / "pickle", weights_only=False)  # what a careless reader does
    assert trace.exists()


# --- Configurations -------------------------------------------------------------------------------------------------


values = st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})


@EVERY
@settings(max_examples=12)
@given(data=st.data())
def test_a_configuration_with_another_value_is_used_or_refused(kind, folder_of, data):
    path = folder_of(kind) / kind.config
    config = json.loads(path.read_text())
    key = data.draw(st.sampled_from(sorted(config)))
    with replaced(path, json.dumps(config | {key: data.draw(values)}).encode()):
        kind.attempt(folder_of(kind))


@EVERY
@given(
    content=st.binary(max_size=20)
    | st.sampled_from([b"", b"{}", b"[]", b"3", b'"x"', b"null", b"<html>", b"{" * 2_000])
)
def test_a_configuration_that_is_none_is_refused(kind, folder_of, content):
    with replaced(folder_of(kind) / kind.config, content):
        assert kind.attempt(folder_of(kind)) is REFUSED


@EVERY
@pytest.mark.parametrize("other", KINDS)
def test_a_checkpoint_of_another_model_is_refused(kind, other, folder_of):
    other = KINDS[other]
    if other is not kind:
        assert kind.attempt(folder_of(other)) is REFUSED
        with replaced(folder_of(kind) / kind.config, (folder_of(other) / other.config).read_bytes()):
            assert kind.attempt(folder_of(kind)) is REFUSED


@given(value=st.floats(), place=st.integers(0, 5))
def test_weights_are_finite_or_named(value, place):
    layer = torch.nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.view(-1)[place] = torch.tensor(value, dtype=torch.float64)  # large ones become infinite here
    fits = bool(layer.weight.isfinite().all())
    assert (attempt(checkpoints.require_finite, layer, Path("folder")) is None) == fits


@given(message=texts, width=st.integers(10, 500))
def test_any_message_becomes_one_sentence(message, width):
    assert len(attempt(require.shortened, message, width)) <= width
    sentence = attempt(checkpoints.one_sentence, message, width)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) <= width + 1


@EVERY
def test_a_folder_that_is_empty_or_none_is_refused(kind, folder_of, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        assert kind.attempt(folder) is REFUSED


def test_an_image_processor_that_is_missing_is_named(folder_of):
    path = folder_of(KINDS["ViT"]) / "preprocessor_config.json"
    with replaced(path, b"{"):
        assert attempt(metrics.load_judge, path.parent) is REFUSED


# --- Whole Lattes, in both layouts ------------------------------------------------------------------------------------


def save_older(folder: Path) -> None:
    """The tiny Latte as its authors laid it out."""
    for name in ("tokenizer", "text_encoder", "vae", "scheduler"):
        models.latte().components[name].save_pretrained(folder / latte_older.PARTS / name)
    transformer = models.latte().transformer
    transformer.save_config(folder / latte_older.PARTS / "transformer")
    torch.save(transformer.state_dict(), folder / latte_older.WEIGHTS)


SAVE = {"saved": lambda folder: models.latte().save_pretrained(folder), "older": save_older}
LAYOUT = pytest.mark.parametrize("layout", SAVE)


@pytest.fixture(scope="module")
def latte_folder(tmp_path_factory):
    folders = {name: tmp_path_factory.mktemp(name) for name in SAVE}
    for name, folder in folders.items():
        SAVE[name](folder)
    return folders.get


def parts_of(folder: Path) -> Path:
    return (Older(folder) if attempt(latte_older.is_older, folder) else Saved(folder)).parts


def load_latte(folder: Path) -> object:
    return attempt(
        latte_model.load_pipeline, tiny_latte.configured(folder, steps=1, frames=1), "mini", torch.device("cpu")
    )


@LAYOUT
def test_a_sound_latte_is_loaded(layout, latte_folder):
    assert attempt(latte_older.is_older, latte_folder(layout)) == (layout == "older")
    assert load_latte(latte_folder(layout)) is not REFUSED


PARTS = {
    "text_encoder": "model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
}


@LAYOUT
@pytest.mark.parametrize("change", ["missing", "NaN"])
@pytest.mark.parametrize("part", PARTS)
def test_a_latte_with_a_spoiled_part_is_refused(layout, part, change, latte_folder):
    path = parts_of(latte_folder(layout)) / part / PARTS[part]
    if path.exists():  # the older layout has its transformer elsewhere
        tensors = load(path.read_bytes())
        name = max(tensors)
        left = {key: value for key, value in tensors.items() if key != name}
        left |= {} if change == "missing" else {name: CHANGES[change](tensors[name])}
        with replaced(path, save(left, {"format": "pt"})):
            assert load_latte(latte_folder(layout)) is REFUSED


JSONS = [
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "text_encoder/config.json",
    "vae/config.json",
    "scheduler/scheduler_config.json",
    "transformer/config.json",
]


@LAYOUT
@pytest.mark.parametrize("name", JSONS)
def test_a_latte_with_a_damaged_configuration_is_refused(layout, name, latte_folder):
    folder = latte_folder(layout)
    for content in (b"", b"[]", b'"a text"', b"3", b"\xff", b"{" * 2_000):
        with replaced(parts_of(folder) / name, content):
            assert load_latte(folder) is REFUSED


@settings(max_examples=10)
@given(data=st.data())
def test_a_latte_with_another_value_in_a_configuration_is_used_or_refused(latte_folder, data):
    folder = latte_folder("saved")
    path = folder / data.draw(st.sampled_from(JSONS[2:]))
    config = json.loads(path.read_text())
    key = data.draw(st.sampled_from(sorted(config)))
    with replaced(path, json.dumps(config | {key: data.draw(values)}).encode()):
        load_latte(folder)
        attempt(latte_model.without_weights, tiny_latte.configured(folder, steps=1, frames=1))


@given(content=st.binary(max_size=20) | st.builds(json.dumps, st.dictionaries(st.text(), values)).map(str.encode))
def test_any_bytes_are_a_configuration_or_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "config.json"
    path.write_bytes(content)
    config = attempt(checkpoints.read_config, path)
    assert (config is not REFUSED) == content.startswith(b"{")
    arguments = attempt(checkpoints.arguments, LatteTransformer3DModel, path)
    if config is not REFUSED:
        assert arguments["video_length"] == config.get("video_length", 16)


@settings(max_examples=20)
@given(data=st.data())
def test_a_network_without_weights_is_built_from_any_configuration_or_refused(folder_of, data):
    folder = folder_of(KINDS["VAE"])
    config = json.loads((folder / "config.json").read_text())
    change = {data.draw(st.sampled_from(sorted(config))): data.draw(values)}
    with replaced(folder / "config.json", json.dumps(config | change).encode()):
        network = attempt(checkpoints.without_weights, AutoencoderKL, folder)
        assert network is REFUSED or all(weight.is_meta for weight in network.parameters())


def test_parts_of_two_models_make_no_latte(latte_folder):
    folder = latte_folder("saved")
    tokenizer = json.loads((folder / "tokenizer/tokenizer.json").read_text())
    tokenizer["model"]["vocab"] += [[f"word{number}", -20.0] for number in range(5_000)]
    with replaced(folder / "tokenizer/tokenizer.json", json.dumps(tokenizer).encode()):
        assert load_latte(folder) is REFUSED


# --- What `torch.save` wrote -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """A file of weights that `torch.save` wrote: what it holds, its name, and what loads it."""

    state: Callable[[], dict]
    name: str
    load: Callable[[Path], object]


def uvit_config() -> dict:
    return {key: value for key, value in models.uvit_network().config.items() if not key.startswith("_")}


STATES = {
    "U-ViT": State(
        lambda: models.uvit_network().state_dict(),
        next(iter(uvit.PUBLISHED)),
        lambda path: attempt(uvit.read_published, path, uvit_config()),
    ),
    "U-ViT on the way": State(
        lambda: models.uvit_network().state_dict(),
        "uvit-after-5%.pt",
        lambda path: attempt(uvit.load_snapshots, path.parent),
    ),
    "Latte": State(
        lambda: models.latte().transformer.state_dict(),
        latte_older.WEIGHTS,
        lambda path: attempt(Older(path.parent).load, torch.float32),
    ),
}
STATE = pytest.mark.parametrize("kind", STATES.values(), ids=STATES)


@pytest.fixture(scope="module")
def state_folder(tmp_path_factory):
    """A folder with what Latte's older layout has besides its weights, and with a finished U-ViT."""
    folder = tmp_path_factory.mktemp("states")
    save_older(folder)
    models.uvit_network().save_pretrained(folder)
    return folder


@STATE
def test_a_sound_state_dict_is_loaded(kind, state_folder):
    torch.save(kind.state(), state_folder / kind.name)
    assert kind.load(state_folder / kind.name) is not REFUSED


@STATE
@settings(max_examples=15)
@given(data=st.data())
def test_a_published_tensor_that_is_missing_or_spoiled_is_found(kind, state_folder, data):
    state = kind.state()
    name = data.draw(st.sampled_from(sorted(state)))
    change = data.draw(st.sampled_from([*CHANGES, "surplus", "a text"]))
    changed = state | {"surplus": torch.zeros(2)} if change == "surplus" else dict(state)
    if change != "surplus":
        changed[name] = "text" if change == "a text" else CHANGES[change](state[name])
    path = state_folder / kind.name
    torch.save({key: value for key, value in changed.items() if value is not None}, path)
    assert kind.load(path) is REFUSED


@STATE
def test_code_in_a_published_file_is_refused_and_not_run(kind, state_folder, tmp_path):
    path, trace = state_folder / kind.name, tmp_path / "trace"
    torch.save({**kind.state(), "surplus": Touch(trace)}, path)
    assert kind.load(path) is REFUSED and not trace.exists()
    torch.load(path, weights_only=False)  # what a careless reader does
    assert trace.exists()


def test_code_in_a_text_encoder_of_the_older_layout_is_refused_and_not_run(tmp_path):
    save_older(tmp_path)
    encoder, trace = tmp_path / latte_older.PARTS / "text_encoder", tmp_path / "trace"
    state = load((encoder / "model.safetensors").read_bytes())
    (encoder / "model.safetensors").unlink()
    torch.save(state, encoder / "pytorch_model.bin")
    assert load_latte(tmp_path) is not REFUSED
    torch.save({**state, "surplus": Touch(trace)}, encoder / "pytorch_model.bin")
    assert load_latte(tmp_path) is REFUSED and not trace.exists()


@given(data=st.data())
def test_a_state_dict_with_damaged_bytes_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "state.pth"
    torch.save(models.uvit_network().state_dict(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    attempt(checkpoints.read_state_dict, path)
    attempt(uvit.read_published, path, uvit_config())


@given(content=st.binary(max_size=60) | st.builds(pickle.dumps, st.dictionaries(st.text(), st.integers(), max_size=3)))
def test_any_bytes_are_a_state_dict_or_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.pth"
    path.write_bytes(content)
    attempt(checkpoints.read_state_dict, path)
    assert attempt(uvit.read_published, path, uvit_config()) is REFUSED


tensors = st.lists(st.integers(0, 3), max_size=3).map(torch.zeros)
states = st.dictionaries(st.sampled_from(["weight", "bias", "more", ""]) | st.integers(), tensors | st.text(max_size=3))


@given(state=states | st.none() | st.integers() | st.lists(tensors, max_size=2) | st.text())
def test_any_object_is_a_layers_weights_or_is_refused(state):
    layer = attempt(checkpoints.network_with, state, lambda: torch.nn.Linear(2, 3), "no layer")
    sound = isinstance(state, dict) and {name: getattr(value, "shape", None) for name, value in state.items()}
    assert (layer is not REFUSED) == (sound == {"weight": (3, 2), "bias": (3,)})


def test_a_layer_is_made_of_its_weights():
    state = torch.nn.Linear(2, 3).state_dict()
    assert attempt(checkpoints.network_with, state, lambda: torch.nn.Linear(2, 3), "no layer").weight is not None


# --- Copies in a cache ------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A sound copy of the published ViT's folder, as far as a manifest without checksums can tell."""
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path))
    change_course(own=tmp_path / "own")
    asset = store.COURSE.find("vit", "full")
    folder = tmp_path / asset.folder_name
    save_judge(folder)
    assert store.fetch("vit", "full") == folder
    (folder / copies.STAMP).unlink()
    return Copy(asset, folder)


def test_the_vit_of_lesson_1_is_never_taken_from_a_file_that_is_cut_short(copy):
    folder = copy.folder
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for kept in (0, 1, 7, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        assert attempt(copy.problems).keys() == {path}
        assert attempt(store.COURSE.sound, copy.asset) is None
