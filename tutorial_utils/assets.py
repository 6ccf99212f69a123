"""Checkpoints and data sets: from an entry of the manifest, `assets.toml`, to a verified local folder.

`fetch` looks in the repository (bundled assets), then in the caches, then downloads from ModelScope, and then
from Hugging Face. Three rules keep half a checkpoint from ever being taken for a whole one:

- A download goes to a folder of its own, ``NAME-SCALE.partial``, where an interrupted one waits to be resumed.
- What came is verified; a stamp with every file's size and SHA-256 is written; only then is the folder renamed.
- A folder without a stamp, copied by hand, is verified as far as the manifest allows before it is used.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tutorial_utils import runtime

MANIFEST = Path(__file__).with_name("assets.toml")
DATA = Path(__file__).parents[1] / "data"
STAMP = ".complete.json"

PROBE_SECONDS = 4.0  # for all addresses together; an error for want of a network is promised within 10 s
STALL_SECONDS = 30.0  # without a byte, in the middle of a download from a URL
URL_ATTEMPTS = 3  # each resumes where the last one broke off
HEADER_LIMIT = 100_000_000  # bytes; the safetensors format allows no longer header


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
    urls: tuple[str, ...] = ()
    editions: tuple[Edition, ...] = ()
    ships_with: str | None = None

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
    def download_bytes(self) -> int:
        """What `fetch` would have to transfer now: nothing if the asset is bundled, generated or in a cache."""
        return 0 if self.kind in ("bundled", "generated") or _sound_copy(self) else self.size_bytes

    def location(self) -> Path | None:
        """The folder that holds the asset or, if it is not on this machine, the one that a copy would go to.

        None if the asset is generated and so has no folder.
        """
        if self.kind == "generated":
            return None
        return DATA / self.folder if self.kind == "bundled" else _sound_copy(self) or _destination(self)


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
        AssetError: a bundled file is missing or damaged; a miniature is not shipped yet; the asset is generated;
            or it is in no cache and nothing could be downloaded, which without a network takes under 10 seconds.
    """
    asset = find(name, scale)
    if asset.kind == "generated":
        raise AssetError(f"{asset} is generated on the spot by its lesson: there is nothing to fetch.")
    if asset.ships_with:
        raise AssetError(f"{asset} is not shipped yet: lesson {asset.ships_with} brings this miniature.")
    if asset.kind == "bundled":
        return _bundled(asset)
    return _cached(asset) or _download(asset)


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
    if asset.ships_with:
        return [f"{asset} is not shipped yet: lesson {asset.ships_with} brings it."]
    if asset.kind == "bundled":
        return _manifest_problems(asset, DATA / asset.folder)
    folders = [folder for root in cache_roots() if (folder := root / asset.folder_name).is_dir()]
    if not folders:
        return [f"{asset} is not on this machine."]
    problems = []
    for folder in folders:
        problems += _manifest_problems(asset, folder)
        if stamp := _read_stamp(folder):
            problems += _stamp_problems(asset, folder, stamp, rehash=True)
    return list(dict.fromkeys(problems))  # a missing file is found by both


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
    problems = _manifest_problems(asset, folder)
    if problems:
        broken = f"{DATA.name}/{asset.folder}"
        raise AssetError("\n".join([*problems, f"Restore what the repository holds: git checkout -- {broken}"]))
    return folder


def _manifest_problems(asset: Asset, folder: Path) -> list[str]:
    """What the manifest, and the files' own formats, can say against a folder."""
    problems = (_file_problem(asset, file, folder / file.path) for file in asset.files)
    return [problem for problem in problems if problem]


def _file_problem(asset: Asset, file: AssetFile, path: Path) -> str | None:
    if not path.is_file():
        return f"{path} is missing" + (f" (expected SHA-256 {file.sha256}, found no file)." if file.sha256 else ".")
    if file.sha256 and (found := _digest(path, "sha256")) != file.sha256:
        return f"{path} is damaged: expected SHA-256 {file.sha256}, found {found}."
    if file.bytes is not None and path.stat().st_size != file.bytes:
        return f"{path} has {path.stat().st_size:,} bytes instead of {file.bytes:,}."
    if asset.editions and not _edition(asset, path):
        known = ", ".join(f"{edition.md5} ({edition.name})" for edition in asset.editions)
        return f"{path} is no known edition: its MD5 is {_digest(path, 'md5')}, known are {known}."
    return None if _ends_where_it_says(path) else f"{path} is empty, cut short, or not what its name says."


def _edition(asset: Asset, path: Path) -> Edition | None:
    found = _digest(path, "md5")
    return next((edition for edition in asset.editions if edition.md5 == found), None)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def _ends_where_it_says(path: Path) -> bool:
    """Whether a file is whole, by its own format: all that can be checked where no checksum is published."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(8)
        if path.suffix == ".safetensors":
            return size == _safetensors_size(start, handle.read(min(HEADER_LIMIT, int.from_bytes(start, "little"))))
    if path.suffix == ".json":  # a hub's page, saved under the file's name, is a common slip
        return _read_json(path) is not None
    if start.startswith(b"PK"):  # .npz and .pth are zip archives, whose directory stands at the end
        return zipfile.is_zipfile(path)
    return size > 0


def _safetensors_size(length: bytes, header: bytes) -> int | None:
    """The size that a safetensors file announces: a length of 8 bytes, the header, and the tensors to their end."""
    try:
        tensors = [entry for key, entry in json.loads(header).items() if key != "__metadata__"]
        return 8 + int.from_bytes(length, "little") + max(entry["data_offsets"][1] for entry in tensors)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None


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
    folders = (root / asset.folder_name for root in cache_roots())
    return next((folder for folder in folders if not _copy_problems(asset, folder)), None)


def _cached(asset: Asset) -> Path | None:
    """As `_sound_copy`; a sound copy without a stamp, which someone put there by hand, is stamped where possible."""
    folder = _sound_copy(asset)
    if folder and _read_stamp(folder) is None and _writable(folder):
        _write_stamp(asset, folder, {"source": "a folder copied by hand"})
    return folder


def _copy_problems(asset: Asset, folder: Path) -> list[str]:
    """Why a folder in a cache is not a complete copy; quick if it is stamped, for then only sizes are compared."""
    if not folder.is_dir():
        return [f"{folder} does not exist."]
    stamp = _read_stamp(folder)
    return _stamp_problems(asset, folder, stamp, rehash=False) if stamp else _manifest_problems(asset, folder)


def _stamp_problems(asset: Asset, folder: Path, stamp: dict, rehash: bool) -> list[str]:
    problems = []
    for file in asset.files:
        path, recorded = folder / file.path, stamp["files"].get(file.path)
        if recorded is None or not path.is_file():
            problems.append(f"{path} is missing{'' if recorded else ' from the stamp'}.")
        elif path.stat().st_size != recorded["bytes"]:
            problems.append(f"{path} has {path.stat().st_size:,} bytes; it had {recorded['bytes']:,} when verified.")
        elif rehash and (found := _digest(path, "sha256")) != recorded["sha256"]:
            problems.append(f"{path} has changed: expected SHA-256 {recorded['sha256']}, found {found}.")
    return problems


def _read_stamp(folder: Path) -> dict | None:
    stamp = _read_json(folder / STAMP)
    return stamp if isinstance(stamp, dict) and isinstance(stamp.get("files"), dict) else None


def _write_stamp(asset: Asset, folder: Path, origin: dict) -> None:
    files = {
        file.path: {"bytes": path.stat().st_size, "sha256": _digest(path, "sha256")}
        for file in asset.files
        if (path := folder / file.path)
    }
    stamp = {"asset": asset.name, "scale": asset.scale, **origin, "files": files}
    draft = folder / f"{STAMP}.{os.getpid()}"
    draft.write_text(json.dumps(stamp, indent=2), encoding="utf-8")
    draft.replace(folder / STAMP)  # in one step: another process sees no stamp or a whole one


def _writable(folder: Path) -> bool:
    """Whether files can be put into a folder, or into the one where it would be created."""
    # Trying is the only test that holds for administrators, network shares and Windows alike.
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return True
    except OSError:
        return False


def _destination(asset: Asset) -> Path:
    """Where a download goes: to the first cache that can be written to (or the user's, which will then say why)."""
    roots = cache_roots()
    return next((root for root in roots if _writable(root)), roots[-1]) / asset.folder_name


# --- Downloads ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """Somewhere to download from. `download` fills a folder and returns what the stamp should say about it."""

    label: str
    address: str
    download: Callable[[Asset, Path], dict]


def _sources(asset: Asset) -> list[_Source]:
    sources = [_Source(urlsplit(url).netloc, url, functools.partial(_from_url, url)) for url in asset.urls]
    if asset.modelscope:
        endpoint = os.environ.get("MODELSCOPE_ENDPOINT") or "https://modelscope.cn"
        sources.append(_Source(f"ModelScope ({endpoint})", endpoint, _from_modelscope))
    if asset.huggingface:
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        sources.append(_Source(f"Hugging Face ({endpoint})", endpoint, _from_hugging_face))
    return sources


def _download(asset: Asset) -> Path:
    folder = _destination(asset)
    tried = [problem for root in cache_roots() for problem in _copy_problems(asset, root / asset.folder_name)]
    if not _writable(folder.parent):
        raise AssetError(_explain(asset, [*tried, f"{folder.parent} cannot be written to."]))
    reachable, unreachable = _probe(_sources(asset))
    tried += unreachable
    if reachable:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if finished := _cached(asset):  # by another process, while this one waited
                return finished
            partial = folder.with_name(f"{folder.name}.partial")
            _reuse(asset, folder, partial)
            for source in reachable:
                try:
                    origin = source.download(asset, partial)
                except Exception as error:  # the clients raise dozens of types; the next source may do better
                    tried.append(f"{source.label}: {type(error).__name__}: {error}")
                    continue
                # Both clients can return a partial or even an empty folder without a word.
                problems = _manifest_problems(asset, partial)
                if not problems:
                    return _publish(asset, partial, folder, origin)
                tried += [f"{source.label}: {problem}" for problem in problems]
    raise AssetError(_explain(asset, tried))


def _probe(sources: list[_Source]) -> tuple[list[_Source], list[str]]:
    """Ask all sources for a sign of life at once: those that gave one, and why the others did not.

    The clients take up to 22 seconds to find that there is no network, and a name server that does not answer
    holds a thread for longer still; so the threads are left to themselves when the time is up.
    """
    import requests

    silence = f"no answer within {PROBE_SECONDS:g} s"
    outcomes = {source.address: silence for source in sources}

    def ask(address: str) -> None:
        try:
            status = requests.head(address, timeout=PROBE_SECONDS).status_code
            outcomes[address] = f"status {status}" if status in (502, 503, 504) else ""
        except requests.Timeout:
            pass
        except Exception as error:
            outcomes[address] = _root_cause(error)

    threads = [threading.Thread(target=ask, args=(source.address,), daemon=True) for source in sources]
    deadline = time.monotonic() + PROBE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    found = dict(outcomes)  # a late answer changes nothing any more
    failures = [f"{source.label}: {found[source.address]}" for source in sources if found[source.address]]
    return [source for source in sources if not found[source.address]], failures


def _root_cause(error: BaseException) -> str:
    """The innermost reason, such as "Connection refused", which requests wraps four times."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time download to a folder."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process is fetching {folder.name}: waiting until it has finished.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _reuse(asset: Asset, folder: Path, partial: Path) -> None:
    """Spare the client what is sound in an incomplete folder, such as one copied by hand without one of its files."""
    for file in asset.files:
        here, there = folder / file.path, partial / file.path
        there.parent.mkdir(parents=True, exist_ok=True)
        if not there.exists() and not _file_problem(asset, file, here):
            with contextlib.suppress(OSError):  # some file systems know no links: then it is downloaded
                os.link(here, there)


def _publish(asset: Asset, partial: Path, folder: Path, origin: dict) -> Path:
    """Turn a verified download into the asset's folder."""
    wanted = {partial / file.path for file in asset.files}
    for path in sorted(partial.rglob("*"), reverse=True):  # a folder's files before the folder
        if path.is_dir():
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
        elif path not in wanted:
            path.unlink()  # what the clients keep there in order to resume
    _write_stamp(asset, partial, origin)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    print(f"{asset}: {', '.join(str(value) for value in origin.values() if value)} -> {folder}", file=sys.stderr)
    return folder


def _from_modelscope(asset: Asset, folder: Path) -> dict:
    variable = "MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS"  # 5 attempts by default, which delays the fallback
    ours = variable not in os.environ
    if ours:
        os.environ[variable] = "1"
    try:
        from modelscope.hub.snapshot_download import snapshot_download

        snapshot_download(asset.modelscope, local_dir=str(folder), allow_patterns=[file.path for file in asset.files])
    finally:
        if ours:
            del os.environ[variable]
    return {"source": f"ModelScope {asset.modelscope}", "revision": None}


def _from_hugging_face(asset: Asset, folder: Path) -> dict:
    from huggingface_hub import HfApi, snapshot_download

    revision = HfApi().model_info(asset.huggingface).sha  # so that all files come from one commit, and it is known
    patterns = [file.path for file in asset.files]
    snapshot_download(asset.huggingface, revision=revision, local_dir=folder, allow_patterns=patterns)
    return {"source": f"Hugging Face {asset.huggingface}", "revision": revision}


def _from_url(url: str, asset: Asset, folder: Path) -> dict:
    import requests

    target = folder / asset.files[0].path
    # One beginning for each address: they may hold different editions, which must not be spliced.
    part = target.with_name(f"{target.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}")
    for attempt in range(1, URL_ATTEMPTS + 1):
        try:
            _resume(url, part)
            break
        except requests.RequestException as error:
            refused = error.response is not None and error.response.status_code != 416
            if refused or attempt == URL_ATTEMPTS:
                raise
    edition = _edition(asset, part)
    if edition is None:
        found = _digest(part, "md5")
        part.unlink()
        known = ", ".join(f"{known.md5} ({known.name})" for known in asset.editions)
        raise AssetError(f"the file has the MD5 {found}, known are {known}; it was deleted.")
    part.replace(target)
    return {"source": url, "edition": edition.name}


def _resume(url: str, part: Path) -> None:
    """Download what is still missing of a file."""
    import pooch

    with part.open("ab") as handle:

        def start_over(response, **_) -> None:
            # 200 is the whole file, from a server that ignores Range; 416 says that there is nothing after our
            # part, so it is not a beginning of that file.
            if response.status_code in (200, 416):
                handle.truncate(0)

        headers = {"Range": f"bytes={handle.tell()}-", "Accept-Encoding": "identity"}
        download = pooch.HTTPDownloader(
            progressbar=True,
            chunk_size=2**16,
            headers=headers,
            hooks={"response": start_over},
            timeout=(PROBE_SECONDS, STALL_SECONDS),
        )
        download(url, handle, None)


def _explain(asset: Asset, tried: list[str]) -> str:
    """The one message of a failed `fetch`: what is missing, what was tried, and the three ways on."""
    if asset.kind == "hub":
        hubs = {"ModelScope": asset.modelscope, "Hugging Face": asset.huggingface}
        tried = tried + [f"{hub}: not published there" for hub, repository in hubs.items() if not repository]
    return "\n".join(
        [
            f"{asset} could not be fetched: {asset.title}, about {asset.size_bytes / 1e9:.2f} GB.",
            "Tried:",
            *(f"  - {line}" for line in tried),
            "Three ways on:",
            "  1. Stay with the miniature: set TUTORIAL_SCALE=mini.",
            "  2. Prefetch it where there is a network: "
            f"python -m tutorial_utils assets fetch {asset.name} --scale {asset.scale}",
            f"  3. Copy a folder from another machine to {_destination(asset)}, with these files: "
            f"{', '.join(file.path for file in asset.files)}",
        ]
    )
