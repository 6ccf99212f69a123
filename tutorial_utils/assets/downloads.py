"""Downloads: from a ModelScope or Hugging Face repository, or a list of addresses, to a folder in a cache.

`Store.fetch` imports this module when an asset is in no cache, and not before. Half a checkpoint is never taken
for a whole one: a download goes to a folder of its own, ``NAME-SCALE.partial``, where an interrupted one waits to
be resumed; what came is verified and stamped; only then is the folder renamed. A folder in which something is
missing or damaged becomes such a draft again, so that only this is downloaded.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.util import Retry

from tutorial_utils import failures, files, require
from tutorial_utils.assets.copies import AssetError, Copy
from tutorial_utils.assets.manifest import Asset, readable

PROBE_SECONDS = 4.0  # for all addresses together; an error for want of a network is promised within 10 s
STALL_SECONDS = 30.0  # without a byte, in the middle of a download

# What the answers and the errors of three client libraries mean to someone who waits for a file.
ANSWERS = {
    401: "refused to hand it out",
    403: "refused to hand it out",
    404: "has no such file",
    429: "asks for patience: too many requests from here",
    503: "is out of service just now",
}
FAILURES = {
    "Hash mismatch": "sent a damaged file",
    **dict.fromkeys(("Timeout", "timed out"), "fell silent"),
    **dict.fromkeys(("Connect", "Encoding", "Network", "Protocol", "ReadError", "Incomplete"), "lost the connection"),
}


Answer = TypeVar("Answer")


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


class WrongFile(Exception):
    """A file came whole, but is not what the source says that it has."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def download(copy: Copy, damaged: Iterable[Path] = (), tried: Iterable[str] = ()) -> Path:
    """Download what is missing of a copy, and return its verified folder.

    Args:
        damaged: files of the folder that are there, and to be had again.
        tried: what has been found wrong before, for the error; with this copy, if nothing is said.

    Raises:
        AssetError: no source had it; the message says what was tried and which three ways on there are. Without a
            network this takes less than 10 seconds.
    """
    tried = [*tried] or [*copy.problems().values()]
    if not files.writable(copy.folder.parent):
        raise AssetError(_explain(copy, [*tried, f"{copy.folder.parent} cannot be written to."]))
    candidates = sources(copy.asset)
    silent = _probe(candidates)
    tried += [f"{source.label}: {reason}" for source, reason in silent.items()]
    answering = [source for source in candidates if source not in silent]
    if not answering:
        raise AssetError(_explain(copy, tried))
    try:
        return _fill(copy, answering, set(damaged), tried)
    except OSError as error:  # such as a full disk, or something that another user has begun
        problem = f"{error.filename or copy.folder}: {failures.reason(error)}."
        raise AssetError(_explain(copy, [*tried, problem])) from error


def _fill(copy: Copy, answering: list[Source], damaged: set[Path], tried: list[str]) -> Path:
    """Make a copy complete from the first source that can; the error, if none can, begins with what was `tried`."""
    folder, draft = copy.folder, copy.draft
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        damaged |= set(copy.problems())
        if not damaged:  # another process has been faster, while this one waited
            return folder
        if folder.exists() and not draft.folder.exists():  # what is sound of it need not come again
            for path in damaged:
                path.unlink(missing_ok=True)
            folder.rename(draft.folder)
        missing, free = copy.asset.size_bytes - files.size_of(draft.folder), files.free_bytes(draft.folder)
        if missing > free:
            room = f"{readable(missing)} have yet to come, and there is room for {readable(free)} in {folder.parent}."
            raise AssetError(_explain(copy, [*tried, room]))
        for source in answering:
            origin, problems = _insist(source, draft)
            if not problems:
                return publish(copy, origin)
            tried = [*tried, *(f"{source.label}: {problem}" for problem in problems)]
        if not files.size_of(draft.folder):
            shutil.rmtree(draft.folder, ignore_errors=True)
        raise AssetError(_explain(copy, tried))


def _insist(source: Source, draft: Copy) -> tuple[str, list[str]]:
    """Download from one source for as long as that brings more: where it came from, or what is wrong in the end.

    So a line that breaks every hundred megabytes still delivers a checkpoint, and a file that came out wrong gets a
    second chance; a source that brings less than a thousandth of the asset is left.
    """
    folder, most = draft.folder, files.size_of(draft.folder)
    while True:
        folder.mkdir(parents=True, exist_ok=True)  # each time, for it can have been deleted
        wrong, problems = {}, []
        try:
            origin = source.download(folder)
            # ModelScope's client can return a partial or even an empty folder without a word.
            wrong = draft.manifest_problems()
            if not wrong:
                return origin, []
        except WrongFile as error:
            wrong = {error.path: str(error)}
        except Exception as error:  # the clients raise dozens of types; the next source may do better
            problems = [_reason(error) if folder.exists() else f"{folder} was deleted in the middle of the download."]
        size = files.size_of(folder)
        for path in wrong:
            path.unlink(missing_ok=True)
        if size - most <= draft.asset.size_bytes / 1000:
            return "", [*problems, *wrong.values()]
        most = size


def publish(copy: Copy, origin: str) -> Path:
    """Turn the verified draft of a copy into the copy."""
    draft = copy.draft
    for path in sorted(draft.folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        if path.is_file() and path not in draft.paths:  # what the clients keep there in order to resume
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    stamp = draft.write_stamp(origin)
    files.open_to_all(draft.folder)  # whoever shares this cache
    if copy.folder.exists():  # it is damaged
        shutil.rmtree(copy.folder)
    draft.folder.rename(copy.folder)
    edition = f", edition: {stamp['edition']}" if copy.asset.editions else ""
    print(f"{copy.asset}: from {origin}{edition}, to {copy.folder}", file=sys.stderr)
    return copy.folder


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a folder."""
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
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _reason(error: Exception) -> str:
    """What went wrong, in plain words and then in the client's own."""
    if failed := getattr(error, "failed_files", None):  # ModelScope's client sums up, and keeps the reasons there
        return "; ".join(f"{path}: {_reason(reason)}" for path, reason in failed.items())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    own = f"{type(error).__name__}: {error}"
    plain = ANSWERS.get(_status(error)) or next((words for part, words in FAILURES.items() if part in own), "failed")
    return f"{plain} ({require.shortened(own, 200)})"


def _status(error: Exception) -> int | None:
    """The status with which a server refused, if it did: of the first file that ModelScope's client names."""
    for one in (*getattr(error, "failed_files", {}).values(), error):
        status = getattr(getattr(one, "response", None), "status_code", None) or getattr(one, "status_code", None)
        if status:
            return status
    return None


def _explain(copy: Copy, tried: list[str]) -> str:
    """The one message of a failed download: what is missing, what was tried, what is kept, and the three ways on."""
    asset, kept = copy.asset, files.size_of(copy.draft.folder)
    hints = [f"{readable(kept)} have come and are kept: the next attempt goes on from there."] if kept > 1e5 else []
    proxies = {proxy for source in sources(asset) for proxy in get_environ_proxies(source.address).values()}
    if proxies:
        through = ", ".join(sorted(proxies))
        hints.append(f"It was tried through the proxy {through}, as HTTPS_PROXY says: does it answer?")
    if asset.huggingface:
        hints.append("If Hugging Face is slow or cannot be reached: HF_ENDPOINT can name a mirror of it.")
    return "\n".join(
        [
            f"{asset} could not be fetched: {asset.title}, about {asset.size}.",
            "Tried:",
            *(f"  - {line}" for line in tried),
            *hints,
            "Three ways on:",
            "  1. Stay with the miniature: set TUTORIAL_SCALE=mini.",
            "  2. Prefetch it where there is a network: "
            f"python -m tutorial_utils assets fetch {asset.name} --scale {asset.scale}",
            f"  3. Copy a folder from another machine to {copy.folder}, with these files: "
            f"{', '.join(file.path for file in asset.files)}",
        ]
    )


# --- The three kinds of source ------------------------------------------------------------------------------------


def _from_modelscope(asset: Asset, folder: Path) -> str:
    # With the client's own patience a server that has fallen silent would delay the next source by seven minutes; and
    # its own lock, beside ours, would lie in a home that may be read-only.
    for what, value in (
        ("DOWNLOAD_TIMEOUT", round(STALL_SECONDS)),
        ("DOWNLOAD_MAX_RETRIES", 2),
        ("REPO_TREE_PAGE_MAX_ATTEMPTS", 3),
        ("DOWNLOAD_FILE_LOCK", "false"),
    ):
        os.environ.setdefault(f"MODELSCOPE_{what}", str(value))
    from modelscope.hub.snapshot_download import snapshot_download  # takes 2 to 4 seconds

    wanted = [file.path for file in asset.files]
    endpoint = os.environ.get("MODELSCOPE_ENDPOINT")  # as it is now: by itself the client reads it only once
    where = {"local_dir": str(folder), "allow_patterns": wanted, "endpoint": endpoint}
    _as_anybody(lambda token: snapshot_download(asset.modelscope, token=token, **where), nobody="")
    return f"ModelScope {asset.modelscope}"


def _from_hugging_face(asset: Asset, folder: Path) -> str:
    """Fetch a repository's files one by one.

    The client's own `snapshot_download` throws away what it has of a file when it is interrupted, and compares no
    file with the hash that the hub publishes.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get

    constants.DOWNLOAD_CHUNK_SIZE = 2**16  # what a break can lose; by default 10 MB
    for file in asset.files:
        endpoint = os.environ.get("HF_ENDPOINT")  # as it is now: by itself the client reads it only once
        url = hf_hub_url(asset.huggingface, file.path, revision=asset.revision, endpoint=endpoint)
        ask = partial(get_hf_file_metadata, url, retry_on_errors=True)
        published = _as_anybody(lambda token, ask=ask: ask(token=token), nobody=False)
        target = folder / file.path
        if target.is_file() and _is_published(target, published.etag):
            continue
        beginning = folder / f"{target.name}.{published.etag}"  # one for each version of the file
        if beginning.exists() and beginning.stat().st_size > (published.size or 0):
            beginning.unlink()
        with beginning.open("ab") as handle:
            http_get(
                published.location,
                handle,
                resume_size=handle.tell(),
                headers={"Accept-Encoding": "identity"},  # what comes compressed could not be resumed
                expected_size=published.size,
                displayed_filename=file.path,
            )
        if not _is_published(beginning, published.etag):
            raise WrongFile(beginning, f"{file.path} has not the hash that the hub publishes, {published.etag}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        beginning.replace(target)
    return f"Hugging Face {asset.huggingface}"


def _as_anybody(ask: Callable[[object], Answer], nobody: object) -> Answer:
    """What a hub answers to the learner, or, if it refuses that, to nobody: a token expires, and most files are public.

    Args:
        ask: called with a token; None is the learner's own, if there is one.
        nobody: what means no token to the client.
    """
    try:
        return ask(None)
    except Exception as refusal:
        if _status(refusal) not in (401, 403):
            raise
        try:
            return ask(nobody)
        except Exception:
            raise refusal from None  # which says what is wrong with the token, if there was one


def _is_published(path: Path, etag: str) -> bool:
    """Whether a file has the hash that Hugging Face gives as its etag: SHA-256 for a large file, git's for others."""
    from huggingface_hub.utils.sha import git_hash, sha_fileobj

    if len(etag) == 40:
        return git_hash(path.read_bytes()) == etag
    with path.open("rb") as handle:
        return len(etag) != 64 or sha_fileobj(handle).hex() == etag  # a mirror may call its files as it likes


def _from_url(asset: Asset, url: str, folder: Path) -> str:
    from tqdm.auto import tqdm

    target = folder / asset.files[0].path
    if target.is_file() and Copy(asset, folder).edition(target):  # whole, but killed before the folder had its name
        return url
    # One beginning for each server: they may hold different editions, which must not be spliced.
    beginning = target.with_name(f"{target.name}.{urlsplit(url).hostname}")
    size = beginning.stat().st_size if beginning.exists() else 0
    headers = {"Range": f"bytes={size}-", "Accept-Encoding": "identity"}
    with (
        _patient_session() as session,
        session.get(url, headers=headers, stream=True, timeout=(PROBE_SECONDS, STALL_SECONDS)) as response,
    ):
        if response.status_code == 416 and size:  # nothing comes after our beginning, so it is none of that file
            beginning.unlink()
            return _from_url(asset, url, folder)
        response.raise_for_status()
        if response.status_code != 206:  # the server ignores Range and sends the whole file
            size = 0
        total = size + int(response.headers.get("Content-Length", 0)) or None
        with (
            beginning.open("ab" if size else "wb") as file,
            tqdm(desc=target.name, initial=size, total=total, unit="B", unit_scale=True) as bar,
        ):
            for chunk in response.iter_content(2**14):
                file.write(chunk)
                bar.update(len(chunk))
    beginning.replace(target)
    return url


def _patient_session() -> requests.Session:
    """A session that asks up to three times more, within six seconds, where the server says that it is busy."""
    busy = Retry(3, connect=0, read=0, backoff_factor=1, status_forcelist=(429, 503), raise_on_status=False)
    busy.respect_retry_after_header = False  # which can be an hour
    session = requests.Session()
    session.auth = lambda request: request  # nobody's .netrc: what it has may have expired, and these files are public
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=busy))
    return session
