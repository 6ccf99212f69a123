"""What a miniature's page shows beside its card: the curves of its training, and samples from the lessons."""

from __future__ import annotations

import base64
import csv
from collections import defaultdict
from functools import cache

from tutorial_utils.execution import first_heading, heading_above, read_notebook
from tutorial_utils.figures import palette, plotting
from tutorial_utils.translations import ROOT, Language

SAMPLES = {
    "vit-mini": ("01_vit_inference", "The most confident mistakes"),
    "vae-mini": ("03_uvit_sampling", "Pictures, and what the decoder makes of their latents"),
    "uvit-mini": ("03_uvit_sampling", "Generated pictures, a column for each class"),
    "latte-mini": ("04_latte_video_generation", "6 videos of 8 frames. 6 videos in rows of 3: a red sneaker"),
    "vivit-mini/original": ("02_vivit_organmnist3d", "One volume of each organ in a row"),
    "vivit-mini/joint": ("02_vivit_organmnist3d", "Slices, their attention"),
    "vivit-mini/factorised-encoder": ("02_vivit_organmnist3d", "The steps of the four models"),
    "vivit-mini/factorised-self-attention": ("02_vivit_organmnist3d", "The steps of the four models"),
    "vivit-mini/factorised-dot-product": ("02_vivit_organmnist3d", "The steps of the four models"),
    "vivit-mini/long": ("02_vivit_organmnist3d", "Validation accuracy of four arrangements on 56 slices"),
}
"""For each card the lesson that shows it, and how the description of the picture there begins."""

LEFT_OUT = {"step", "epoch", "seconds", "seed", "network", "kind", "top5", "val_top5"}
"""Columns of a log that are no curve: what is counted, what tells runs apart, and what is near 1 throughout."""


def section(name: str, language: Language) -> str:
    """What follows the card of a miniature, in Markdown: its pictures are those of `pictures`."""
    lesson, _ = SAMPLES[name]
    up = "../" * (3 + name.count("/"))
    title, under = _place(name)
    (curve, curve_alt), (seen, seen_alt) = ((file, language.say(alt)) for file, (_, alt) in pictures(name).items())
    return f"""
## {language.say("Its training")}

![{_escaped(curve_alt)}]({curve})

## {language.say("Seen in a lesson")}

![{_escaped(seen_alt)}]({seen})

*[{title}]({up}notebooks/{lesson}.ipynb): {under}*
"""


def _escaped(alt: str) -> str:
    return "".join(f"\\{sign}" if sign in r"\[]*_`<>" else sign for sign in alt.replace("\n", " "))


@cache
def pictures(name: str) -> dict[str, tuple[bytes, str]]:
    """The PNG files of a miniature's page by their names, each with a description."""
    (data, about), (lesson, begin) = curves(name)._repr_mimebundle_(), SAMPLES[name]
    _, output = _find(lesson, begin)
    return {
        "training.png": (base64.b64decode(data["image/png"]), about["image/png"]["alt"]),
        "lesson.png": (base64.b64decode(output.data["image/png"]), output.metadata["image/png"]["alt"]),
    }


def _place(name: str) -> tuple[str, str]:
    """The lesson that a miniature is seen in, and the section."""
    lesson, begin = SAMPLES[name]
    notebook = read_notebook(ROOT / "notebooks" / f"{lesson}.ipynb")
    at, _ = _find(lesson, begin)
    return first_heading(notebook.cells[0].source), heading_above(notebook, at)


def _find(lesson: str, begin: str):
    """The place of the cell and its output whose picture's description begins so.

    Raises:
        ValueError: the lesson has no such picture.
    """
    for at, cell in enumerate(read_notebook(ROOT / "notebooks" / f"{lesson}.ipynb").cells):
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("image/png", {}).get("alt", "").startswith(begin):
                return at, output
    raise ValueError(f"{lesson} has no picture whose description begins with {begin!r}.")


def curves(name: str) -> plotting.LessonFigure:
    """The log of a miniature's training: the losses, the shares from 0 to 1, and each other measure in a panel."""
    with (ROOT / "data/checkpoints" / name / "training.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    count = "step" if "step" in rows[0] else "epoch"
    panels = defaultdict(list)
    for column in (column for column in rows[0] if column not in LEFT_OUT):
        values = [float(row[column]) for row in rows if row[column]]
        share = max(values) <= 1 and "loss" not in column and "error" not in column
        panels["loss" if "loss" in column else "share" if share else column].append(column)
    figure, axes = plotting.new_figure(f"the training of {name}", 1, len(panels), 4.6 * len(panels), 3.6)
    for ax, (unit, columns) in zip(axes.flat, panels.items(), strict=True):
        lines = [(column, run) for column in columns for run in dict.fromkeys(map(_run, rows))]
        for (column, run), look in zip(lines, palette.styles(), strict=False):
            own = [row for row in rows if _run(row) == run and row[column]]
            x, y = ([float(row[of]) for row in own] for of in (count, column))
            words = " ".join(filter(None, (run, column.replace("_", " "))))
            ax.plot(x, y, label=words, markersize=4, markevery=1 + len(x) // 12, **look)
        ax.set(xlabel=count, ylabel=unit.replace("_", " "))
        ax.legend(frameon=False, fontsize=8, handlelength=3)
    return figure


def _run(row: dict[str, str]) -> str:
    """What tells a run from the others of its log."""
    named = row.get("network") or row.get("kind") or ""
    return named or (f"seed {row['seed']}" if "seed" in row else "")
