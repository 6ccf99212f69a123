"""What the lessons need beside code, as plain data: the entries of `assets.toml`, one for each name and scale."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tutorial_utils import files, runtime

MANIFEST = Path(__file__).with_name("assets.toml")


@dataclass(frozen=True)
class AssetFile:
    """One file of an asset: its path inside the folder, and what is known about it for certain."""

    path: str
    bytes: int | None = None
    sha256: str | None = None
    mb: float = 0.0  # approximate, in millions of bytes, where `bytes` is unknown

    @property
    def size_bytes(self) -> int:
        return self.bytes if self.bytes is not None else round(self.mb * 1e6)


@dataclass(frozen=True)
class Edition:
    """One of the published versions of a data set that carry the same file name."""

    name: str
    md5: str
    bytes: int | None = None


@dataclass(frozen=True)
class Asset:
    """A checkpoint or data set at one scale, as the manifest describes it (the keys are explained there)."""

    name: str
    scale: str
    kind: str
    title: str
    licence: str
    source: str
    files: tuple[AssetFile, ...] = ()
    folder: str | None = None
    modelscope: str | None = None
    huggingface: str | None = None
    revision: str | None = None
    urls: tuple[str, ...] = ()
    editions: tuple[Edition, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.scale})"

    @property
    def is_published(self) -> bool:
        """Whether it is downloaded; if not, it comes with the course or its lesson makes it."""
        return self.kind in ("hub", "url")

    @property
    def folder_name(self) -> str:
        """The name of the asset's folder in a cache."""
        return f"{self.name}-{self.scale}"

    @property
    def size_bytes(self) -> int:
        """The size of all files together: exact if bundled, an estimate otherwise, 0 if there are none yet."""
        return sum(file.size_bytes for file in self.files)

    @property
    def size(self) -> str:
        """`size_bytes` for people; a dash if there are no files."""
        return readable(self.size_bytes) if self.size_bytes else "-"

    @property
    def origin(self) -> str:
        """Where it comes from, in words: ``"bundled"``, or ``"from ModelScope or Hugging Face"``."""
        if not self.is_published:
            return "bundled" if self.kind == "bundled" else "made on the spot"
        hubs = [name for name, model in (("ModelScope", self.modelscope), ("Hugging Face", self.huggingface)) if model]
        return f"from {' or '.join([*(urlsplit(url).netloc for url in self.urls), *hubs])}"


def readable(count: int) -> str:
    """A number of bytes for people, in at most seven letters."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.{0 if count >= 1e8 else 1}f} MB"


def read(path: Path = MANIFEST) -> tuple[Asset, ...]:
    """All assets, one for each name and scale (an asset that both scales share appears twice)."""
    tables = tomllib.loads(files.edited_text(path))
    return tuple(asset for name, table in tables.items() for asset in _parse(name, table))


def _parse(name: str, table: dict) -> Iterator[Asset]:
    common = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for scale in runtime.SCALES:
        entry = common | (table.get(scale) or table["any"])
        entry["files"] = tuple(AssetFile(**file) for file in entry.get("files", ()))
        entry["editions"] = tuple(Edition(**edition) for edition in entry.get("editions", ()))
        entry["urls"] = tuple(entry.get("urls", ()))
        yield Asset(name=name, scale=scale, **entry)
