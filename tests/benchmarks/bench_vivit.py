"""Lesson 2's two recipes on the same data, backend and machine: speed and accuracy over several seeds.

python tests/benchmarks/bench_vivit.py [--seeds 3] [--epochs N]

With KERAS_BACKEND=torch or jax it measures that backend. On two processor cores and three seeds: about half an hour.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from types import ModuleType

from timing import headline
from tutorial_utils.datasets.organmnist3d import organmnist3d
from tutorial_utils.recipes.vivit import load_lesson

import numpy as np


def main() -> None:
    """Print a line for each training, then each measure's mean and range, and the goals' ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="fewer than the recipes', for a quick look")
    options = parser.parse_args()
    data = organmnist3d()
    with tempfile.TemporaryDirectory() as folder:
        lesson = load_lesson(data, Path(folder))
        print(f"{data.about}; backend: {lesson.keras.backend.backend()}")
        measured = [measure(lesson, seed, options.epochs) for seed in range(options.seeds)]
    summarise(measured)


def measure(lesson: ModuleType, seed: int, epochs: int | None) -> dict[str, np.ndarray]:
    """Both recipes with one seed: seconds per epoch, seconds to the first one's last validation accuracy, test."""
    goal, results = None, {}
    recipes = ("original", lesson.NOTES), ("better", lesson.IMPROVED)
    for (name, recipe), in_full in zip(recipes, lesson.EPOCHS["full"], strict=True):
        count = epochs or in_full
        recipe = replace(recipe, seed=seed, epochs=count, patience=count)  # so that both have their chance
        model, history, seconds = lesson.train(recipe)
        accuracy = np.array(history["val_accuracy"])
        goal = accuracy[-1] if goal is None else goal
        reached = seconds[int(np.argmax(accuracy >= goal))] if (accuracy >= goal).any() else np.inf
        test = lesson.measure(model, recipe)[0]
        results[name] = np.array([median(np.diff(seconds)), reached, seconds[-1], accuracy[-1], test])
        print(f"seed {seed}, {name:8}: {describe(results[name])}", flush=True)
    return results


def describe(values: np.ndarray) -> str:
    """One training's figures as text."""
    per_epoch, reached, total, validation, test = values
    return (
        f"{per_epoch:5.2f} s per epoch, {reached:5.0f} s to the original's last validation accuracy, "
        f"{total:5.0f} s in all, validation {validation:.1%}, test {test:.1%}"
    )


def summarise(measured: list[dict[str, np.ndarray]]) -> None:
    """The means and ranges over seeds, and what the second recipe gains on the first."""
    for name in measured[0]:
        values = np.array([one[name] for one in measured])
        tests = values[:, -1]
        print(f"mean,   {name:8}: {describe(values.mean(axis=0))} ({tests.min():.1%} to {tests.max():.1%})")
    faster = mean(one["better"][1] / one["original"][2] for one in measured)
    sooner = mean(one["better"][1] / one["original"][1] for one in measured)
    higher = mean(one["better"][-1] - one["original"][-1] for one in measured)
    headline(
        "lesson 2: time of the better recipe to the original's last validation accuracy",
        f"{faster:.2f} x the original's whole time, {sooner:.2f} x the time in which it got there first",
    )
    headline("lesson 2: test accuracy of the better recipe against the original's", f"{100 * higher:+.1f} points")


if __name__ == "__main__":
    main()
