"""The recipe of ViT-mini on tiny inputs: what it trains on, and that a resumed run is the same run."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from tutorial_utils.recipes import training, vit
from tutorial_utils.recipes.pictures import Pictures
from tutorial_utils.recipes.training import hybrid_optimizers, load_state, save_state, warmup_cosine
from tutorial_utils.recipes.vit import EpochRun, Recipe, Split, augment, student_logits

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
BLACK = -1.0


def erased(change: torch.Tensor) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of a full rectangle of changed pixels (H, W), or None if there are none."""
    rows, columns = change.any(1).nonzero().flatten(), change.any(0).nonzero().flatten()
    if not len(rows):
        return None
    box = rows[0].item(), rows[-1].item() + 1, columns[0].item(), columns[-1].item() + 1
    assert change[box[0] : box[1], box[2] : box[3]].all()
    return box


# --- Augmentation -------------------------------------------------------------------------------------


def test_augmentation_keeps_shape_and_range():
    torch.manual_seed(0)
    x = torch.rand(200, 1, 32, 32) * 2 - 1
    out = augment(x)
    assert out.shape == x.shape and out.dtype == x.dtype
    assert out.min() >= -1 - 1e-5 and out.max() <= 1 + 1e-5
    assert not torch.equal(out, x)


def test_a_black_background_stays_black_except_for_one_rectangle_in_a_quarter_of_the_images():
    torch.manual_seed(0)
    out = augment(torch.full((400, 1, 32, 32), BLACK))
    boxes = [erased(image[0] != BLACK) for image in out]
    for image, box in zip(out, boxes, strict=True):
        if box:
            top, bottom, left, right = box
            assert 4 <= bottom - top <= 10 and 4 <= right - left <= 10
            assert image[0, top:bottom, left:right].unique().numel() == 1
    assert 60 <= sum(box is not None for box in boxes) <= 140


def test_what_moves_in_from_outside_is_black_and_at_most_four_pixels_wide():
    torch.manual_seed(0)
    out = augment(torch.ones(400, 1, 32, 32))
    border = torch.ones(32, 32, dtype=torch.bool)
    border[4:-4, 4:-4] = False
    untouched = (out[:, 0, 4:-4, 4:-4] > 0.999).flatten(1).all(1)
    assert untouched.float().mean() > 0.5
    assert (out[untouched][:, 0, border] == BLACK).any()


def test_half_of_the_images_are_mirrored():
    torch.manual_seed(0)
    x = torch.full((400, 1, 32, 32), BLACK)
    x[..., :16] = 1.0
    out = augment(x)
    mirrored = (out[..., 22:].mean((1, 2, 3)) > out[..., :10].mean((1, 2, 3))).float().mean()
    assert 0.4 < mirrored < 0.6


# --- Data -----------------------------------------------------------------------------------------------


def pictures_of(images: torch.Tensor, labels: torch.Tensor) -> Pictures:
    """Bytes (N, 28, 28) as what a recipe trains on, without a test set."""
    none = torch.empty(0, 1, 28, 28), torch.empty(0, dtype=torch.int64)
    return Pictures((images[:, None].float() / 255, labels), none, vit.FASHION_CLASSES, *[""] * 4)


@pytest.fixture
def sixty_images() -> Pictures:
    """Sixty images that stand for the 60,000; the value of an image's pixels is its number."""
    return pictures_of(torch.arange(60).view(60, 1, 1).expand(60, 28, 28), torch.arange(60) % 10)


def test_the_held_out_images_and_the_others_are_the_whole_training_set(sixty_images):
    fit, held_out = vit.load_splits(Recipe(held_out=7), sixty_images)
    numbers = [split.images[:, 0, 0, 0].tolist() for split in (fit, held_out)]
    assert [len(part) for part in numbers] == [53, 7]
    assert sorted(numbers[0] + numbers[1]) == list(range(60))
    for split in (fit, held_out):
        assert split.images.shape[1:] == (1, 32, 32) and split.images.dtype == torch.uint8
        assert torch.equal(split.labels, split.images[:, 0, 0, 0] % 10)


def test_the_seed_decides_what_is_held_out(sixty_images):
    splits = [vit.load_splits(Recipe(held_out=7, seed=seed), sixty_images) for seed in (0, 0, 1)]
    held = [held_out.images[:, 0, 0, 0].tolist() for _, held_out in splits]
    assert held[0] == held[1] != held[2]


def test_of_few_images_a_fifth_is_held_out(sixty_images):
    fit, held_out = vit.load_splits(Recipe(), sixty_images)
    assert (len(fit.labels), len(held_out.labels)) == (48, 12)


@pytest.mark.parametrize(("count", "times"), [(48, 3), (100, 1), (101, 1)])
def test_an_epoch_takes_images_in_its_own_order_and_few_ones_again_and_again(count, times):
    orders = [vit.order_of(epoch, count, Recipe(epoch=100)) for epoch in (0, 0, 1)]
    assert all(order.bincount(minlength=count).tolist() == [times] * count for order in orders)
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])


@pytest.mark.parametrize("share", [1.0, 0.3, 0.1, 0.01, 1e-9])
def test_a_share_is_one_of_all_images_that_are_seen_even_where_it_is_less_than_an_epoch(share):
    short = Recipe().shortened(share)
    assert short.length == pytest.approx(share * Recipe().length, rel=0.01) or short.epoch == short.batch_size
    assert short.epochs >= 1 <= short.refine_epochs and short.epoch <= Recipe.epoch


def test_training_images_are_what_the_saved_processor_makes_of_them():
    images = torch.randint(0, 256, (20, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
    fit, held_out = vit.load_splits(Recipe(held_out=1), pictures_of(images, torch.arange(20)))
    trained = torch.cat([fit.images, held_out.images])[torch.cat([fit.labels, held_out.labels]).argsort()]
    rgb = images.unsqueeze(1).expand(-1, 3, -1, -1)
    judged = vit.image_processor()(rgb, return_tensors="pt").pixel_values
    torch.testing.assert_close(vit.normalise(trained).expand(-1, 3, -1, -1), judged, atol=1e-5, rtol=0)


# --- Networks ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return ViTForImageClassification(vit.student_config()).eval()


def test_the_student_has_at_most_two_million_parameters_and_names_its_classes(student):
    assert sum(p.numel() for p in student.parameters()) <= 2_000_000
    assert list(student.config.id2label.values()) == list(vit.FASHION_CLASSES)
    assert {student.config.label2id[name] for name in vit.FASHION_CLASSES} == set(range(10))


@torch.no_grad()
def test_logits_from_all_patches_equal_the_models_own_forward(student):
    x = torch.rand(3, 1, 32, 32) * 2 - 1
    torch.testing.assert_close(student_logits(student, x, keep=1.0), student(x.expand(-1, 3, -1, -1)).logits)


@torch.no_grad()
@pytest.mark.parametrize(("keep", "tokens"), [(1.0, 65), (0.5, 33), (0.25, 17)])
def test_a_fraction_of_the_patches_and_the_class_token_are_kept(student, keep, tokens):
    seen = {}

    def look(module, arguments):
        seen["tokens"] = arguments[0]

    hook = student.vit.layers[0].register_forward_pre_hook(look)
    x = torch.rand(2, 1, 32, 32) * 2 - 1
    logits = student_logits(student, x, keep)
    hook.remove()
    assert logits.shape == (2, 10)
    assert seen["tokens"].shape == (2, tokens, 128)
    every = student.vit.embeddings(x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(seen["tokens"][:, 0], every[:, 0])
    for image in range(2):  # each is one of the image's own tokens, and none is there twice
        nearest = torch.cdist(seen["tokens"][image], every[image]).min(1)
        assert nearest.values.max() < 1e-3
        assert nearest.indices.unique().numel() == tokens


@torch.no_grad()
def test_the_teacher_reads_grey_images():
    assert vit.build_teacher().eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_accuracy_counts_right_answers_over_uneven_batches():
    data = Split(torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1), torch.tensor([0, 1, 2, 3, 4, 5, 0]))

    def logits_of(x):
        return F.one_hot(((x.flatten() + 1) * 127.5).round().long(), 10).float()

    assert vit.accuracy(logits_of, data, CPU, batch_size=3) == pytest.approx(6 / 7)


# --- Training -------------------------------------------------------------------------------------------------


def test_every_parameter_has_exactly_one_optimizer(student):
    optimizers = hybrid_optimizers(student, 1e-3, 0.1)
    given = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in student.parameters())
    muon = {id(p) for group in optimizers[0].param_groups for p in group["params"]}
    names = {name for name, p in student.named_parameters() if id(p) in muon}
    assert names and all(name.startswith("vit.layers.") and name.endswith("weight") for name in names)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero():
    rates = [warmup_cosine(step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_the_learning_rate_needs_no_warm_up_and_stays_at_zero_after_the_end():
    assert warmup_cosine(0, 100, 0) == 1.0
    assert warmup_cosine(150, 100, 10) == pytest.approx(0.0, abs=1e-12)


RECIPE = Recipe(epoch=26, batch_size=8, warmup_epochs=0.5, ema_decay=0.9)
DATA = Split(
    torch.randint(0, 256, (26, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(26) % 10,
)


def tiny_vit() -> tuple[nn.Module, list]:
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=10,
    )
    model = ViTForImageClassification(config)
    return model, hybrid_optimizers(model, 1e-2, 0.05)


def tiny_convolution() -> tuple[nn.Module, list]:
    model = nn.Sequential(nn.Conv2d(1, 4, 8, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    return model, [torch.optim.AdamW(model.parameters(), lr=1e-2)]


def train(build, logits_of, work, seed: int, stop_before: int | None = None) -> EpochRun:
    """Train three epochs of three steps from a seed, as far as the step `stop_before`, where the power fails."""
    torch.manual_seed(seed)
    model, optimizers = build()
    run = EpochRun("tiny", model, optimizers, 1e-2, 3, RECIPE, work)

    def loss_of(model, x, y):
        if run.step == stop_before:
            raise KeyboardInterrupt
        return F.cross_entropy(logits_of(model, x), y)

    run.fit_epochs(DATA, DATA, lambda epoch: loss_of, logits_of)
    return run


NETWORKS = {
    "vit": (tiny_vit, lambda model, x: student_logits(model, x, 0.5 if model.training else 1.0)),
    "convolution": (tiny_convolution, lambda model, x: model(x)),
}


@pytest.mark.parametrize(("every", "cut", "kept"), [(60, 4, 3), (0, 4, 4), (0, 1, 1), (0, 3, 3), (0, 8, 8)])
@pytest.mark.parametrize(("build", "logits_of"), NETWORKS.values(), ids=NETWORKS)
def test_a_run_resumed_after_or_in_an_epoch_ends_exactly_as_an_uninterrupted_one(
    tmp_path, monkeypatch, build, logits_of, every, cut, kept
):
    """It is saved after each epoch, and every `every` seconds."""
    whole = train(build, logits_of, tmp_path / "whole", seed=0)
    monkeypatch.setattr(training, "SAVED_EVERY", every)
    with pytest.raises(KeyboardInterrupt):
        train(build, logits_of, tmp_path / "cut", seed=0, stop_before=cut)
    assert load_state(tmp_path / "cut" / "tiny.pt")["step"] == kept
    resumed = train(build, logits_of, tmp_path / "cut", seed=99)  # another start, which the state replaces

    for part in ("model", "average"):
        expected = getattr(whole, part).state_dict()
        for name, value in getattr(resumed, part).state_dict().items():
            assert torch.equal(value, expected[name]), f"{part}: {name}"
    assert [row["epoch"] for row in resumed.epoch_rows] == [1, 2, 3]
    for row, other in zip(whole.epoch_rows, resumed.epoch_rows, strict=True):
        assert row | {"seconds": 0} == other | {"seconds": 0} and row["network"] == "tiny"
    assert whole.best["held_out_accuracy"] == resumed.best["held_out_accuracy"]


def test_each_epoch_takes_every_image_once_and_the_loss_of_its_kind(tmp_path):
    """Of 26 images three batches of 8; the last epoch has another loss."""
    model, optimizers = tiny_convolution()
    run, seen = EpochRun("tiny", model, optimizers, 1e-2, 3, RECIPE, tmp_path), {"first": [], "last": []}

    def watched(kind):
        def loss_of(model, x, y):
            seen[kind] += y.tolist()
            return F.cross_entropy(model(x), y)

        return loss_of

    first, last = watched("first"), watched("last")
    data = Split(DATA.images, torch.arange(26) % 10)
    run.fit_epochs(data, DATA, lambda epoch: last if epoch == 2 else first, lambda model, x: model(x))
    assert (len(seen["first"]), len(seen["last"])) == (48, 24)
    for epoch, labels in enumerate((seen["first"][:24], seen["first"][24:], seen["last"])):
        assert labels == data.labels[vit.order_of(epoch, 26, RECIPE)[:24]].tolist()


def test_a_finished_run_is_not_trained_again(tmp_path):
    done = train(*NETWORKS["convolution"], tmp_path, seed=0)
    again = train(*NETWORKS["convolution"], tmp_path, seed=1, stop_before=0)
    assert all(torch.equal(again.model.state_dict()[name], value) for name, value in done.model.state_dict().items())
    assert again.best["held_out_accuracy"] == done.best["held_out_accuracy"] > 0
    assert all(torch.equal(again.best["weights"][name], value) for name, value in done.best["weights"].items())


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path):
    run = train(*NETWORKS["convolution"], tmp_path, seed=0)
    assert run.best["held_out_accuracy"] == max(row["held_out_accuracy"] for row in run.rows)
    model, _ = tiny_convolution()
    model.load_state_dict(run.best["weights"])
    assert vit.accuracy(model.eval(), DATA, CPU) == run.best["held_out_accuracy"]


def test_a_state_is_replaced_in_one_step(tmp_path):
    save_state(tmp_path / "deep" / "a.pt", {"x": torch.ones(2)})
    with pytest.raises(Exception, match="pickle"):
        save_state(tmp_path / "deep" / "a.pt", {"x": lambda: None})
    assert torch.equal(load_state(tmp_path / "deep" / "a.pt")["x"], torch.ones(2))
    assert load_state(tmp_path / "none.pt") is None


def test_a_state_of_another_recipe_is_refused(tmp_path, monkeypatch):
    train(*NETWORKS["convolution"], tmp_path, seed=0)
    monkeypatch.setitem(globals(), "RECIPE", replace(RECIPE, ema_decay=0.5))
    with pytest.raises(ValueError, match="belongs to another recipe"):
        train(*NETWORKS["convolution"], tmp_path, seed=0)
