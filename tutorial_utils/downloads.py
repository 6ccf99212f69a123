"""Downloads: from a ModelScope or Hugging Face repository, or a list of addresses, to a folder in a cache.

`assets.fetch` imports this module when an asset is in no cache, and not before. Half a checkpoint is never taken
for a whole one: a download goes to a folder of its own, ``NAME-SCALE.partial``, where an interrupted one waits to
be resumed; what came is verified and stamped; only then is the folder renamed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout

from tutorial_utils import assets
from tutorial_utils.assets import Asset, AssetError

PROBE_SECONDS = 4.0  # for all addresses together; an error for want of a network is promised within 10 s
STALL_SECONDS = 30.0  # without a byte, in the middle of a download from a URL


@dataclass(frozen=True)
class Source:
    """Somewhere to download from; `download` fills a folder and returns what the stamp should name as the source."""

    label: str
    address: str
    download: Callable[[Path], str]


def sources(asset: Asset) -> list[Source]:
    """Where an asset can be had, in the order in which to try."""
    found = [Source(urlsplit(url).netloc, url, partial(_from_url, asset, url)) for url in asset.urls]
    if asset.modelscope:
        endpoint = os.environ.get("MODELSCOPE_ENDPOINT") or "https://modelscope.cn"
        found.append(Source(f"ModelScope ({endpoint})", endpoint, partial(_from_modelscope, asset)))
    if asset.huggingface:
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        found.append(Source(f"Hugging Face ({endpoint})", endpoint, partial(_from_hugging_face, asset)))
    return found


def download(asset: Asset) -> Path:
    """Download an asset to the first cache that can be written to, and return its verified folder.

    Raises:
        AssetError: no source had it; the message says what was tried and which three ways on there are. Without a
            network this takes less than 10 seconds.
    """
    folder = assets.destination(asset)
    tried = [problem for root in assets.cache_roots() for problem in assets.copy_problems(asset, root).values()]
    if not assets.writable(folder.parent):
        raise AssetError(_explain(asset, [*tried, f"{folder.parent} cannot be written to."]))
    candidates = sources(asset)
    silent = _probe(candidates)
    tried += [f"{source.label}: {reason}" for source, reason in silent.items()]
    answering = [source for source in candidates if source not in silent]
    if answering:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if finished := assets.cached(asset):  # by another process, while this one waited
                return finished
            draft = folder.with_name(f"{folder.name}.partial")
            draft.mkdir(exist_ok=True)
            for source in answering:
                try:
                    origin = source.download(draft)
                except Exception as error:  # the clients raise dozens of types; the next source may do better
                    tried.append(f"{source.label}: {type(error).__name__}: {error}")
                    continue
                # Both clients can return a partial or even an empty folder without a word.
                problems = assets.manifest_problems(asset, draft)
                if not problems:
                    return _publish(asset, draft, folder, origin)
                tried += [f"{source.label}: {problem}" for problem in problems.values()]
                for path in problems:
                    path.unlink(missing_ok=True)
    raise AssetError(_explain(asset, tried))


def _publish(asset: Asset, draft: Path, folder: Path, origin: str) -> Path:
    """Turn a verified download into the asset's folder."""
    wanted = {Path(file.path).parts[0] for file in asset.files}
    for path in draft.iterdir():
        if path.name not in wanted:  # what the clients keep there in order to resume
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    stamp = assets.write_stamp(asset, draft, origin)
    if folder.exists():  # a copy that is damaged
        shutil.rmtree(folder)
    draft.rename(folder)
    edition = f", edition: {stamp['edition']}" if asset.editions else ""
    print(f"{asset}: from {origin}{edition}, to {folder}", file=sys.stderr)
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time download to a folder."""
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"Another process is fetching {folder.name}: waiting until it has finished.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


# --- Who is there? ------------------------------------------------------------------------------------------------


def _probe(candidates: list[Source]) -> dict[Source, str]:
    """Ask all sources for a sign of life at once: those that gave none, each with the reason.

    The clients take up to 22 seconds to find that there is no network, and a name server that does not answer
    holds a thread for longer still; so the threads are left to themselves when the time is up.
    """
    silent = dict.fromkeys(candidates, f"no answer within {PROBE_SECONDS:g} s")

    def ask(source: Source) -> None:
        try:
            requests.head(source.address, timeout=PROBE_SECONDS)
            del silent[source]
        except requests.Timeout:
            pass
        except Exception as error:
            silent[source] = _root_cause(error)

    threads = [threading.Thread(target=ask, args=(source,), daemon=True) for source in candidates]
    deadline = time.monotonic() + PROBE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(silent)  # a late answer changes nothing any more


def _root_cause(error: BaseException) -> str:
    """The innermost reason, such as "Connection refused", which requests wraps four times."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__


def _explain(asset: Asset, tried: list[str]) -> str:
    """The one message of a failed download: what is missing, what was tried, and the three ways on."""
    return "\n".join(
        [
            f"{asset} could not be fetched: {asset.title}, about {asset.size_bytes / 1e9:.2f} GB.",
            "Tried:",
            *(f"  - {line}" for line in tried),
            "Three ways on:",
            "  1. Stay with the miniature: set TUTORIAL_SCALE=mini.",
            "  2. Prefetch it where there is a network: "
            f"python -m tutorial_utils assets fetch {asset.name} --scale {asset.scale}",
            f"  3. Copy a folder from another machine to {assets.destination(asset)}, with these files: "
            f"{', '.join(file.path for file in asset.files)}",
        ]
    )


# --- The three kinds of source ------------------------------------------------------------------------------------


def _from_modelscope(asset: Asset, folder: Path) -> str:
    os.environ.setdefault("MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS", "1")  # five by default, which delays the fallback
    from modelscope.hub.snapshot_download import snapshot_download  # takes 2 to 4 seconds

    snapshot_download(asset.modelscope, local_dir=str(folder), allow_patterns=[file.path for file in asset.files])
    return f"ModelScope {asset.modelscope}"


def _from_hugging_face(asset: Asset, folder: Path) -> str:
    from huggingface_hub import snapshot_download

    snapshot_download(asset.huggingface, local_dir=folder, allow_patterns=[file.path for file in asset.files])
    return f"Hugging Face {asset.huggingface}"


def _from_url(asset: Asset, url: str, folder: Path) -> str:
    from tqdm.auto import tqdm

    target = folder / asset.files[0].path
    # One beginning for each server: they may hold different editions, which must not be spliced.
    beginning = target.with_name(f"{target.name}.{urlsplit(url).hostname}")
    size = beginning.stat().st_size if beginning.exists() else 0
    headers = {"Range": f"bytes={size}-", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=(PROBE_SECONDS, STALL_SECONDS)) as response:
        if response.status_code == 416:  # nothing comes after our beginning, so it is none of that file
            beginning.unlink()
        response.raise_for_status()
        if response.status_code != 206:  # the server ignores Range and sends the whole file
            size = 0
        total = size + int(response.headers.get("Content-Length", 0)) or None
        with (
            beginning.open("ab" if size else "wb") as file,
            tqdm(desc=target.name, initial=size, total=total, unit="B", unit_scale=True) as bar,
        ):
            for chunk in response.iter_content(2**16):
                file.write(chunk)
                bar.update(len(chunk))
    beginning.replace(target)
    return url
