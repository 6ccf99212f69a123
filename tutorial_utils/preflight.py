"""The card at the top of every lesson: what it will use, what that needs, and whether this machine has it.

A lesson, a scale or a device that is unknown is a ValueError.
"""

from __future__ import annotations

import functools
import html
import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tutorial_utils import files, runtime, translations
from tutorial_utils.assets import manifest, store
from tutorial_utils.translations import say

LESSONS = Path(__file__).with_name("lessons.toml")


@dataclass(frozen=True)
class Need:
    """One thing that a lesson needs, beside what there is of it. Amounts are in GB."""

    what: str
    needed: float
    there: float

    @property
    def met(self) -> bool:
        return self.there >= self.needed


@dataclass(frozen=True)
class Card:
    """What `preflight` found. It shows itself as a table in a notebook and as lines of text elsewhere.

    `options` are the settings that suit this machine's GPU, for a configuration that leaves them open.
    """

    lesson: str
    title: str
    scale: runtime.Scale
    duration: str
    checkpoints: tuple[manifest.Asset, ...]
    data: tuple[manifest.Asset, ...]
    instead: manifest.Asset
    needs: tuple[Need, ...]
    missing: tuple[manifest.Asset, ...]
    options: dict[str, bool]
    note: str = ""

    @property
    def ready(self) -> bool:
        """Whether everything that the lesson needs is there; what it has to download can still be missing."""
        return all(need.met for need in self.needs)

    def rows(self) -> list[tuple[str, str]]:
        """The card's content as (label, text)."""
        other = "full" if self.scale == "mini" else "mini"
        rows = [
            (say("scale"), f"{self.scale}, {self.duration}"),
            (say("checkpoint"), "; ".join(map(_describe, self.checkpoints)) or "none: the lesson trains its own"),
        ]
        if self.data:
            rows.append((say("data"), "; ".join(map(_describe, self.data))))
        rows += [(say(f"at {other}"), _describe(self.instead)), (say("to download"), to_come(self.missing))]
        if self.note:
            rows.append((say("note"), self.note))
        if self.options:
            chosen = ", ".join(f"{key}: {str(value).lower()}" for key, value in self.options.items())
            rows.append((say("settings"), f"{chosen}, as the free GPU memory allows"))
        rows += [
            (say(need.what), f"{'✓' if need.met else '✗'} {need.needed:g} GB needed, {need.there:.1f} GB there")
            for need in self.needs
        ]
        return [*rows, (say("verdict"), self.verdict())]

    def verdict(self) -> str:
        """One sentence: go ahead, or what is missing and which scale to choose."""
        if self.ready:
            return "this machine can run the lesson."
        missing = "; ".join(
            f"{need.what} is short by {need.needed - need.there:.1f} GB" for need in self.needs if not need.met
        )
        if self.scale == "mini":
            return f"{missing}. Close other programs or free some space; there is no smaller scale."
        return f"{missing}. Choose TUTORIAL_SCALE=mini, or a larger machine."

    def __str__(self) -> str:
        rows = (f"  {label:<12} {say(text)}" for label, text in self.rows())
        return "\n".join([f"{self.lesson}: {say(self.title)}", *rows])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        color = "#2a9d8f" if self.ready else "#d1495b"
        cell = "text-align:left;vertical-align:top;padding:2px 12px 2px 0"
        rows = "".join(
            f'<tr><th style="{cell}">{html.escape(label)}</th><td style="{cell}">{html.escape(say(text))}</td></tr>'
            for label, text in self.rows()
        )
        return (
            f'<div style="border-left:5px solid {color};padding-left:12px">'
            f"<b>{html.escape(self.lesson)}: {html.escape(say(self.title))}</b><table>{rows}</table></div>"
        )


@functools.cache
def _table() -> dict[str, dict]:
    return tomllib.loads(files.edited_text(LESSONS))


def lessons(start: str | None = None) -> list[str]:
    """The names of all lessons, or of those that begin with `start`, such as ``"01"``."""
    names = [name for name in _table() if name.startswith(start or "")]
    if not names:
        raise ValueError(f"No lesson starts with {start!r}: choose from {list(_table())}.")
    return names


def preflight(lesson: str, scale: str | None = None) -> Card:
    """Compare what a lesson needs with what this machine has; nothing is downloaded or loaded.

    Args:
        lesson: a lesson's name, such as ``"01_vit_inference"``, or the beginning of exactly one.
        scale: ``"mini"`` or ``"full"``; `TUTORIAL_SCALE` decides if None.
    """
    translations.explain_errors()
    chosen = runtime.scale(scale)
    if os.environ.get("TUTORIAL_DEVICE"):
        runtime.device()  # a wrong name is better found now than by the lesson
    name, *others = lessons(lesson)
    if others:
        raise ValueError(f"{lesson!r} is the beginning of several lessons: {[name, *others]}.")
    entry = _table()[name]
    required = entry[chosen]
    checkpoints, data = (
        tuple(store.COURSE.find(asset, chosen) for asset in required[key]) for key in ("checkpoints", "data")
    )
    missing = tuple(asset for asset in (*checkpoints, *data) if asset.is_published and not store.COURSE.sound(asset))
    choices = _choices(required)
    gpu_gb = _gpu_gb() if choices[0]["gpu_gb"] else 0.0
    return Card(
        lesson=name,
        title=entry["title"],
        scale=chosen,
        duration=_duration(required),
        checkpoints=checkpoints,
        data=data,
        instead=store.COURSE.find((*checkpoints, *data)[0].name, "full" if chosen == "mini" else "mini"),
        needs=tuple(_needs(required["memory_gb"], choices[-1]["gpu_gb"], gpu_gb, missing)),
        missing=missing,
        options=dict(next((choice["options"] for choice in choices if gpu_gb >= choice["gpu_gb"]), {})),
        note=entry.get("note", ""),
    )


def _duration(required: dict) -> str:
    """How long a lesson takes at a scale, and on what, by its table."""
    where = "a GPU" if required.get("gpu_gb", 1) else "two processor cores"
    return f"about {required['minutes']:g} min on {where}"


def to_come(missing: Iterable[manifest.Asset]) -> str:
    """What has to be downloaded, and from where: ``"346 MB from ModelScope or Hugging Face"``."""
    sizes: dict[str, int] = {}
    for asset in missing:
        sizes[asset.origin] = sizes.get(asset.origin, 0) + asset.size_bytes
    return "; ".join(f"{manifest.readable(size)} {origin}" for origin, size in sizes.items()) or say("nothing")


def _choices(required: dict) -> list[dict]:
    """How a lesson can use the GPU that is here: the amounts of its memory in GB, falling, and the options for each."""
    if "choices" not in required:
        return [{"gpu_gb": required["gpu_gb"], "options": {}}]
    choices = required["choices"]
    if runtime.device().type == "mps":  # whose memory is the processor's, so that nothing can be moved out of it
        return [choice for choice in choices if not choice["options"].get("cpu_offload")]
    return choices


def _needs(memory_gb: float, least_gpu_gb: float, gpu_gb: float, missing: Sequence[manifest.Asset]) -> list[Need]:
    """What is required of memory, GPU memory and disk (for the assets that are missing), leaving out what is not."""
    needs = [Need("memory", memory_gb, psutil.virtual_memory().available / 1e9)]
    if least_gpu_gb:
        needs.append(Need("GPU memory", least_gpu_gb, gpu_gb))
    if missing:
        free = files.free_bytes(store.COURSE.destination(missing[0]).folder)
        size_gb = sum(asset.size_bytes for asset in missing) / 1e9
        needs.append(Need("disk", round(size_gb * 1.1, 2), free / 1e9))
    return needs


def _gpu_gb() -> float:
    """Free memory of the GPU that would be used, in GB; 0 without one."""
    import torch

    where = runtime.device()
    if where.type == "cuda":
        return torch.cuda.mem_get_info(where)[0] / 1e9
    return torch.mps.recommended_max_memory() / 1e9 if where.type == "mps" else 0.0


def _describe(asset: manifest.Asset) -> str:
    size = f", {asset.size}" if asset.files else ""
    return f"{asset.title} ({asset.origin}{size})"
