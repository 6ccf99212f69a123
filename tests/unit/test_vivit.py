"""Lesson 2's code: tokens against loops, who looks at whom, the same model on two backends, data that keep their label.

The cells are taken from the notebook. As a script, this file computes the models' outputs, for a folder on stdin.
"""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tutorial_utils.definitions import definitions
from tutorial_utils.execution import ROOT

KINDS = ("joint", "factorised encoder", "factorised self-attention", "factorised dot-product")
OVERS = (("all",), ("space",), ("time",), ("space", "time"))
SHAPE, TUBELET = (4, 6, 8, 1), (2, 3, 4)
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras itself
    pytest.mark.skipif(not find_spec("keras"), reason="a light environment has no Keras, which lesson 2 alone needs"),
]


def load_lesson():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from medmnist import INFO

    names = list(INFO["organmnist3d"]["label"].values())
    notebook = ROOT / "notebooks" / "02_vivit_organmnist3d.ipynb"
    layout = SimpleNamespace(left_right=2)
    return definitions(notebook, data=SimpleNamespace(names=names), example=np.zeros((28, 28, 28)), layout=layout)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomise(layer):
    """Weights that are all large, biases and places as well, so that leaving one out would show."""
    for seed, weight in enumerate(layer.weights):
        weight.assign(noise(*weight.shape, seed=seed) / 2)
    return layer


def small_vivit(lesson, kind):
    recipe = replace(lesson.NOTES, kind=kind, tubelet=TUBELET, dim=8, heads=2, blocks=2, dropout=0.5)
    return lesson.build_vivit(recipe, shape=SHAPE)


def compute(layer, x, **options):
    from keras import ops

    return ops.convert_to_numpy(layer(x, **options))


@pytest.fixture(scope="module", autouse=True)
def elsewhere():
    """This file as a script on the other backend; begun before all tests, since its imports take as long as ours."""
    other = "tensorflow" if os.environ.get("KERAS_BACKEND") == "torch" else "torch"
    environment = {**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, __file__], env=environment, stdin=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def lesson():
    loaded = load_lesson()
    loaded.keras.utils.set_random_seed(0)
    return loaded


@pytest.fixture(scope="module")
def models(lesson):
    return {kind: randomise(small_vivit(lesson, kind)) for kind in KINDS}


# Tokens


def tokens_by_loop(volumes, tubelet, kernel, bias):
    """One box after the other, in time and then in space in reading order: each flattened, times the matrix."""
    t, h, w = tubelet
    sides = zip(volumes.shape[1:4], tubelet, strict=True)
    depth, height, width = (range(0, side - step + 1, step) for side, step in sides)
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def token(volume, z, y, x):
        return volume[z : z + t, y : y + h, x : x + w].ravel() @ matrix + bias

    return np.array([[[token(v, z, y, x) for y in height for x in width] for z in depth] for v in volumes])


def filters_of(embedding):
    return [np.array(weight) for weight in embedding.get_weights()]


@pytest.mark.parametrize("tubelet", [(2, 3, 4), (4, 2, 8), (1, 6, 1)])
def test_tubelet_embedding_equals_a_loop_over_the_boxes(lesson, tubelet):
    volumes, embedding = noise(2, 4, 6, 8, 3), lesson.TubeletEmbedding(5, tubelet)
    embedding.build(volumes.shape)
    expected = tokens_by_loop(volumes, tubelet, *filters_of(randomise(embedding)))
    assert expected.shape == (2, 4 // tubelet[0], 48 // (tubelet[1] * tubelet[2]), 5)
    np.testing.assert_allclose(compute(embedding, volumes), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["TubeletEmbedding", "FrameSampling"])
def test_what_does_not_fit_is_refused_with_the_voxels_that_would_be_lost(lesson, name):
    layer = lesson.TubeletEmbedding(4, TUBELET) if name == "TubeletEmbedding" else lesson.FrameSampling(4, (3, 4), 5)
    message = r"tubelet=\([12], 3, 4\).*\(5, 7, 8\) voxels.*\[[10], 1, 0\].*\d+%.*rest='report'"
    with pytest.raises(AssertionError, match=message):
        layer(noise(1, 5, 7, 8, 1))


def test_a_report_names_the_share_and_goes_on_without_the_rest(lesson):
    volumes, embedding = noise(2, 5, 7, 8, 2), lesson.TubeletEmbedding(3, TUBELET, rest="report")
    with pytest.warns(UserWarning, match=r"the last \[1, 1, 0\] are never seen, 31%"):
        tokens = compute(embedding, volumes)
    np.testing.assert_allclose(tokens, tokens_by_loop(volumes, TUBELET, *filters_of(embedding)), atol=1e-4)
    np.testing.assert_allclose(tokens, compute(embedding, volumes[:, :4, :6]), atol=1e-5)


def test_an_unknown_rest_is_named_with_the_choices(lesson):
    with pytest.raises(AssertionError, match="rest='ignore'.*refuse.*report"):
        lesson.TubeletEmbedding(3, TUBELET, rest="ignore")(noise(1, 5, 7, 8, 1))


@pytest.mark.parametrize(
    ("depth", "frames", "chosen"),
    [(28, 4, [3, 10, 17, 24]), (8, 2, [2, 6]), (7, 3, [1, 3, 5]), (9, 1, [4]), (6, 6, [0, 1, 2, 3, 4, 5])],
)
def test_frames_are_evenly_spaced_and_each_is_cut_into_patches(lesson, depth, frames, chosen):
    volumes, sampling = noise(2, depth, 6, 8, 2), lesson.FrameSampling(5, (3, 4), frames)
    sampling.build(volumes.shape)
    kernel, bias = filters_of(randomise(sampling))
    assert kernel.shape == (1, 3, 4, 2, 5)
    expected = tokens_by_loop(volumes[:, chosen], (1, 3, 4), kernel, bias)
    np.testing.assert_allclose(compute(sampling, volumes), expected, atol=1e-4)


@pytest.mark.parametrize(("depth", "frames"), [(28, 5), (28, 9), (10, 3), (16, 7), (5, 4)])
def test_frames_that_do_not_divide_the_depth_are_as_even_as_can_be(lesson, depth, frames):
    sampling = lesson.FrameSampling(2, (3, 4), frames)
    sampling.build((None, depth, 6, 8, 1))
    assert np.ptp(np.diff(sampling.chosen)) <= 1
    assert sampling.chosen[0] >= 0 and sampling.chosen[-1] < depth
    assert abs(sampling.chosen[0] - (depth - 1 - sampling.chosen[-1])) <= 1


@pytest.mark.parametrize("name", ["inflate", "central_frame"])
@pytest.mark.parametrize("t", [2, 3])
def test_both_ways_to_start_from_an_image_model_agree_with_it_on_a_still_film(lesson, name, t):
    film = np.repeat(noise(2, 1, 6, 8, 2), 6, axis=1)
    sampling, embedding = lesson.FrameSampling(5, (3, 4), 6 // t), lesson.TubeletEmbedding(5, (t, 3, 4))
    sampling.build(film.shape)
    embedding.build(film.shape)
    filters, bias = filters_of(randomise(sampling))
    embedding.set_weights([getattr(lesson, name)(filters[0], t), bias])
    np.testing.assert_allclose(compute(embedding, film), compute(sampling, film), atol=1e-5)
    film = noise(2, 6, 6, 8, 2)  # now everything moves
    same = np.allclose(compute(embedding, film), compute(sampling, film), atol=1e-5)
    assert same == (name == "central_frame")


def test_places_are_one_trainable_vector_each_for_all_volumes(lesson):
    encoder, tokens = lesson.PositionalEncoder(), noise(2, 3, 4, 8)
    added = compute(encoder, tokens) - tokens
    (places,) = encoder.trainable_weights
    assert tuple(places.shape) == (3, 4, 8)
    np.testing.assert_allclose(added, np.broadcast_to(filters_of(encoder)[0], added.shape), atol=1e-6)
    assert len(np.unique(added[0].reshape(12, 8).round(5), axis=0)) == 12
    np.testing.assert_allclose(compute(encoder, 0 * tokens[:1]), filters_of(encoder)[0][None], atol=1e-6)


# Attention


def notice(layer, T, S, dim=8):
    """Disturb the tokens one by one: an array (T * S disturbed, T, S, dim), true where the layer's output changes."""
    x = np.repeat(noise(1, T, S, dim), T * S, axis=0)
    disturbed = x.copy()
    disturbed.reshape(T * S, T * S, dim)[range(T * S), range(T * S)] += noise(dim, seed=1)
    return np.abs(compute(layer, disturbed) - compute(layer, x)) > 1e-5


def heads_notice(lesson, attention, T, S, dim=8):
    """The same for each head (T * S disturbed, T, S, heads), looked at before the heads are mixed."""
    attention.build((None, T, S, dim))
    attention.mix.set_weights([np.eye(dim), np.zeros(dim)])
    return notice(attention, T, S, dim).reshape(T * S, T, S, attention.heads, -1).any(-1)


def view(over, T, S):
    """Who should notice (T * S disturbed, T, S)."""
    t, s = np.indices((T, S))
    same = {"all": np.ones, "space": lambda shape: t.reshape(-1, 1, 1) == t, "time": lambda _: s.reshape(-1, 1, 1) == s}
    return np.broadcast_to(same[over]((T * S, T, S)), (T * S, T, S)).astype(bool)


@pytest.mark.parametrize("over", OVERS)
def test_each_head_looks_where_it_should(lesson, over):
    noticed = heads_notice(lesson, lesson.Attention(4, over), 3, 5)
    for head in range(4):
        np.testing.assert_array_equal(noticed[..., head], view(over[head * len(over) // 4], 3, 5))


@pytest.mark.parametrize(
    ("overs", "expected"),
    [
        ([("all",)], view("all", 3, 4)),
        ([("space",)], view("space", 3, 4)),
        ([("time",)], view("time", 3, 4)),
        ([("space",), ("time",)], view("all", 3, 4)),
        ([("space", "time")], view("space", 3, 4) | view("time", 3, 4)),
    ],
)
def test_in_a_block_news_travels_as_far_as_its_attentions_reach(lesson, overs, expected):
    block = lesson.Block(2, overs)
    np.testing.assert_array_equal(notice(block, 3, 4).any(-1), expected)


def test_the_factorised_encoder_keeps_time_steps_apart_until_they_are_averaged(lesson):
    space, mean, _ = stack = lesson.encoder_layers("factorised encoder", 2, 2, 0.0)
    assert isinstance(mean, lesson.MeanOverSpace)
    np.testing.assert_array_equal(notice(space, 3, 4).any(-1), view("space", 3, 4))
    whole = notice(lesson.keras.Sequential(stack), 3, 4)
    assert whole.shape == (12, 3, 1, 8) and whole.any(-1).all()


def test_the_mean_over_space_keeps_the_axis(lesson):
    tokens = noise(2, 3, 4, 8)
    np.testing.assert_allclose(compute(lesson.MeanOverSpace(), tokens), tokens.mean(axis=2, keepdims=True), atol=1e-6)


def test_a_block_adds_what_attention_and_mlp_say_to_the_normalised_tokens(lesson):
    x, block = noise(2, 3, 4, 8), lesson.Block(2, [["space"], ["time"]])
    block.build(x.shape)
    computed = compute(randomise(block), x)
    expected = x
    for norm, mixer in zip(block.norms, [*block.attentions, block.mlp], strict=True):
        centred = expected - expected.mean(axis=-1, keepdims=True)
        scale, shift = norm.get_weights()
        expected = expected + compute(mixer, centred / expected.std(axis=-1, keepdims=True) * scale + shift)
    np.testing.assert_allclose(computed, expected, atol=1e-3)


@pytest.mark.parametrize("over", OVERS)
def test_within_a_group_it_is_the_attention_of_keras(lesson, over):
    N, T, S, dim, heads = 2, 3, 5, 8, 4
    x, ours = noise(N, T, S, dim), lesson.Attention(heads, over)
    ours.build(x.shape)
    kernel, bias, mix, mix_bias = filters_of(randomise(ours))
    kernel, bias, mix = kernel.reshape(dim, 3, heads, 2), bias.reshape(3, heads, 2), mix.reshape(heads, 2, dim)
    expected = np.zeros_like(x) + mix_bias
    for share, look in zip(np.split(np.arange(heads), len(over)), over, strict=True):
        seen = x.swapaxes(1, 2) if look == "time" else x
        flat = seen.reshape(N, T * S, dim) if look == "all" else seen.reshape(-1, seen.shape[2], dim)
        theirs = lesson.layers.MultiHeadAttention(len(share), dim // heads)
        theirs.build(flat.shape, flat.shape)
        parts = [part for one in range(3) for part in (kernel[:, one, share], bias[one, share])]
        theirs.set_weights([*parts, mix[share], np.zeros(dim)])
        output = compute(lambda flat, layer=theirs: layer(flat, flat), flat).reshape(seen.shape)
        expected += output.swapaxes(1, 2) if look == "time" else output
    np.testing.assert_allclose(compute(ours, x), expected, atol=1e-5)


@pytest.mark.parametrize("over", ["all", "space", "time"])
def test_grouping_puts_a_groups_tokens_side_by_side_and_is_undone(lesson, over):
    x = noise(2, 3, 5, 4, 2)  # (N, T, S, H, w)
    grouped = compute(lesson.group, x, over=over)
    by_hand = {"all": x.reshape(2, 1, 15, 4, 2), "space": x, "time": x.swapaxes(1, 2)}[over]
    np.testing.assert_array_equal(grouped, np.moveaxis(by_hand, 3, 1))  # (N, H, groups, tokens, w)
    np.testing.assert_array_equal(compute(lesson.ungroup, grouped, over=over, T=3, S=5), x)


def test_an_unknown_view_is_named_with_the_choices(lesson):
    with pytest.raises(AssertionError, match=r"diagonal.*all.*space.*time"):
        lesson.Attention(2, ["diagonal"])(noise(1, 3, 4, 8))


@pytest.mark.parametrize(
    ("heads", "over", "dim"), [(3, ("all",), 8), (3, ("space",), 8), (3, ("space", "time"), 9), (1, OVERS[3], 8)]
)
def test_heads_that_do_not_divide_are_refused(lesson, heads, over, dim):
    with pytest.raises(AssertionError, match=f"heads={heads}"):
        lesson.Attention(heads, over)(noise(3, 3, 4, dim))  # with 3 volumes the rest of a division can go unnoticed


@pytest.mark.parametrize("name", ["Attention", "Block"])
def test_dropout_acts_in_training_only(lesson, name):
    over = ["space"] if name == "Attention" else [["space"]]
    layer, sure = (getattr(lesson, name)(2, over, dropout) for dropout in (0.5, 0.0))
    x = noise(2, 3, 4, 8)
    sure.build(x.shape)
    layer.build(x.shape)
    for one in (layer, sure):
        randomise(one)
    np.testing.assert_allclose(compute(layer, x), compute(sure, x), atol=1e-6)
    assert np.abs(compute(layer, x, training=True) - compute(sure, x)).max() > 1e-2
    np.testing.assert_allclose(compute(sure, x, training=True), compute(sure, x), atol=1e-6)


# The four models


@pytest.mark.parametrize("kind", KINDS)
def test_each_volume_gets_its_own_probabilities(models, kind):
    volumes = noise(3, *SHAPE)
    probabilities = compute(models[kind], volumes)
    assert probabilities.shape == (3, 11)
    np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(3), atol=1e-5)
    assert probabilities.std(axis=0).max() > 1e-3
    alone = [compute(models[kind], volume[None])[0] for volume in volumes]
    np.testing.assert_allclose(probabilities, alone, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_tubelet_counts(models, kind):
    disturbed = np.repeat(noise(1, *SHAPE), 1 + 2 * 2 * 2, axis=0)
    for number, place in enumerate(np.ndindex(2, 2, 2)):
        disturbed[1 + number, *(np.array(place) * TUBELET + 1)] += 3
    probabilities = compute(models[kind], disturbed)
    assert (np.abs(probabilities[1:] - probabilities[0]).max(axis=1) > 1e-4).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_all_tokens_goes_to_the_classifier(lesson, models, kind):
    *_, norm, _, classify = models[kind].layers
    parts = lesson.keras.Model(models[kind].input, [norm.output, classify.input])(noise(2, *SHAPE))
    tokens, pooled = (lesson.ops.convert_to_numpy(part) for part in parts)
    np.testing.assert_allclose(pooled, tokens.mean(axis=(1, 2)), atol=1e-5)


def test_a_half_of_the_heads_for_each_view_costs_no_weights(models):
    count = {kind: model.count_params() for kind, model in models.items()}
    assert count["factorised dot-product"] == count["joint"] == count["factorised encoder"]
    assert count["factorised self-attention"] - count["joint"] == 2 * (4 * 8**2 + 4 * 8 + 2 * 8)


def test_an_unknown_kind_is_named_with_the_choices(lesson):
    with pytest.raises(ValueError, match="kind='divided'.*joint.*factorised dot-product"):
        lesson.encoder_layers("divided", 2, 2, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_says_the_same(lesson, models, kind, tmp_path):
    models[kind].save(tmp_path / "vivit.keras")
    reloaded = lesson.keras.saving.load_model(tmp_path / "vivit.keras", compile=False)
    volumes = noise(3, *SHAPE)
    np.testing.assert_allclose(compute(reloaded, volumes), compute(models[kind], volumes), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "own", "shape"),
    [
        ("TubeletEmbedding", {"dim": 4, "tubelet": TUBELET, "rest": "report"}, SHAPE),
        ("FrameSampling", {"dim": 4, "patch": (3, 4), "frames": 2, "rest": "report"}, SHAPE),
        ("PositionalEncoder", {}, (3, 4, 8)),
        ("Attention", {"heads": 4, "over": ("space", "time"), "dropout": 0.25}, (3, 4, 8)),
        ("Block", {"heads": 2, "overs": [("space",), ("time",)], "dropout": 0.25}, (3, 4, 8)),
        ("MeanOverSpace", {}, (3, 4, 8)),
    ],
)
def test_every_layer_comes_back_from_its_configuration(lesson, name, own, shape, tmp_path):
    layer, x = getattr(lesson, name)(**own), noise(2, *shape)
    config = json.loads(json.dumps(layer.get_config()))  # as a file keeps it: lists for tuples
    again = type(layer).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    assert own.keys() <= config.keys()
    model = lesson.keras.Sequential([lesson.layers.Input(shape), layer])
    randomise(model).save(tmp_path / "layer.keras")
    reloaded = lesson.keras.saving.load_model(tmp_path / "layer.keras", compile=False)
    np.testing.assert_allclose(compute(reloaded, x), compute(layer, x), atol=1e-7)


@pytest.mark.parametrize(("T", "S", "blocks"), [(3, 4, 4), (2, 3, 1), (4, 2, 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_attention_pairs_are_those_that_a_disturbance_finds(lesson, kind, T, S, blocks):
    pairs, places = 0, S
    for layer in lesson.encoder_layers(kind, 2, blocks, 0.0):
        if isinstance(layer, lesson.MeanOverSpace):
            places = 1
            continue
        for attention in layer.attentions:
            pairs += heads_notice(lesson, attention, T, places).sum() / attention.heads
    assert lesson.attention_pairs(kind, T, S, blocks) == pairs


@pytest.mark.parametrize("kind", KINDS)
def test_the_multiplications_are_those_of_the_matrices_that_the_tokens_meet(lesson, kind):
    T, S, dim, blocks, through = 3, 5, 8, 5, 0
    x = noise(1, T, S, dim)
    for layer in lesson.encoder_layers(kind, 2, blocks, 0.0):
        x = layer(x)
        matrices = [weight for weight in layer.weights if len(weight.shape) == 2]
        through += x.shape[1] * x.shape[2] * sum(np.prod(matrix.shape) for matrix in matrices)
    pairs = lesson.attention_pairs(kind, T, S, blocks)
    assert lesson.multiplications(kind, T, S, dim, blocks) == (through, 2 * dim * pairs)


@pytest.mark.parametrize("over", OVERS)
def test_mixing_is_what_attention_does_to_values_that_are_labels(lesson, over):
    T, S, dim, heads = 3, 5, 8, 4
    x, attention = noise(2, T, S, dim), lesson.Attention(heads, over)
    attention.build(x.shape)
    randomise(attention)
    mixed = lesson.mixing(attention, lesson.ops.convert_to_tensor(x))
    np.testing.assert_allclose(mixed.sum(axis=-1), np.ones((2, T * S)), atol=1e-5)
    seen = np.logical_or.reduce([view(one, T, S).reshape(T * S, T * S).T for one in over])
    np.testing.assert_array_equal(mixed[0] > 0, seen)
    kernel, bias, _, _ = filters_of(attention)
    q, k = ((x.reshape(2, T * S, dim) @ kernel + bias).reshape(2, T * S, 3, heads, -1)[:, :, one] for one in (0, 1))
    expected = np.zeros((2, T * S, T * S))
    for head in range(heads):
        allowed = view(over[head * len(over) // heads], T, S).reshape(T * S, T * S)
        scores = np.einsum("nqw,nkw->nqk", q[:, :, head], k[:, :, head]) / (dim // heads) ** 0.5
        scores = np.exp(np.where(allowed, scores, -np.inf))
        expected += scores / scores.sum(axis=-1, keepdims=True) / heads
    np.testing.assert_allclose(mixed, expected, atol=1e-5)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_rollout_gives_each_tubelet_its_share_in_all_four_models(lesson, kind, blocks):
    recipe, volumes = replace(lesson.NOTES, tubelet=(14, 7, 14)), noise(3, 28, 28, 28, 1)
    model = randomise(lesson.build_vivit(replace(recipe, kind=kind, dim=8, heads=2, blocks=blocks)))
    maps = lesson.rollout(model, volumes)
    assert maps.shape == (3, 2, 4, 2) and (maps > 0).all()
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), np.ones(3), atol=1e-5)
    assert maps.std(axis=(1, 2, 3)).min() > 1e-4
    assert lesson.tokens_of(model) == ((2, 4, 2), [7, 21])


@pytest.mark.parametrize("frames", [2, 5, 28])
def test_rollout_follows_any_number_of_sampled_frames(lesson, frames):
    volumes, layers = lesson.layers.Input((28, 28, 28, 1)), lesson.layers
    sampling = lesson.FrameSampling(8, (7, 14), frames)
    tokens = lesson.Block(2, [["all"]])(lesson.PositionalEncoder()(sampling(volumes)))
    model = lesson.keras.Model(volumes, layers.Dense(3)(layers.GlobalAveragePooling2D()(tokens)))
    assert lesson.tokens_of(model) == ((frames, 4, 2), sampling.chosen)
    maps = lesson.rollout(randomise(model), noise(2, 28, 28, 28, 1))
    assert maps.shape == (2, frames, 4, 2)
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), np.ones(2), atol=1e-5)


def test_rollout_followed_back_from_the_answer_is_the_same(lesson, models):
    volumes = noise(2, *SHAPE)
    maps = lesson.rollout(models["joint"], volumes).reshape(2, -1)
    np.testing.assert_allclose(maps, lesson.followed_back(models["joint"], volumes), atol=1e-6)


def test_both_backends_give_the_same_outputs(models, elsewhere, tmp_path):
    for number, kind in enumerate(KINDS):
        models[kind].save_weights(tmp_path / f"{number}.weights.h5")
    elsewhere.communicate(str(tmp_path), timeout=120)
    assert elsewhere.returncode == 0
    here = [compute(models[kind], noise(3, *SHAPE)) for kind in KINDS]
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy", allow_pickle=False), here, atol=1e-4)


def compute_elsewhere():
    lesson, outputs = load_lesson(), []
    folder = Path(sys.stdin.read())
    for number, kind in enumerate(KINDS):
        model = small_vivit(lesson, kind)
        model.load_weights(folder / f"{number}.weights.h5")
        outputs.append(compute(model, noise(3, *SHAPE)))
    np.save(folder / "outputs.npy", outputs)


# Data


def test_a_shift_moves_a_batch_by_a_few_voxels_and_reflects_the_rest(lesson):
    volume, reach, offsets = np.arange(28**3, dtype="float32").reshape(28, 28, 28, 1), 2, []
    padded = np.pad(volume, 3 * [(reach, reach)] + [(0, 0)], mode="reflect")
    for _ in range(60):
        moved, labels = lesson.random_shift(lesson.tf.constant([volume, volume + 1]), [7, 8], reach)
        assert moved.shape == (2, *volume.shape) and labels == [7, 8]
        at = np.array(np.unravel_index(int(moved[0, 14, 14, 14, 0]), (28, 28, 28))) - 14 + reach
        offsets.append(at)
        expected = padded[tuple(slice(start, start + 28) for start in at)]
        np.testing.assert_array_equal(moved, [expected, expected + 1])
    for axis in range(3):
        assert {at[axis] for at in offsets} == set(range(2 * reach + 1))


def test_mirroring_swaps_left_and_right_and_leaves_other_organs_alone(lesson):
    volume, names = noise(2, 3, 4, 1), lesson.data.names
    labels = np.repeat(np.arange(11), 60)
    mirrored = (part.numpy() for part in lesson.mirror(np.repeat(volume[None], len(labels), axis=0), labels))
    flips = np.zeros(11)
    for before, after, label in zip(labels, *mirrored, strict=True):
        flipped = label != before
        np.testing.assert_array_equal(after, volume[:, :, ::-1] if flipped else volume)
        swap = {"left": "right", "right": "left"}
        organ, _, side = names[before].partition("-")
        assert names[label] == (f"{organ}-{swap[side]}" if flipped else names[before])
        flips[before] += flipped
    paired = np.array(["-" in name for name in names])
    assert paired.sum() == 6 and not flips[~paired].any()
    assert 0.4 < flips[paired].sum() / 360 < 0.6


def test_mirroring_twice_is_not_mirroring(lesson):
    volume, label = noise(2, 3, 4, 1), lesson.data.names.index("lung-left")
    twin = lesson.data.names.index("lung-right")
    outcomes = lesson.mirror(np.repeat(volume[None, :, :, ::-1], 20, axis=0), np.full(20, twin))
    back = [after for after, name in zip(*(part.numpy() for part in outcomes), strict=True) if name == label]
    assert 0 < len(back) < 20
    for after in back:
        np.testing.assert_array_equal(after, volume)


@pytest.mark.parametrize("axis", range(3))
def test_the_mirror_turns_the_axis_that_was_found(lesson, axis, monkeypatch):
    monkeypatch.setattr(lesson, "layout", SimpleNamespace(left_right=axis))
    volumes, label = noise(20, 2, 3, 4, 1), lesson.data.names.index("femur-left")
    mirrored, labels = (part.numpy() for part in lesson.mirror(volumes, np.full(20, label)))
    turned = labels != label
    np.testing.assert_array_equal(mirrored[turned], np.flip(volumes, axis + 1)[turned])
    np.testing.assert_array_equal(mirrored[~turned], volumes[~turned])
    assert 0 < turned.sum() < 20


def test_nothing_is_mirrored_where_no_axis_was_found(lesson, monkeypatch):
    recipe = replace(lesson.NOTES, mirror=True)
    assert lesson.augmentations(recipe) == [lesson.mirror]
    monkeypatch.setattr(lesson, "layout", SimpleNamespace(left_right=None))
    assert lesson.augmentations(recipe) == []


def numbered(count, side=2):
    """Volumes that hold nothing but their number, with the number as label."""
    numbers = np.arange(count)
    return np.tile(numbers.astype("uint8")[:, None, None, None], (side, side, side)), numbers


def test_training_is_shuffled_over_the_whole_set_and_anew_in_each_epoch(lesson):
    dataset = lesson.pipeline(numbered(200), replace(lesson.NOTES, batch_size=50), training=True)
    first, second = ([labels for _, labels in dataset.as_numpy_iterator()] for _ in range(2))
    assert sorted(np.concatenate(first)) == list(range(200))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    for labels in first:  # a set sorted by label: each batch still holds something of each quarter
        assert set(labels // 50) == {0, 1, 2, 3}
    for volumes, labels in dataset.as_numpy_iterator():
        np.testing.assert_allclose(volumes[:, 0, 0, 0, 0], labels / 255, atol=1e-6)


def test_validation_is_neither_shuffled_nor_augmented_and_complete(lesson):
    recipe = replace(lesson.NOTES, batch_size=32, shift=1, mirror=True)
    volumes, labels = zip(*lesson.pipeline(numbered(70), recipe).as_numpy_iterator(), strict=True)
    assert [len(batch) for batch in labels] == [32, 32, 6]
    np.testing.assert_array_equal(np.concatenate(labels), np.arange(70))
    assert volumes[0].dtype == np.float32 and volumes[0].shape == (32, 2, 2, 2, 1)
    np.testing.assert_allclose(np.concatenate(volumes)[..., 0], numbered(70)[0] / 255, atol=1e-6)


def test_training_is_augmented_as_the_recipe_says(lesson):
    volume = np.random.default_rng(0).integers(0, 256, (28, 28, 28), dtype="uint8")
    split = np.repeat(volume[None], 24, axis=0), np.full(24, lesson.data.names.index("femur-left"))
    volume = volume / 255

    def outcomes(**own):
        recipe = replace(lesson.NOTES, batch_size=24, **own)
        return next(lesson.pipeline(split, recipe, training=True).as_numpy_iterator())

    plain, labels = outcomes()
    np.testing.assert_allclose(plain[..., 0], np.repeat(volume[None], 24, axis=0), atol=1e-6)
    assert len(set(labels)) == 1
    shifted, labels = outcomes(shift=1)
    assert shifted.min() >= 0 and shifted.max() <= 1 and shifted.dtype == np.float32
    assert len(set(shifted[:, 14, 14, 14, 0])) == len(set(labels)) == 1  # a batch moves as one
    recipe = replace(lesson.NOTES, batch_size=2, shift=1)
    moved = [batch[0, 14, 14, 14, 0] for batch, _ in lesson.pipeline(split, recipe, training=True).as_numpy_iterator()]
    assert len(moved) == 12 and len(set(moved)) > 3  # and every batch anew
    mirrored, labels = outcomes(mirror=True)
    assert {lesson.data.names[label] for label in labels} == {"femur-left", "femur-right"}
    for after, label in zip(mirrored[..., 0], labels, strict=True):
        flipped = lesson.data.names[label] == "femur-right"
        np.testing.assert_allclose(after, volume[:, :, ::-1] if flipped else volume, atol=1e-6)


# Choices


def test_every_choice_stands_in_the_cell_of_dials(lesson):
    assert list(lesson.CHOICES) == [field.name for field in fields(lesson.Recipe)]
    for number, recipe in enumerate((lesson.NOTES, lesson.IMPROVED)):
        assert vars(recipe) == {name: values[number] for name, values in lesson.CHOICES.items()}


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"tubelet": (8, 8)}, r"tubelet=\(8, 8\) .*three sides"),
        ({"tubelet": 7}, r"tubelet=7 .*three sides"),
        ({"tubelet": [7, 7, 7]}, r"tubelet=\[7, 7, 7\] .*in brackets"),
        ({"tubelet": (29, 7, 7)}, r"tubelet=\(29, 7, 7\): .*29.* from 1 to 28"),
        ({"tubelet": (7, 0, 7)}, r"tubelet=\(7, 0, 7\): .*0.* from 1 to 28"),
        ({"tubelet": (8, 7, 7), "rest": "refuse"}, r"tubelet=\(8, 7, 7\) .*divisors of \(28, 28, 28\).*rest='report'"),
        ({"tubelet": (1, 1, 1)}, r"tubelet=\(1, 1, 1\) .*larger.*21,952 tokens.* GB.*free"),
        ({"rest": "ignore"}, "rest='ignore' .*'refuse' or 'report'"),
        ({"kind": "both"}, "kind='both' .*joint.*factorised dot-product"),
        ({"heads": 6}, "heads=6 .*divisor of dim=128"),
        ({"heads": 1}, "heads=1 .*even"),
        ({"heads": 0}, "heads=0 .*at least 1"),
        ({"dim": 0}, "dim=0 .*at least 1"),
        ({"blocks": 0}, "blocks=0 .*at least 1"),
        ({"average": 1.0}, "average=1.0 .*less than 1"),
        ({"epochs": 0}, "epochs=0 .*at least 1"),
        ({"epochs": 2.5}, "epochs=2.5 .*whole number"),
        ({"batch_size": 0}, "batch_size=0 .*at least 1"),
        ({"patience": 0}, "patience=0 .*at least 1"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1 .*at least 0"),
        ({"shift": 28}, "shift=28 .*0 to 27"),
        ({"dropout": 1.0}, "dropout=1.0 .*less than 1"),
        ({"label_smoothing": -0.1}, "label_smoothing=-0.1 .*from 0"),
        ({"weight_decay": 1.5}, "weight_decay=1.5 .*less than 1"),
        ({"learning_rate": 0}, "learning_rate=0 .*more than 0"),
    ],
    ids=str,
)
def test_a_choice_that_cannot_be_is_refused_by_name_with_what_may_be(lesson, choices, words):
    with pytest.raises(ValueError, match=words):
        replace(lesson.NOTES, **choices)


@pytest.mark.parametrize("tubelet", [(7, 7, 7), (14, 7, 7), (28, 28, 28), (8, 5, 28), (4, 4, 4)])
def test_grid_and_what_is_covered_follow_from_the_tubelet(lesson, tubelet):
    recipe, marks = replace(lesson.NOTES, tubelet=tubelet), np.zeros((28, 28, 28))
    marks[lesson.covered(recipe)] = 1
    embedding = lesson.TubeletEmbedding(1, tubelet, "report")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, T, S, _ = embedding(noise(1, 28, 28, 28, 1)).shape
    assert (lesson.grid(recipe)[0], np.prod(lesson.grid(recipe)[1:])) == (T, S)
    assert marks.sum() == T * S * np.prod(tubelet)


def test_boxes_are_whole_and_in_reading_order(lesson):
    volumes = noise(2, 28, 28, 28, 1)
    boxes = lesson.boxes_of(volumes, (14, 8, 9))
    assert len(boxes) == 2 * 3 * 3 and {box.shape for box in boxes} == {(2, 14, 8, 9, 1)}
    np.testing.assert_array_equal(boxes[1], volumes[:, :14, :8, 9:18])
    np.testing.assert_array_equal(boxes[-1], volumes[:, 14:, 16:24, 18:27])


# Training


@pytest.mark.parametrize(("epochs", "warmup", "steps", "climbs"), [(1, 2, 31, 15), (2, 2, 7, 7), (3, 2, 10, 15)])
def test_a_warm_up_longer_than_half_the_training_is_cut_and_says_so(lesson, epochs, warmup, steps, climbs):
    recipe = replace(lesson.NOTES, epochs=epochs, warmup_epochs=warmup, learning_rate=1e-2)
    words = f"warmup_epochs={warmup} .*half of {epochs * steps} steps.*climbs for {climbs}"
    with pytest.warns(UserWarning, match=words):
        optimizer = lesson.optimizer_for(recipe, steps)
    rates = [rate(optimizer, step) for step in range(epochs * steps + 1)]
    assert np.argmax(rates) == climbs and rates[climbs] == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_weight_decay_reaches_the_optimiser_without_a_warm_up(lesson):
    optimizer = lesson.optimizer_for(replace(lesson.NOTES, weight_decay=0.07, learning_rate=3e-4), steps=10)
    assert isinstance(optimizer, lesson.keras.optimizers.AdamW) and optimizer.weight_decay == 0.07
    assert [rate(optimizer, step) for step in (0, 100)] == pytest.approx(2 * [3e-4])


def test_the_average_remembers_its_share_of_all_steps_and_the_original_keeps_none(lesson):
    recipe = replace(lesson.IMPROVED, average=0.1, epochs=10)
    optimizer = lesson.optimizer_for(recipe, steps=20)
    assert optimizer.use_ema and optimizer.ema_momentum == pytest.approx(1 - 1 / 20)
    assert not lesson.optimizer_for(replace(lesson.IMPROVED, average=0.0), steps=20).use_ema
    assert not lesson.optimizer_for(lesson.NOTES, steps=20).use_ema


@pytest.mark.parametrize(("seconds", "each"), [([9.0], 9.0), ([9.0, 11.0], 2.0), ([9.0, 11.0, 12.0, 14.0], 2.0)])
def test_the_time_of_an_epoch_leaves_out_the_first_unless_there_is_no_other(lesson, seconds, each):
    assert lesson.seconds_per_epoch(seconds) == each


def rate(optimizer, step):
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


def test_without_a_warm_up_it_is_plain_adam_at_a_constant_rate(lesson):
    optimizer = lesson.optimizer_for(replace(lesson.NOTES, learning_rate=3e-4), steps=10)
    assert isinstance(optimizer, lesson.keras.optimizers.Adam)
    assert not isinstance(optimizer, lesson.keras.optimizers.AdamW)
    assert [rate(optimizer, step) for step in (0, 100, 600)] == pytest.approx(3 * [3e-4])


def test_the_rate_climbs_during_the_warm_up_and_then_falls_to_nothing(lesson):
    recipe = replace(lesson.NOTES, epochs=20, warmup_epochs=3, learning_rate=1e-2, weight_decay=0.07)
    optimizer = lesson.optimizer_for(recipe, steps=10)
    assert isinstance(optimizer, lesson.keras.optimizers.AdamW)
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.07, 1.0)
    rates = [rate(optimizer, step) for step in range(201)]
    assert np.argmax(rates) == 30 and rates[30] == pytest.approx(1e-2)
    assert rates[0] == pytest.approx(0, abs=1e-6) and rates[200] == pytest.approx(0, abs=1e-6)
    assert (np.diff(rates[:31]) > 0).all() and (np.diff(rates[30:]) < 0).all()
    assert rates[115] == pytest.approx(5e-3, rel=1e-3)  # halfway down a cosine


@pytest.mark.parametrize("column", [False, True])
def test_the_loss_is_cross_entropy_and_smoothing_punishes_certainty(lesson, column):
    labels = np.array([0, 3, 10])
    probabilities = np.full((3, 11), 0.002, "float32")
    probabilities[range(3), labels] = 0.98
    given = labels[:, None] if column else labels
    loss, smooth = (
        lesson.ops.convert_to_numpy(
            lesson.loss_for(replace(lesson.NOTES, label_smoothing=amount))(given, probabilities)
        )
        for amount in (0.0, 0.1)
    )
    np.testing.assert_allclose(loss, np.full(3, -np.log(0.98)), atol=1e-5)
    sparse = lesson.keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    np.testing.assert_allclose(loss, lesson.ops.convert_to_numpy(sparse), atol=1e-5)
    target = np.where(np.eye(11)[0] > 0, 0.9 + 0.1 / 11, 0.1 / 11)
    expected = -(target * np.log(np.where(np.eye(11)[0] > 0, 0.98, 0.002))).sum()
    np.testing.assert_allclose(smooth, np.full(3, expected), atol=1e-4)
    assert (smooth > loss).all()


if __name__ == "__main__":
    compute_elsewhere()
