"""Checkpoints and data sets: from an entry of the manifest, `assets.toml`, to a verified local folder.

`fetch` looks in the repository (bundled assets), then in the caches, and then lets `downloads` get what is missing.
A stamp, with every file's size and SHA-256, says that a folder was verified: from then on only sizes are compared,
until `verify` is asked for more. A folder without one, copied by hand, is verified as far as the manifest allows.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tutorial_utils import runtime

MANIFEST = Path(__file__).with_name("assets.toml")
DATA = Path(__file__).parents[1] / "data"
STAMP = ".complete.json"
BY_HAND = "a folder copied by hand"
"""The source of a copy that nobody has stamped."""


class AssetError(RuntimeError):
    """A checkpoint or data set could not be had; the message says why, and what to do."""


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
        if self.kind in ("bundled", "generated"):
            return "bundled" if self.kind == "bundled" else "made on the spot"
        hubs = [name for name, model in (("ModelScope", self.modelscope), ("Hugging Face", self.huggingface)) if model]
        return f"from {' or '.join([*(urlsplit(url).netloc for url in self.urls), *hubs])}"

    @property
    def download_bytes(self) -> int:
        """What `fetch` would have to transfer now: nothing if the asset is bundled, generated or in a cache."""
        return 0 if self.kind in ("bundled", "generated") or _sound_copy(self) else self.size_bytes

    def location(self) -> Path | None:
        """The folder that holds the asset or, if it is not on this machine, the one that a copy would go to.

        None if the asset is generated and so has no folder.
        """
        if self.kind == "generated":
            return None
        return DATA / self.folder if self.kind == "bundled" else _sound_copy(self) or destination(self)

    def copies(self) -> list[Path]:
        """The folders on this machine that should hold the asset, sound or not."""
        if self.kind == "bundled":
            return [DATA / self.folder]
        return [folder for root in cache_roots() if (folder := root / self.folder_name).is_dir()]


def readable(count: int) -> str:
    """A number of bytes for people, in at most seven letters."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.{0 if count >= 1e8 else 1}f} MB"


def manifest() -> list[Asset]:
    """All assets, one for each name and scale (an asset that both scales share appears twice)."""
    return list(_read_manifest(MANIFEST))


def find(name: str, scale: str | None = None) -> Asset:
    """An asset's entry in the manifest.

    Args:
        name: an asset of the manifest, such as ``"vit"``.
        scale: ``"mini"`` or ``"full"``; the environment variable TUTORIAL_SCALE decides if None.

    Raises:
        ValueError: the name or the scale is unknown.
    """
    scale = runtime.scale() if scale is None else runtime.as_scale(scale)
    assets = {(asset.name, asset.scale): asset for asset in manifest()}
    if (name, scale) not in assets:
        names = sorted({known for known, _ in assets})
        raise ValueError(f"There is no asset {name!r}: choose one of {', '.join(names)}.")
    return assets[name, scale]


def fetch(name: str, scale: str | None = None) -> Path:
    """The local folder of an asset, verified, after downloading it if need be.

    Args:
        name, scale: as for `find`.

    Returns:
        A folder that holds all files of the asset. Bundled files have just been compared with their SHA-256.

    Raises:
        ValueError: the name or the scale is unknown, or TUTORIAL_DATA is not a folder.
        AssetError: a bundled file is missing or damaged; the asset is generated; or it is in no cache and nothing
            could be downloaded, which without a network takes under 10 seconds.
    """
    asset = find(name, scale)
    if asset.kind == "generated":
        raise AssetError(f"{asset} is generated on the spot by its lesson: there is nothing to fetch.")
    if asset.kind == "bundled":
        return _bundled(asset)
    if folder := cached(asset):
        return folder
    from tutorial_utils.downloads import download

    return download(asset)


def verify(name: str, scale: str | None = None) -> list[str]:
    """Hash every file of an asset again and compare it with the manifest and with the folder's stamp.

    Returns:
        What is wrong, one sentence for each problem; an empty list if the asset is sound. An asset that is not on
        this machine counts as one problem.

    Raises:
        ValueError: the name or the scale is unknown, or TUTORIAL_DATA is not a folder.
    """
    asset = find(name, scale)
    if asset.kind == "generated":
        return []
    if not asset.copies():
        return [f"{asset} is not on this machine."]
    return [problem for folder in asset.copies() for problem in damage(asset, folder).values()]


def repair(name: str, scale: str | None = None) -> list[str]:
    """Download again just those files of an asset that `verify` finds damaged or missing, in each of its copies.

    Returns:
        What `verify` says afterwards.

    Raises:
        ValueError: as for `verify`.
        AssetError: the asset is bundled, so that git has the files; a copy is in a folder that cannot be written to;
            or no source had the files.
    """
    asset = find(name, scale)
    for folder in asset.copies():
        damaged = damage(asset, folder)
        if damaged and asset.kind == "bundled":
            raise AssetError(remedy(asset))
        if damaged and not writable(folder):
            raise AssetError(f"{folder} cannot be written to: ask whoever filled it to repair it.")
        if damaged:
            from tutorial_utils.downloads import download

            download(asset, folder.parent, damaged)
    return verify(name, scale)


def cache_roots() -> list[Path]:
    """The folders that hold fetched assets, in the order of search: the class's (TUTORIAL_DATA), then the user's.

    Raises:
        ValueError: TUTORIAL_DATA is set, but not to a folder. Going on without it would make a whole class
            download what the teacher has put there.
    """
    shared = os.environ.get("TUTORIAL_DATA")
    if not shared:
        return [_user_cache()]
    root = Path(shared).expanduser()
    if not root.is_dir():
        raise ValueError(f"TUTORIAL_DATA={shared!r} is not a folder: create or mount it, or unset the variable.")
    return [root, _user_cache()]


# --- The manifest -------------------------------------------------------------------------------------------------


@functools.cache
def _read_manifest(path: Path) -> tuple[Asset, ...]:
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(asset for name, table in tables.items() for asset in _parse(name, table))


def _parse(name: str, table: dict) -> Iterator[Asset]:
    common = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for scale in runtime.SCALES:
        entry = common | (table.get(scale) or table["any"])
        entry["files"] = tuple(AssetFile(**file) for file in entry.get("files", ()))
        entry["editions"] = tuple(Edition(**edition) for edition in entry.get("editions", ()))
        entry["urls"] = tuple(entry.get("urls", ()))
        yield Asset(name=name, scale=scale, **entry)


# --- Is this file, this folder, sound? ----------------------------------------------------------------------------


def _bundled(asset: Asset) -> Path:
    folder = DATA / asset.folder
    if problems := manifest_problems(asset, folder):
        raise AssetError("\n".join([*problems.values(), remedy(asset)]))
    return folder


def remedy(asset: Asset) -> str:
    """How to have damaged files again, in a line."""
    if asset.kind == "bundled":
        return f"Restore what the repository holds: git checkout -- {DATA.name}/{asset.folder}"
    command = f"python -m tutorial_utils assets verify {asset.name} --scale {asset.scale} --repair"
    return f"Download again just what is damaged: {command}"


def damage(asset: Asset, folder: Path) -> dict[Path, str]:
    """What is wrong with each file of a folder, found by hashing them all; empty if the folder is sound."""
    stamp = read_stamp(folder)
    stamped = _stamp_problems(asset, folder, stamp, rehash=True) if stamp else {}
    return stamped | manifest_problems(asset, folder)


def manifest_problems(asset: Asset, folder: Path) -> dict[Path, str]:
    """What the manifest, and the files' own formats, can say against the files of a folder."""
    found = {folder / file.path: _file_problem(asset, file, folder / file.path) for file in asset.files}
    return {path: problem for path, problem in found.items() if problem}


def _file_problem(asset: Asset, file: AssetFile, path: Path) -> str | None:
    if not path.is_file():
        return f"{path} is missing" + (f" (expected SHA-256 {file.sha256}, found no file)." if file.sha256 else ".")
    if file.sha256 and (found := _digest(path, "sha256")) != file.sha256:
        return f"{path} is damaged: expected SHA-256 {file.sha256}, found {found}."
    if file.bytes is not None and path.stat().st_size != file.bytes:
        return f"{path} has {path.stat().st_size:,} bytes instead of {file.bytes:,}."
    if asset.editions and not edition(asset, path):
        known = ", ".join(f"{edition.md5} ({edition.name})" for edition in asset.editions)
        return f"{path} is no known edition: it has the MD5 {_digest(path, 'md5')}, known are {known}."
    return None if _ends_where_it_says(path) else f"{path} is empty, cut short, or not what its name says."


def edition(asset: Asset, path: Path) -> Edition | None:
    """Which of the asset's known editions a file is, by its MD5; None if it is none of them."""
    found = _digest(path, "md5")
    return next((known for known in asset.editions if known.md5 == found), None)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def _ends_where_it_says(path: Path) -> bool:
    """Whether a file is whole, by its own format: all that can be checked where no checksum is published."""
    if path.suffix == ".safetensors":
        return _is_safetensors(path)
    if path.suffix == ".json":  # a hub's page, saved under the file's name, is a common slip
        return _read_json(path) is not None
    with path.open("rb") as handle:
        start = handle.read(2)
    if start == b"PK":  # .npz and .pth are zip archives, whose directory stands at the end
        return zipfile.is_zipfile(path)
    return start != b""


def _is_safetensors(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):  # compares the file's size with the one that its header announces
            return True
    except SafetensorError:
        return False


def _read_json(path: Path) -> object | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


# --- Caches and stamps --------------------------------------------------------------------------------------------


def _user_cache() -> Path:
    import pooch

    return Path(pooch.os_cache("transformers-for-images-and-video")).expanduser()


def _sound_copy(asset: Asset) -> Path | None:
    """The first sound copy in a cache."""
    return next((root / asset.folder_name for root in cache_roots() if not copy_problems(asset, root)), None)


def cached(asset: Asset) -> Path | None:
    """As `_sound_copy`; a sound copy without a stamp, which someone put there by hand, is stamped where possible."""
    folder = _sound_copy(asset)
    if folder:
        adopt(asset, folder)
    return folder


def adopt(asset: Asset, folder: Path) -> None:
    """Stamp a sound folder that has no stamp, where it can be written to."""
    if read_stamp(folder) is None and writable(folder):
        write_stamp(asset, folder, BY_HAND)


def copy_problems(asset: Asset, root: Path) -> dict[Path, str]:
    """Why a cache has no complete copy; quick if there is a stamp, for then only sizes are compared."""
    folder = root / asset.folder_name
    if not folder.is_dir():
        return {folder: f"{folder} does not exist."}
    stamp = read_stamp(folder)
    return _stamp_problems(asset, folder, stamp, rehash=False) if stamp else manifest_problems(asset, folder)


def _stamp_problems(asset: Asset, folder: Path, stamp: dict, rehash: bool) -> dict[Path, str]:
    problems = {}
    for file in asset.files:
        path, recorded = folder / file.path, stamp["files"].get(file.path)
        if recorded is None or not path.is_file():
            problems[path] = f"{path} is missing{'' if recorded else ' from the stamp'}."
        elif path.stat().st_size != recorded["bytes"]:
            problems[path] = f"{path} has {path.stat().st_size:,} bytes; it had {recorded['bytes']:,} when verified."
        elif rehash and (found := _digest(path, "sha256")) != recorded["sha256"]:
            problems[path] = f"{path} has changed: expected SHA-256 {recorded['sha256']}, found {found}."
    return problems


def read_stamp(folder: Path) -> dict | None:
    """What `write_stamp` has left in a folder; None if there is nothing."""
    stamp = _read_json(folder / STAMP)
    return stamp if isinstance(stamp, dict) and isinstance(stamp.get("files"), dict) else None


def write_stamp(asset: Asset, folder: Path, source: str) -> dict:
    """Record that a folder has just been verified, where it came from, and every file's size and SHA-256."""
    stamp = {"asset": asset.name, "scale": asset.scale, "source": source, "files": {}}
    for file in asset.files:
        path = folder / file.path
        stamp["files"][file.path] = {"bytes": path.stat().st_size, "sha256": _digest(path, "sha256")}
        if asset.editions:
            stamp["edition"] = edition(asset, path).name
    draft = folder / f"{STAMP}.{os.getpid()}"
    draft.write_text(json.dumps(stamp, indent=2), encoding="utf-8")
    draft.replace(folder / STAMP)  # in one step: another process sees no stamp or a whole one
    return stamp


def writable(folder: Path) -> bool:
    """Whether files can be put into a folder, or into the one where it would be created."""
    # Trying is the only test that holds for administrators, network shares and Windows alike.
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            return True
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """The space that is free on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(_nearest(folder)).free


def _nearest(folder: Path) -> Path:
    """A folder, or the one in which it would be created."""
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)


def destination(asset: Asset) -> Path:
    """Where a download goes: to the first cache that can be written to (or the user's, which will then say why)."""
    roots = cache_roots()
    return next((root for root in roots if writable(root)), roots[-1]) / asset.folder_name
