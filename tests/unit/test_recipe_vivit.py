"""The recipe of ViViT-mini on a tiny budget: what it chooses, what it writes, and that a second run goes on."""

import io
import zipfile
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from tutorial_utils.recipes.reports import read_report

pytestmark = pytest.mark.skipif(not find_spec("keras"), reason="a light environment has no Keras")

h5py = pytest.importorskip("h5py", reason="a light environment has no h5py, which Keras brings")

CPU = torch.device("cpu")
TINY = {"dim": 8, "heads": 2, "blocks": 1, "tubelet": (14, 14, 14), "batch_size": 22}


def few_volumes(**options: int):
    """Two volumes of each organ, for training, validation and test alike."""
    from tutorial_utils.datasets.organmnist3d import Volumes
    from tutorial_utils.datasets.organs import NAMES, draw_organs

    labels = np.tile(np.arange(len(NAMES)), 2)
    volumes = draw_organs([NAMES[label] for label in labels], np.random.default_rng(0), **options)
    split = volumes, labels
    return Volumes(split, split, split, NAMES, "a few volumes")


@pytest.fixture(scope="module")
def vivit():
    """The recipe, in seconds: two seeds and two models."""
    from tutorial_utils.recipes import vivit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vivit, "SEEDS", (0, 1))
        patch.setattr(vivit, "MODELS", ("original", "factorised-dot-product"))
        yield vivit


@pytest.fixture(scope="module")
def lesson(vivit, tmp_path_factory):
    """Lesson 2's definitions over a few volumes of every organ, with small models and two epochs."""
    lesson = vivit.load_lesson(few_volumes(), tmp_path_factory.mktemp("best"))
    lesson.EPOCHS = {"full": (2, 3)}
    lesson.NOTES, lesson.IMPROVED = (replace(one, **TINY) for one in (lesson.NOTES, lesson.IMPROVED))
    return lesson


@pytest.fixture(scope="module")
def written(vivit, lesson, tmp_path_factory):
    """What the recipe wrote, and where it keeps its state."""
    out, work = (tmp_path_factory.mktemp(name) for name in ("out", "work"))
    vivit.train_all(lesson, out, work, CPU)
    return out, work


def test_a_model_is_trained_by_its_recipe_in_full(vivit, lesson):
    original, factorised = (vivit.recipe_for(lesson, name, 5) for name in vivit.MODELS)
    assert (original.kind, original.epochs, original.seed) == ("joint", 2, 5)
    assert (factorised.kind, factorised.epochs, factorised.patience) == ("factorised dot-product", 3, 3)


@pytest.mark.parametrize(("share", "epochs"), [(1.0, 120), (0.1, 12), (0.02, 2), (1e-9, 1)])
def test_a_share_is_one_of_the_epochs_and_the_warm_up_fits_in(vivit, tmp_path, share, epochs):
    lesson = vivit.load_lesson(few_volumes(), tmp_path)
    recipe = vivit.recipe_for(lesson, "joint", 0, share)
    assert (recipe.epochs, recipe.patience) == (epochs, epochs)
    assert recipe.warmup_epochs == min(lesson.IMPROVED.warmup_epochs, epochs // 2)
    assert vivit.recipe_for(lesson, "original", 0, share).warmup_epochs == 0


def test_every_model_lies_in_a_folder_of_its_own_with_its_card_and_the_figures_of_all_seeds(vivit, written):
    out, _ = written
    assert {path.name for path in out.iterdir()} == set(vivit.MODELS)
    for folder in out.iterdir():
        assert {path.name for path in folder.iterdir()} == {"vivit.keras", "README.md", "metrics.json", "training.csv"}
        metrics, rows = read_report(folder)
        assert [one["seed"] for one in metrics["seeds"]] == [0, 1] and metrics["tested"] == 22
        shipped = next(one for one in metrics["seeds"] if one["seed"] == metrics["seed"])
        assert shipped["validation_accuracy"] == max(one["validation_accuracy"] for one in metrics["seeds"])
        low, high = shipped["test_interval"]
        assert low < shipped["test_accuracy"] < high or shipped["test_accuracy"] in (0, 1)
        assert len(rows) == 2 * metrics["recipe"]["epochs"] and f"{metrics['parameters']:,}" in (
            folder / "README.md"
        ).read_text(encoding="utf-8")


def test_the_shipped_file_gives_what_the_card_says_and_holds_no_code(lesson, written):
    out, _ = written
    for folder in out.iterdir():
        metrics, _ = read_report(folder)
        model = lesson.keras.saving.load_model(folder / "vivit.keras", compile=False, safe_mode=True)
        assert {weight.dtype for weight in model.weights} == {"float32"}
        answers = model.predict(lesson.convert(*lesson.data.test)[0], verbose=0).argmax(axis=1)
        shipped = next(one for one in metrics["seeds"] if one["seed"] == metrics["seed"])
        assert np.mean(answers == lesson.data.test[1]) == pytest.approx(shipped["test_accuracy"], abs=0.05)


def test_what_a_training_keeps_is_the_average_that_it_measured(lesson):
    recipe = replace(lesson.IMPROVED, average=0.9, learning_rate=0.03, epochs=4, patience=4)
    model, history, _ = lesson.train(recipe)
    loss, accuracy, _ = model.evaluate(lesson.pipeline(lesson.data.val, recipe), verbose=0)
    best = int(np.argmax(history["val_accuracy"]))
    assert accuracy == pytest.approx(history["val_accuracy"][best], abs=1e-6)
    assert loss == pytest.approx(history["val_loss"][best], rel=1e-4)


def test_weights_are_stored_in_half_precision(written):
    out, _ = written
    kinds = set()
    for folder in out.iterdir():
        with (
            zipfile.ZipFile(folder / "vivit.keras") as file,
            h5py.File(io.BytesIO(file.read("model.weights.h5"))) as h5,
        ):
            h5.visititems(lambda _, item: kinds.add(str(item.dtype)) if isinstance(item, h5py.Dataset) else None)
    assert kinds == {"float16"}


def test_long_volumes_train_every_arrangement_once_and_leave_curves_but_no_weights(vivit, tmp_path, monkeypatch):
    lesson = vivit.load_lesson(few_volumes(slices=56), tmp_path)
    lesson.IMPROVED = replace(lesson.IMPROVED, **TINY)
    monkeypatch.setattr(vivit, "LONG", {"tubelet": (7, 14, 14), "epochs": 2})
    vivit.train_long(lesson, tmp_path / "long", tmp_path, CPU)
    assert {path.name for path in (tmp_path / "long").iterdir()} == {"README.md", "metrics.json", "training.csv"}
    metrics, rows = read_report(tmp_path / "long")
    assert set(metrics["kinds"]) == set(lesson.KINDS) == {row["kind"] for row in rows}
    assert [row["epoch"] for row in rows] == [1.0, 2.0] * len(lesson.KINDS)
    assert "32 tokens" in (tmp_path / "long" / "README.md").read_text(encoding="utf-8")


def test_what_is_trained_is_not_trained_again(vivit, lesson, written, tmp_path, monkeypatch):
    _, work = written
    monkeypatch.setattr(lesson, "train", None)
    vivit.train_all(lesson, tmp_path, work, CPU)
    assert {path.name for path in tmp_path.iterdir()} == set(vivit.MODELS)


def test_the_command_trains_them_and_shows_the_cards(vivit, lesson, tmp_path, monkeypatch):
    from commandline import run

    monkeypatch.setattr(vivit, "load_lesson", lambda data, work: lesson)
    monkeypatch.setattr(vivit, "train_long", lambda *_: None, raising=False)
    out, work, share = tmp_path / "net", tmp_path / "work", ["--share", "0.4"]
    status, shown, err = run("train", "vivit", *share, "--out", str(out), "--work", str(work))
    assert status == 0, err
    assert {path.name for path in out.iterdir()} == set(vivit.MODELS)
    for name in vivit.MODELS:
        assert f"# ViViT-mini: {name}" in shown and f"{name}, seed 1 ━" in shown
        assert "`python -m tutorial_utils train vivit --share 0.4`" in (out / name / "README.md").read_text("utf-8")
        assert len(read_report(out / name)[1]) == 2  # an epoch for each seed
    monkeypatch.setattr(lesson, "train", None)  # it would go on with what is there
    status, _, err = run("train", "vivit", *share, "--out", str(tmp_path / "again"), "--work", str(work))
    assert status == 0, err
