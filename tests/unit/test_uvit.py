"""U-ViT equals the published implementation, reads its checkpoints without running code, and refuses what does not fit.

The reference values are described in tests/data/README.md.
"""

import math
import zipfile

import pytest
import torch
from published import REFERENCE, build
from safetensors.torch import load_file

from tutorial_utils.networks.uvit import (
    IMAGENET256_HUGE,
    PUBLISHED,
    UViT,
    load_snapshots,
    load_uvit,
    timestep_embedding,
)

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH = pytest.mark.parametrize("kind", ["cond", "uncond"])
TINY = {
    "img_size": 4,
    "patch_size": 2,
    "in_chans": 2,
    "embed_dim": 8,
    "depth": 4,
    "num_heads": 2,
    "mlp_ratio": 2,
    "num_classes": 3,
    "conv": False,
}
PUBLISHED_NAME = "tiny.pth"
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def reference():
    return load_file(REFERENCE)


def inputs(reference: dict, kind: str) -> tuple:
    return reference[f"{kind}.x"], reference[f"{kind}.t"], reference.get(f"{kind}.y")


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative L2."""
    return ((found.float() - expected).norm() / expected.norm()).item()


def tiny(seed: int = 0, **changes) -> UViT:
    torch.manual_seed(seed)
    return UViT(**TINY | changes).eval()


def tiny_inputs(count: int = 2) -> tuple:
    source = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, 4, 4, generator=source), torch.linspace(1, 1000, count), torch.arange(count) % 3


# --- The function that it computes --------------------------------------------------------------------------------


@BOTH
@torch.no_grad()
def test_the_output_is_the_published_implementations(reference, kind):
    output = build(reference, kind)(*inputs(reference, kind))
    assert distance(output, reference[f"{kind}.eps"]) <= 1e-5


def test_the_published_huge_network_has_its_number_of_parameters():
    with torch.device("meta"):
        network = UViT(**IMAGENET256_HUGE)
    assert sum(p.numel() for p in network.parameters()) == 500_832_016


@torch.no_grad()
def test_each_sample_has_its_own_time_and_class(reference):
    network = build(reference, "cond")
    x, times, labels = inputs(reference, "cond")
    same = x[:1].expand(3, -1, -1, -1)
    together = network(same, times, labels)
    for index in range(3):
        alone = network(x[:1], times[index, None], labels[index, None])
        torch.testing.assert_close(together[index, None], alone, atol=1e-5, rtol=0)
    assert distance(network(same, times[:1].expand(3), labels), together) > 0.01
    assert distance(network(same, times, labels[:1].expand(3)), together) > 0.01


@torch.no_grad()
def test_an_empty_batch_has_an_empty_output():
    assert tiny()(*tiny_inputs(0)).shape == (0, 2, 4, 4)


@torch.no_grad()
def test_the_last_skip_in_is_the_first_one_out():
    network = tiny(depth=6)
    given, received = {}, {}
    for index, block in enumerate(network.in_blocks):
        block.register_forward_hook(lambda _, __, output, index=index: given.update({index: output}))
    for index, block in enumerate(network.out_blocks):
        block.register_forward_pre_hook(lambda _, arguments, index=index: received.update({index: arguments[1]}))
    network(*tiny_inputs())
    assert not any(torch.equal(given[a], given[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    for index in range(3):
        assert torch.equal(received[index], given[2 - index])


@torch.no_grad()
def test_what_the_first_block_puts_out_reaches_the_last_block_even_if_the_blocks_between_ignore_it():
    network = tiny()
    received = []
    network.out_blocks[-1].register_forward_pre_hook(lambda _, arguments: received.append(arguments))
    before = network(*tiny_inputs())
    # the second block's output is held, so that a change of the first one's can only arrive through the skip
    held = []
    network.in_blocks[1].register_forward_hook(lambda _, __, output: held.append(output) or held[0])
    network(*tiny_inputs())
    network.in_blocks[0].register_forward_hook(lambda _, __, output: output + 1)
    after = network(*tiny_inputs())
    (_, _), (x, skip), (changed_x, changed_skip) = received
    assert torch.equal(changed_x, x)
    torch.testing.assert_close(changed_skip, skip + 1)
    assert distance(after, before) > 1e-4


def test_the_embedding_of_a_time_is_cosines_then_sines_from_fast_to_slow():
    times = [0.0, 1.0, 437.25, 1000.0]
    embedding = timestep_embedding(torch.tensor(times), 6)
    assert embedding.shape == (4, 6) and embedding.dtype == torch.float32
    for row, time in zip(embedding.tolist(), times, strict=True):
        for index in range(3):
            angle = time / 10_000 ** (index / 3)
            assert row[index] == pytest.approx(math.cos(angle), abs=3e-4)
            assert row[3 + index] == pytest.approx(math.sin(angle), abs=3e-4)


def test_the_null_label_is_the_last_one(reference):
    assert build(reference, "cond").null_label == 10
    assert build(reference, "uncond").null_label is None


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_queries_keys_and_values_have_a_bias_where_one_is_asked_for(qkv_bias):
    network = tiny(qkv_bias=qkv_bias)
    blocks = [*network.in_blocks, network.mid_block, *network.out_blocks]
    assert [block.attn.qkv.bias is not None for block in blocks] == [qkv_bias] * 5


# --- Precision and memory -----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
@torch.no_grad()
def test_half_precision_stays_close(reference, kind, dtype, bound):
    x, times, labels = inputs(reference, kind)
    output = build(reference, kind).to(dtype)(x.to(dtype), times, labels)
    assert output.dtype == dtype
    assert distance(output, reference[f"{kind}.eps"]) <= bound


@BOTH
@torch.no_grad()
def test_autocast_stays_close_to_float32(reference, kind):
    with torch.autocast("cpu", torch.bfloat16):
        output = build(reference, kind)(*inputs(reference, kind))
    assert distance(output, reference[f"{kind}.eps"]) <= 0.02


# --- Inputs that do not fit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (2, 2, 4, 8), (2, 3, 4, 4), (2, 4, 4)])
def test_a_latent_of_another_shape_is_refused(shape):
    _, times, labels = tiny_inputs()
    with pytest.raises(ValueError, match=r"x are torch.float32 \(2, .*floats \(N, 2, 4, 4\) are due"):
        tiny()(torch.zeros(shape), times, labels)


@pytest.mark.parametrize(
    "times",
    [torch.tensor([1, 2]), torch.ones(3), torch.ones(2, 1), torch.tensor(1.0)],
    ids=["integers", "too many", "a column", "a scalar"],
)
def test_times_are_one_float_for_each_sample(times):
    x, _, labels = tiny_inputs()
    with pytest.raises(ValueError, match=r"times are .*one float per sample, \(2,\)"):
        tiny()(x, times, labels)


@pytest.mark.parametrize(
    "labels",
    [torch.ones(2), torch.tensor([0, 1, 2]), torch.tensor([[0], [1]]), torch.tensor(1), torch.tensor([True, False])],
    ids=["floats", "too many", "a column", "a scalar", "booleans"],
)
def test_labels_are_one_integer_for_each_sample(labels):
    x, times, _ = tiny_inputs()
    with pytest.raises(ValueError, match=r"labels are .*one integer per sample, \(2,\)"):
        tiny()(x, times, labels)


@pytest.mark.parametrize(("labels", "range"), [([0, 3], "0 to 3"), ([-1, 2], "-1 to 2")])
def test_labels_out_of_range_are_refused_with_both_ranges(labels, range):
    x, times, _ = tiny_inputs()
    with pytest.raises(ValueError, match=f"labels go from {range}; allowed is 0 to 2"):
        tiny()(x, times, torch.tensor(labels))


@torch.no_grad()
def test_labels_may_be_of_either_integer_type():
    x, times, labels = tiny_inputs()
    assert torch.equal(tiny()(x, times, labels.int()), tiny()(x, times, labels.long()))


def test_missing_labels_are_asked_for():
    x, times, _ = tiny_inputs()
    with pytest.raises(ValueError, match="labels are missing: 0 to 1, or 2 for no class"):
        tiny()(x, times)


def test_labels_for_a_network_without_classes_are_refused():
    with pytest.raises(ValueError, match="network without classes"):
        tiny(num_classes=-1)(*tiny_inputs())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_size": 5}, "img_size=5 must be a multiple of patch_size=2"),
        ({"img_size": 1}, "img_size=1 must be a multiple of patch_size=2"),
        ({"patch_size": 0}, "patch_size=0"),
        ({"embed_dim": 10, "num_heads": 4}, "embed_dim=10 must be even and a multiple of num_heads=4"),
        ({"embed_dim": 9, "num_heads": 3}, "embed_dim=9 must be even"),
        ({"num_heads": 0}, "num_heads=0"),
        ({"depth": 3}, "depth=3 must be even"),
        ({"depth": 0}, "depth=0 must be even and at least 2"),
        ({"in_chans": 0}, "in_chans=0 and mlp_ratio="),
        ({"mlp_ratio": 0}, "mlp_ratio=0 must leave at least one"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"num_classes": 1}, "num_classes=1"),
        ({"num_classes": -2}, "num_classes=-2"),
    ],
    ids=str,
)
def test_sizes_that_make_no_network_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        UViT(**TINY | changes)


# --- Checkpoints --------------------------------------------------------------------------------------------------


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Where a published file of the tiny network belongs, in a folder of its own."""
    monkeypatch.setitem(PUBLISHED, PUBLISHED_NAME, TINY)
    folder = tmp_path / "published"
    folder.mkdir()
    return folder / PUBLISHED_NAME


def assert_same_network(found: UViT, expected: UViT) -> None:
    assert not found.training and found.dtype == torch.float32
    assert found.state_dict().keys() == expected.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(found(*tiny_inputs()), expected(*tiny_inputs()))


@pytest.mark.parametrize("changes", [{}, {"num_classes": -1, "conv": True, "mlp_time_embed": True, "qkv_bias": True}])
@torch.no_grad()
def test_a_saved_network_loads_with_the_same_outputs(tmp_path, changes):
    network = tiny(**changes)
    network.save_pretrained(tmp_path)
    x, times, labels = tiny_inputs()
    given = (x, times, labels if network.null_label is not None else None)
    for loaded in (UViT.from_pretrained(tmp_path), load_uvit(tmp_path)):
        assert not loaded.training and dict(loaded.config) | TINY | changes == dict(loaded.config)
        assert torch.equal(loaded(*given), network(*given))
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", WEIGHTS_NAME}


def test_a_network_saved_in_half_precision_is_used_in_single(tmp_path):
    tiny().half().save_pretrained(tmp_path)
    assert {p.dtype for p in load_uvit(tmp_path).parameters()} == {torch.float32}


def test_snapshots_come_in_the_order_of_training_and_the_finished_network_last(tmp_path):
    tiny().save_pretrained(tmp_path)
    way = {share: tiny(seed) for seed, share in enumerate(("25", "0.5", "5"), 1)}
    for share, network in way.items():
        torch.save(network.half().state_dict(), tmp_path / f"uvit-after-{share}%.pt")
    (tmp_path / "uvit-after-all.pt").touch()  # no snapshot
    loaded = load_snapshots(tmp_path)
    assert list(loaded) == ["0.5%", "5%", "25%", "100%"]
    assert_same_network(loaded.pop("100%"), tiny())
    for share, network in loaded.items():
        assert_same_network(network, way[share.rstrip("%")].float())


def test_without_snapshots_there_is_the_finished_network_alone(tmp_path):
    tiny().save_pretrained(tmp_path)
    assert list(load_snapshots(tmp_path)) == ["100%"]


def test_a_snapshot_of_another_network_is_refused(tmp_path):
    tiny().save_pretrained(tmp_path)
    torch.save(tiny(depth=2).state_dict(), tmp_path / "uvit-after-1%.pt")
    with pytest.raises(ValueError, match=r"uvit-after-1%\.pt does not hold this U-ViT's weights"):
        load_snapshots(tmp_path)


def test_a_published_file_loads(published):
    torch.save(tiny().state_dict(), published)
    assert_same_network(load_uvit(published.parent), tiny())


def test_a_published_file_in_half_precision_loads_in_float32(published):
    network = tiny().half()
    torch.save(network.state_dict(), published)
    assert_same_network(load_uvit(published.parent), network.float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("mid_block.mlp.fc1.bias"), "Missing key.*mid_block.mlp.fc1.bias"),
        (lambda weights: weights.update(surplus=torch.zeros(2)), "Unexpected key.*surplus"),
        (lambda weights: weights.update(pos_embed=torch.zeros(1, 7, 8)), "size mismatch for pos_embed"),
        (lambda weights: weights.update(pos_embed="text"), "pos_embed.*expected torch.Tensor"),
    ],
    ids=["missing", "extra", "wrong shape", "no tensor"],
)
def test_a_published_file_with_other_weights_is_refused(published, change, message):
    weights = tiny().state_dict()
    change(weights)
    torch.save(weights, published)
    with pytest.raises(ValueError, match=rf"(?s)does not hold this U-ViT's weights.*{message}"):
        load_uvit(published.parent)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), None], ids=["list", "tensor", "nothing"])
def test_a_published_file_without_a_state_dict_is_refused(published, content):
    torch.save(content, published)
    with pytest.raises(ValueError, match=r"does not hold this U-ViT's weights"):
        load_uvit(published.parent)


def test_a_damaged_file_is_refused(published):
    torch.save(tiny().state_dict(), published)
    whole = published.read_bytes()
    for content in (b"", b"no weights at all", whole[: len(whole) // 2]):
        published.write_bytes(content)
        with pytest.raises(ValueError, match="could not be read as a state dict"):
            load_uvit(published.parent)


def test_a_file_whose_pickle_has_no_end_is_refused(published):
    torch.save(tiny().state_dict(), published)
    with zipfile.ZipFile(published) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(published, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data[:-1] if name.endswith("data.pkl") else data)
    with pytest.raises(ValueError, match="could not be read as a state dict"):
        load_uvit(published.parent)


def test_a_state_dict_whose_keys_are_no_names_is_refused(published):
    torch.save(tiny().state_dict() | {1: torch.zeros(2)}, published)
    with pytest.raises(ValueError, match="does not hold this U-ViT's weights"):
        load_uvit(published.parent)
