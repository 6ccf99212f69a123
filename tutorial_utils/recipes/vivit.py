"""ViViT-mini: lesson 2's models, trained in full with three seeds: the original recipe, and the better one four ways.

The layers, the pipeline and both recipes stand in the lesson's cells, where a learner reads and changes them, and are
taken from there (see `definitions`): so what ships is what that page defines, and nothing stands twice.

    python -m tutorial_utils train vivit

Where attention is dear, the four arrangements differ in more than their accuracy: so they are also trained once each on
volumes of twice as many slices in thin tubelets, and their curves are kept, but no weights.

A training takes minutes; the run resumes after the last whole one found in `--work`. Epoch and seed are chosen on the
validation set. Each model reads the test set once, at the end, with the weights as they are stored.
"""

from __future__ import annotations

import io
import logging
import os
import zipfile
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import torch

from tutorial_utils import execution
from tutorial_utils.datasets.axes import find_axes
from tutorial_utils.datasets.organmnist3d import Volumes, synthetic_organs
from tutorial_utils.definitions import definitions
from tutorial_utils.measures.intervals import Rate
from tutorial_utils.progress import bar
from tutorial_utils.recipes.pictures import command_of
from tutorial_utils.recipes.reports import write_report
from tutorial_utils.recipes.training import cached, command, minutes_of, words_for

log = logging.getLogger("recipes.vivit")

SEEDS = (0, 1, 2)

MODELS = ("original", "joint", "factorised-encoder", "factorised-self-attention", "factorised-dot-product")
"""What ships, by folder: the original recipe's model, and the better recipe's with each arrangement of attention."""

SLICES = 56

LONG = {"tubelet": (2, 7, 7), "epochs": 30}
"""What the better recipe changes for volumes of so many slices: 28 time steps in place of 4, and fewer epochs."""


def load_lesson(data: Volumes, work: Path) -> ModuleType:
    """What lesson 2 defines, for these volumes; its trainings keep their best weights in `work`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    notebook = execution.find_notebooks(["02"])[0]
    volumes, labels = data.train
    cubes = volumes[:, :: volumes.shape[1] // volumes.shape[2]]  # of a long volume every second slice
    layout = find_axes(cubes, labels, data.names)
    lesson = definitions(notebook, data=data, example=data.train[0][0], layout=layout, checkpoints=work)
    lesson.warnings.filterwarnings("ignore", "tubelet=")  # what the original recipe leaves out is the lesson's subject
    return lesson


def recipe_for(lesson: ModuleType, name: str, seed: int, share: float = 1.0) -> Any:
    """The lesson's recipe of a model, with a share of the epochs that it has at `full`, all of them."""
    original, better = lesson.EPOCHS["full"]
    if name == "original":
        return lasting(replace(lesson.NOTES, seed=seed), original, share)
    return lasting(replace(lesson.IMPROVED, kind=name.replace("-", " ", 1), seed=seed), better, share)


def lasting(recipe: Any, epochs: int, share: float) -> Any:
    """A recipe that takes a share of so many epochs, at least one, to the last; it warms up in half of them at most."""
    epochs = max(1, round(share * epochs))
    return replace(recipe, epochs=epochs, patience=epochs, warmup_epochs=min(recipe.warmup_epochs, epochs // 2))


def train(lesson: ModuleType, recipe: Any, title: str) -> dict:
    """One training: the weights of the epoch that was best on the validation set, and a row for each epoch.

    Args:
        title: of its progress bar.
    """
    with bar(title, "epochs") as progress:
        watcher = lesson.keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: progress(epoch + 1, recipe.epochs)
        )
        model, history, seconds = lesson.train(recipe, watcher)
    each = np.diff([0.0, *seconds])
    rows = [
        {"seed": recipe.seed, "epoch": epoch}
        | {name: round(float(values[epoch - 1]), 5) for name, values in history.items()}
        | {"seconds": round(float(took), 2)}
        for epoch, took in enumerate(each, 1)
    ]
    log.info("%s: validation %.1f%%", title, 100 * best_epoch(rows)["val_accuracy"])
    return {"weights": [torch.from_numpy(weight).half() for weight in model.get_weights()], "rows": rows}


def best_epoch(rows: list[dict]) -> dict:
    """The row whose weights are kept: the first of those that are best on the validation set."""
    return max(rows, key=lambda row: row["val_accuracy"])


def rebuilt(lesson: ModuleType, recipe: Any, run: dict) -> Any:
    """The Keras model of a training, with its weights as they are stored."""
    model = lesson.build_vivit(recipe)
    model.set_weights([weight.float().numpy() for weight in run["weights"]])
    return model


def judge(lesson: ModuleType, model: Any, run: dict) -> dict:
    """What one seed's model does on the test set, with what its training says of it."""
    from medmnist.evaluator import getAUC

    volumes, labels = lesson.data.test
    probabilities = model.predict(lesson.convert(volumes, labels)[0], batch_size=32, verbose=0)
    accuracy, best = Rate.of(probabilities.argmax(axis=1) == labels), best_epoch(run["rows"])
    reached = [row["epoch"] for row in run["rows"] if row["val_accuracy"] >= 0.8]
    return {
        "seed": best["seed"],
        "epoch": best["epoch"],
        "validation_accuracy": best["val_accuracy"],
        "epochs_to_80_percent": reached[0] if reached else None,
        "test_accuracy": accuracy.value,
        "test_interval": accuracy.interval,
        "test_auc": float(getAUC(labels, probabilities, "multi-class")),
    }


def save_in_half(model: Any, path: Path) -> None:
    """Write a ``.keras`` file with its weights in float16. Keras reads them into layers of the layers' own precision.

    Args:
        model: a Keras model that was not compiled, or the optimiser's state would be stored as well.
    """
    whole = path.with_name(f"whole-{path.name}")
    model.save(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(zipfile.ZipInfo(name), _halved(content) if name.endswith(".h5") else content)
    whole.unlink()


def _halved(content: bytes) -> bytes:
    """An HDF5 file with its numbers in float16."""
    halved = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as old, h5py.File(halved, "w") as new:

        def take_over(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                taken = new.require_group(name)
            else:
                taken = new.create_dataset(name, data=item[()].astype(np.float16))
            taken.attrs.update(item.attrs)

        old.visititems(take_over)
        new.attrs.update(old.attrs)
    return halved.getvalue()


CARD = """\
---
license: apache-2.0
library_name: keras
pipeline_tag: image-classification
metrics: [accuracy]
---

# ViViT-mini: {name}

A video transformer of {parameters:,} parameters that tells eleven organs apart in small synthetic volumes. It was
trained for a lesson, to be looked into. **Its volumes are drawn by formula: they are no medical data, and nothing that
was measured on them says anything about medicine.**

Its layers are the lesson's own, so Keras needs their definitions; the file itself holds no code:

```python
from pathlib import Path

import keras

from tutorial_utils.datasets.organmnist3d import synthetic_organs
from tutorial_utils.recipes import vivit

lesson = vivit.load_lesson(synthetic_organs(), Path("."))  # the layers, from the lesson's cells
keras.saving.load_model("vivit.keras", compile=False)
```

| | |
|---|---|
| input | 28x28x28 voxels from 0 to 1, {tubelets} tubelets of {tubelet} |
| network | {kind}: {blocks} blocks, width {dim}, {heads} heads |
| data | the stand-in for OrganMNIST3D: {fitted} volumes to fit, {held_out} to choose the epoch and the seed |
| recipe | {command}, {epochs} epochs |
| training time | {minutes:.0f} minutes for each seed, on {device} |
| **test accuracy** | **{accuracy}**, with the seed that was best on the validation set |
| AUC | {auc:.3f} |

| seed | best epoch | validation | test, 95% interval of {tested} volumes | AUC | epochs to 80% of validation |
|---|---|---|---|---|---|
{seeds}

The seeds' mean is {mean:.1%}, from {low:.1%} to {high:.1%}. `training.csv` has every epoch of each seed, `metrics.json`
all numbers of this card and every setting of the recipe.
"""


def card(metrics: dict, name: str, share: float, device: str) -> str:
    """The model card, with measured numbers only."""
    recipe, seeds = metrics["recipe"], metrics["seeds"]
    accuracies = [one["test_accuracy"] for one in seeds]
    shipped = next(one for one in seeds if one["seed"] == metrics["seed"])
    rows = [
        f"| {one['seed']} | {one['epoch']} | {one['validation_accuracy']:.1%} | {rate_of(one, metrics)} "
        f"| {one['test_auc']:.3f} | {one['epochs_to_80_percent'] or 'not reached'} |"
        for one in seeds
    ]
    return CARD.format(
        name=name,
        parameters=metrics["parameters"],
        tubelets=metrics["tokens"],
        tubelet="x".join(map(str, recipe["tubelet"])),
        **{key: recipe[key] for key in ("kind", "blocks", "dim", "heads", "epochs")},
        **{key: metrics[key] for key in ("fitted", "held_out", "tested", "minutes")},
        command=command_of("vivit", share),
        device=device,
        accuracy=rate_of(shipped, metrics),
        auc=shipped["test_auc"],
        seeds="\n".join(rows),
        mean=np.mean(accuracies),
        low=min(accuracies),
        high=max(accuracies),
    )


def rate_of(seed: dict, metrics: dict) -> Rate:
    """A seed's accuracy on the test set, with its interval."""
    return Rate(round(seed["test_accuracy"] * metrics["tested"]), metrics["tested"])


def export(
    lesson: ModuleType, name: str, runs: list[dict], out: Path, device: torch.device, share: float = 1.0
) -> None:
    """Write the best seed's model with the card, the curves and the measurements of all seeds."""
    out.mkdir(parents=True)
    recipe = recipe_for(lesson, name, SEEDS[0], share)
    models = [rebuilt(lesson, recipe, run) for run in runs]
    seeds = [judge(lesson, model, run) for model, run in zip(models, runs, strict=True)]
    chosen = max(range(len(runs)), key=lambda one: seeds[one]["validation_accuracy"])
    save_in_half(models[chosen], out / "vivit.keras")
    rows = [row for run in runs for row in run["rows"]]
    metrics = {
        "seed": seeds[chosen]["seed"],
        "seeds": seeds,
        "parameters": models[chosen].count_params(),
        "tokens": int(np.prod(lesson.grid(recipe))),
        "fitted": len(lesson.data.train[1]),
        "held_out": len(lesson.data.val[1]),
        "tested": len(lesson.data.test[1]),
        "minutes": round(minutes_of(rows) / len(runs), 1),
        "recipe": asdict(replace(recipe, seed=seeds[chosen]["seed"])),
    }
    write_report(out, rows, metrics, card(metrics, name, share, words_for(device)))


LONG_CARD = """\
# The four arrangements on longer volumes

Lesson 2's better recipe with tubelets of {tubelet} voxels, {tokens} tokens, on {slices} slices of the stand-in for
OrganMNIST3D, for {epochs} epochs, once with each arrangement of attention. One seed: a difference of a few points is
none. Made by {command} on {device}; no weights are kept, and `training.csv` has every
epoch with its seconds.

| arrangement | minutes | validation, best epoch | test, 95% interval of {tested} volumes |
|---|---|---|---|
{rows}
"""


def train_long(lesson: ModuleType, out: Path, work: Path, device: torch.device, share: float = 1.0) -> None:
    """Train each arrangement once on long volumes, and write what came of it.

    Args:
        lesson: as `load_lesson` gives it, for volumes of which `LONG` is a recipe.
    """
    out.mkdir(parents=True)
    rows, found = [], {}
    for kind in lesson.KINDS:
        recipe = lasting(replace(lesson.IMPROVED, kind=kind, **LONG), LONG["epochs"], share)
        make = partial(train, lesson, recipe, f"long, {kind}")
        run = cached(work / f"long-{kind}.pt", make)
        rows += [{"kind": kind} | row for row in run["rows"]]
        found[kind] = judge(lesson, rebuilt(lesson, recipe, run), run) | {"minutes": minutes_of(run["rows"])}
    metrics = {"kinds": found, "tested": len(lesson.data.test[1]), "recipe": asdict(recipe)}
    table = [
        f"| {kind} | {one['minutes']} | {one['validation_accuracy']:.1%} | {rate_of(one, metrics)} |"
        for kind, one in found.items()
    ]
    card = LONG_CARD.format(
        slices=lesson.SHAPE[0],
        tokens=int(np.prod(lesson.grid(recipe))),
        tubelet="x".join(map(str, recipe.tubelet)),
        epochs=recipe.epochs,
        command=command_of("vivit", share),
        device=words_for(device),
        tested=metrics["tested"],
        rows="\n".join(table),
    )
    write_report(out, rows, metrics, card)


def train_all(lesson: ModuleType, out: Path, work: Path, device: torch.device, share: float = 1.0) -> None:
    """Train what no earlier run has finished, and write a folder for each model."""
    for name in MODELS:
        recipes = [recipe_for(lesson, name, seed, share) for seed in SEEDS]
        makes = [partial(train, lesson, recipe, f"{name}, seed {recipe.seed}") for recipe in recipes]
        runs = [cached(work / f"{name}-{seed}.pt", make) for seed, make in zip(SEEDS, makes, strict=True)]
        export(lesson, name, runs, out / name, device, share)


def main(out: Path, work: Path, device: torch.device, share: float = 1.0) -> None:
    """Train lesson 2's models, each with three seeds. Keras computes with the backend that KERAS_BACKEND names."""
    train_all(load_lesson(synthetic_organs(), work), out, work, device, share)
    train_long(load_lesson(synthetic_organs(slices=SLICES), work), out / "long", work, device, share)


if __name__ == "__main__":
    command(main)
