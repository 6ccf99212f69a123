"""Downloads that go wrong: nothing is lost, nothing wrong is kept, nothing hangs, and the message can be understood.

Both hubs' real clients and the course's own downloader fetch a file of a few megabytes from a `Hub` on the loopback
interface, which counts the bytes that it sends.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fetching import ROOT, change_course, output, safetensors, start_fetch
from hub import Fault, Hub, closed_port, files_in

from tutorial_utils import files
from tutorial_utils.assets import copies, downloads, store
from tutorial_utils.assets.copies import AssetError, Copy
from tutorial_utils.assets.manifest import read
from tutorial_utils.assets.store import fetch

CONFIG = b'{"hidden_size": 4}'
WEIGHTS = safetensors(random.Random(0).randbytes(3_000_000))
SIZE = len(WEIGHTS)
NAME = "model.safetensors"

by_all = pytest.mark.parametrize("asset", ["by-url", "by-modelscope", "by-huggingface"])
pytestmark = pytest.mark.fault  # which `make report` counts


@pytest.fixture
def hub(tmp_path, own_world, monkeypatch):
    """A hub that has one file of 3 MB at a plain address, and in a repository of ModelScope and of Hugging Face."""
    (tmp_path / "served" / "sub").mkdir(parents=True)
    (tmp_path / "served" / "config.json").write_bytes(CONFIG)
    (tmp_path / "served" / "sub" / NAME).write_bytes(WEIGHTS)
    with Hub() as running:
        running.plain[f"/{NAME}"] = WEIGHTS
        running.modelscope["course/net"] = running.huggingface["lab/net"] = files_in(tmp_path / "served")
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", running.url)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        write_manifest(tmp_path, f"{running.url}/{NAME}")
        yield running


def write_manifest(folder: Path, *urls: str, mb: float = SIZE / 1e6) -> None:
    """One asset for each kind of source, and one that both hubs have."""
    sources = {
        "by-url": f"kind = 'url'\nurls = {list(urls)}\neditions = [{{ name = 'first', md5 = '{md5(WEIGHTS)}' }}]",
        "by-modelscope": "kind = 'hub'\nmodelscope = 'course/net'",
        "by-huggingface": "kind = 'hub'\nhuggingface = 'lab/net'",
        "by-either": "kind = 'hub'\nmodelscope = 'course/net'\nhuggingface = 'lab/net'",
    }
    about = "title = 'A test'\nlicence = 'MIT'\nsource = 'here'"
    text = ""
    for name, source in sources.items():
        files = f"{{ path = '{NAME}', mb = {mb} }}"
        if name != "by-url":
            files = "{ path = 'config.json' }, " + files.replace(NAME, f"sub/{NAME}")
        text += f"[{name}.full]\n{about}\n{source}\nfiles = [{files}]\n[{name}.mini]\n{about}\nkind = 'generated'\n"
    (folder / "assets.toml").write_text(text)
    change_course(assets=read(folder / "assets.toml"))


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def is_whole(folder: Path) -> bool:
    """Whether the 3 MB are all there, and nothing lies beside them that no lesson needs."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    whole = [path.read_bytes() == WEIGHTS for path in files if path.name == NAME] == [True]
    return whole and {path.name for path in files} <= {NAME, "config.json", copies.STAMP}


@pytest.fixture
def assert_resumed(hub, record_property):
    """Call it at the end: the hub has sent at most a twentieth of the file twice. `make report` tells how much."""
    record_property("resumes", True)

    def check() -> None:
        record_property("transferred", hub.sent / SIZE)
        assert hub.sent <= 1.05 * SIZE

    return check


def failure(asset: str) -> str:
    """The message with which an asset cannot be fetched."""
    with pytest.raises(AssetError) as error:
        fetch(asset, "full")
    return str(error.value)


def source_of(asset: str) -> str:
    """Where an asset, fetched now, comes from."""
    return Copy(store.COURSE.find(asset, "full"), fetch(asset, "full")).stamp["source"]


# --- The connection -------------------------------------------------------------------------------------


@by_all
@pytest.mark.parametrize(("share", "reset"), [(0.01, False), (0.5, False), (0.5, True), (0.99, False)])
def test_broken_connection_costs_no_more_than_a_twentieth(hub, assert_resumed, asset, share, reset):
    hub.faults = [Fault(NAME, drop_after=int(share * SIZE), reset=reset)]
    assert is_whole(fetch(asset, "full"))
    assert_resumed()


@pytest.mark.slow
@by_all
def test_connection_that_keeps_breaking_delivers_in_the_end(hub, asset):
    hub.faults = [Fault(NAME, times=math.inf, drop_after=SIZE // 4)]
    assert is_whole(fetch(asset, "full"))
    assert hub.downloads(NAME) >= 4  # more than ModelScope's client would try by itself
    assert hub.sent <= 1.2 * SIZE


@by_all
def test_slow_answers_are_waited_for(hub, asset):
    hub.pause, hub.rate = 0.5, 6e6
    assert is_whole(fetch(asset, "full"))
    assert hub.downloads(NAME) == 1


@pytest.fixture
def impatient(monkeypatch):
    """All three kinds of source give up on a silent server after a second, instead of 10 to 30."""
    import huggingface_hub.constants
    import modelscope_hub._legacy_api

    monkeypatch.setattr(downloads, "STALL_SECONDS", 1)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(modelscope_hub._legacy_api, "DOWNLOAD_TIMEOUT", 1)


@by_all
def test_server_that_falls_silent_in_the_middle_is_asked_again(hub, impatient, assert_resumed, asset):
    hub.faults = [Fault(NAME, stall_after=SIZE // 2)]
    assert is_whole(fetch(asset, "full"))
    assert_resumed()


@pytest.mark.slow
def test_server_that_stays_silent_is_left_for_the_next(hub, impatient):
    hub.faults = [Fault("FilePath=sub", times=math.inf, stall_after=0)]
    assert source_of("by-either") == "Hugging Face lab/net"


def test_server_that_stays_silent_is_named_in_plain_words(hub, impatient, assert_resumed):
    hub.faults = [Fault(NAME, stall_after=SIZE // 2), Fault(NAME, times=math.inf, stall_after=0)]
    message = failure("by-url")
    assert "127.0.0.1" in message and "fell silent" in message
    assert "1.5 MB have come and are kept: the next attempt goes on from there." in message
    hub.faults = []
    assert is_whole(fetch("by-url", "full"))
    assert_resumed()


# --- The answers ----------------------------------------------------------------------------------------


@by_all
def test_wrong_byte_is_found_and_the_file_had_again(hub, asset):
    hub.faults = [Fault(NAME, wrong_byte=SIZE // 2)]
    assert is_whole(fetch(asset, "full"))
    assert hub.sent == 2 * SIZE + (asset != "by-url") * len(CONFIG)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asset", "tries", "words"),
    [
        ("by-url", 2, "is no known edition"),
        ("by-modelscope", 3, "sent a damaged file"),
        ("by-huggingface", 2, "has not the hash that the hub publishes"),
    ],
)
def test_file_that_stays_wrong_is_refused_and_not_kept(hub, tmp_path, asset, tries, words):
    hub.faults = [Fault(NAME, times=math.inf, wrong_byte=SIZE // 2)]
    message = failure(asset)
    assert NAME in message and words in message
    assert hub.downloads(NAME) == tries
    left = {path.name for path in (tmp_path / "own").rglob("*") if path.is_file()}
    assert left <= {"config.json", f"{asset}-full.lock"}
    hub.faults = []
    assert is_whole(fetch(asset, "full"))


@by_all
@pytest.mark.parametrize("status", [429, 503])
def test_server_that_is_busy_for_a_moment_is_asked_again(hub, asset, status):
    hub.faults = [Fault(NAME, status=status, times=1 + (asset == "by-url"))]  # one is for the sign of life
    assert is_whole(fetch(asset, "full"))
    assert hub.sent <= 1.05 * SIZE


def test_listing_that_is_refused_for_a_moment_is_asked_for_again(hub):
    hub.faults = [Fault("repo/files", status=503)]
    assert source_of("by-modelscope") == "ModelScope course/net"


@pytest.mark.slow
@pytest.mark.parametrize("status", [404, 503])
def test_hub_that_stays_out_of_service_is_left_for_the_other(hub, status):
    hub.faults = [Fault("/api/v1/", times=math.inf, status=status)]
    assert source_of("by-either") == "Hugging Face lab/net"


@pytest.mark.slow
def test_address_that_stays_out_of_service_is_left_for_the_next(hub, tmp_path):
    hub.plain[f"/busy/{NAME}"] = WEIGHTS
    hub.faults = [Fault("/busy/", times=math.inf, status=503)]
    write_manifest(tmp_path, f"{hub.url}/busy/{NAME}", f"{hub.url}/{NAME}")
    assert source_of("by-url") == f"{hub.url}/{NAME}"


@pytest.mark.parametrize(("status", "words"), [(404, "has no such file"), (429, "asks for patience")])
def test_refusal_is_put_in_plain_words(hub, tmp_path, status, words):
    hub.faults = [Fault(NAME, times=math.inf, status=status)]
    assert words in failure("by-modelscope")


@pytest.mark.slow
def test_file_that_one_hub_broke_off_is_finished_by_the_other_and_leaves_no_crumbs(hub):
    hub.faults = [Fault("FilePath=sub", drop_after=SIZE // 2), Fault("FilePath=sub", times=math.inf, drop_after=0)]
    assert is_whole(fetch("by-either", "full"))
    assert store.COURSE.verify("by-either", "full") == []


# --- Which hub is there ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down", "used"),
    [("MODELSCOPE_ENDPOINT", "Hugging Face lab/net"), ("HF_ENDPOINT", "ModelScope course/net")],
)
def test_one_hub_is_enough(hub, monkeypatch, down, used):
    monkeypatch.setenv(down, closed_port())
    assert source_of("by-either") == used


@pytest.mark.slow
@pytest.mark.parametrize("down", ["refused", "silent"])
def test_without_any_hub_the_error_does_not_wait_for_the_clients(hub, monkeypatch, down):
    if down == "silent":
        hub.faults = [Fault(times=math.inf, silent=True)]
    else:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", closed_port())
        monkeypatch.setenv("HF_ENDPOINT", closed_port())
    message = failure("by-either")
    assert message.count("no answer within 4 s" if down == "silent" else "refused") == 2
    assert message.count("Three ways on:") == 1 and "Errno" not in message
    assert hub.log == []  # so these four seconds, for both at once, are all the waiting


# --- The disk -------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A disk of 2 MB for the cache; it grows or becomes read-only by ``mount -o remount``."""
    disk = tmp_path / "own"
    disk.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", disk):
        pytest.skip("a small disk can be mounted by an administrator of Linux only")
    yield disk
    subprocess.run(["umount", disk], check=True)


def mount(*arguments: str | Path) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0
    except OSError:
        return False


def test_too_small_a_disk_is_found_before_the_download(hub, small_disk):
    message = failure("by-url")
    assert f"3.0 MB have yet to come, and there is room for 2.1 MB in {small_disk}" in message
    assert hub.sent == 0


@by_all
def test_disk_that_becomes_full_costs_nothing_that_has_come(hub, tmp_path, small_disk, asset):
    write_manifest(tmp_path, f"{hub.url}/{NAME}", mb=1)  # so it is tried
    assert "No space left on device" in failure(asset)
    already = hub.sent
    assert mount("-o", "remount,size=20m", small_disk)
    assert is_whole(fetch(asset, "full"))
    assert hub.sent - already <= SIZE - 1.5e6  # of the 2 MB that the disk could hold


def test_read_only_disk_is_used_and_downloads_go_to_the_users_own(hub, tmp_path, small_disk, monkeypatch):
    assert mount("-o", "remount,size=20m", small_disk)
    fetch("by-url", "full")
    assert mount("-o", "remount,ro", small_disk)
    monkeypatch.setenv("TUTORIAL_DATA", str(small_disk))
    change_course(own=tmp_path / "home")
    sent = hub.sent
    assert fetch("by-url", "full") == small_disk / "by-url-full"
    assert store.COURSE.verify("by-url", "full") == []
    assert hub.sent == sent
    assert fetch("by-huggingface", "full") == tmp_path / "home" / "by-huggingface-full"
    change_course(own=small_disk)
    assert f"{small_disk} cannot be written to." in failure("by-modelscope")


# --- The cache is deleted -------------------------------------------------------------------------------


def test_cache_deleted_between_two_uses_is_filled_again_and_that_is_said(hub, tmp_path, monkeypatch, capsys):
    shutil.rmtree(fetch("by-url", "full").parent)
    capsys.readouterr()
    assert is_whole(fetch("by-url", "full"))
    assert f"by-url (full): from {hub.url}/{NAME}, edition: first, to {tmp_path}" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "own")
    write_manifest(tmp_path, f"{closed_port()}/{NAME}")
    message = failure("by-url")
    assert f"{tmp_path / 'own' / 'by-url-full'} does not exist." in message and "Three ways on:" in message


@by_all
def test_cache_deleted_in_the_middle_of_a_download_is_no_trap(hub, tmp_path, asset):
    hub.rate = 3e6

    def delete() -> None:
        while hub.sent < SIZE // 2:
            time.sleep(0.01)
        shutil.rmtree(tmp_path / "own")
        hub.rate = None

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        fetch(asset, "full")
    except AssetError as error:
        assert "was deleted in the middle of the download" in str(error)
    deleting.join()
    assert is_whole(fetch(asset, "full"))


# --- Other processes and other users --------------------------------------------------------------------


@pytest.mark.slow
@by_all
def test_killed_download_is_resumed_by_the_next_run(hub, tmp_path, assert_resumed, asset):
    hub.faults = [Fault(NAME, stall_after=SIZE // 2)]  # and so it is killed when all of this has come, on any machine
    process = start_fetch(tmp_path, asset)
    draft = tmp_path / "class" / f"{asset}-full.partial"
    while files.size_of(draft) < SIZE // 2 - 2**17:  # the clients write a piece when it is full
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert output(start_fetch(tmp_path, asset)).startswith(str(tmp_path / "class" / f"{asset}-full"))
    assert is_whole(tmp_path / "class" / f"{asset}-full")
    assert_resumed()


@by_all
def test_what_was_whole_when_the_run_was_killed_does_not_come_again(hub, asset):
    folder = fetch(asset, "full")
    (folder / copies.STAMP).unlink()
    folder.rename(folder.with_name(f"{folder.name}.partial"))  # where it was a moment before
    hub.sent = 0
    assert is_whole(fetch(asset, "full"))
    assert hub.sent == 0


@pytest.mark.slow
def test_eight_processes_transfer_once(hub, tmp_path):
    hub.pause = 1.0  # so that the others come while the first is at it
    processes = [start_fetch(tmp_path, "by-huggingface") for _ in range(8)]
    folder = tmp_path / "class" / "by-huggingface-full"
    assert {output(process).splitlines()[0] for process in processes} == {str(folder)}
    assert is_whole(folder)
    assert hub.sent == SIZE + len(CONFIG)


AS_ANOTHER_USER = """
import encodings.idna, os, sys  # whoever gives up being root may not be able to read Python any more
from pathlib import Path
import numpy, pickle, safetensors, tqdm.auto
if "by-modelscope" in sys.argv:
    import huggingface_hub.file_download, huggingface_hub.utils.sha, modelscope.hub.snapshot_download
from tutorial_utils.assets import copies, manifest, store, downloads
store.COURSE = store.Store(manifest.read(Path(sys.argv[1])), Path("data"), Path(sys.argv[2]))
os.setgroups([]), os.setgid(65534), os.setuid(65534)
for name in sys.argv[3:]:
    try: print(store.fetch(name, "full"), store.COURSE.verify(name, "full"))
    except copies.AssetError as error: print(error)
"""


@pytest.fixture
def fetch_as_another_user(tmp_path):
    """Fetch as a user who owns nothing but the cache ``theirs``, with ``class`` as the shared one."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only an administrator can act as another user")
    for folder in (tmp_path, *tmp_path.parents[:2]):  # pytest shuts its folders
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o055)
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)

    def run(*names: str) -> str:
        command = [sys.executable, "-c", AS_ANOTHER_USER, tmp_path / "assets.toml", tmp_path / "theirs", *names]
        environment = os.environ | {"TUTORIAL_DATA": str(tmp_path / "class")}
        return output(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True))

    return run


@pytest.mark.parametrize("stamped", [True, False])
def test_cache_that_another_user_filled_is_used_as_it_is(hub, tmp_path, monkeypatch, fetch_as_another_user, stamped):
    change_course(own=tmp_path / "class")
    folder = fetch("by-huggingface", "full")
    if not stamped:
        (folder / copies.STAMP).unlink()
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "class").rglob("*")}
    monkeypatch.setenv("HF_ENDPOINT", closed_port())
    first, second = fetch_as_another_user("by-huggingface", "by-url").splitlines()
    assert first == f"{folder} []"
    assert second == f"{tmp_path / 'theirs' / 'by-url-full'} []"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "class").rglob("*")} == before


def test_download_that_another_user_has_begun_is_named(hub, tmp_path, fetch_as_another_user):
    (tmp_path / "class").mkdir()
    (tmp_path / "class").chmod(0o777)
    (tmp_path / "class" / "by-url-full.lock").touch(0o600)
    assert f"{tmp_path / 'class' / 'by-url-full.lock'}: Permission denied" in fetch_as_another_user("by-url")


@pytest.mark.slow
def test_home_that_cannot_be_written_to_is_no_obstacle(hub, tmp_path, fetch_as_another_user):
    (tmp_path / "class").mkdir()
    folders = fetch_as_another_user("by-modelscope", "by-huggingface").splitlines()
    assert folders == [f"{tmp_path / 'theirs' / name} []" for name in ("by-modelscope-full", "by-huggingface-full")]
    assert not (tmp_path / "clients").exists()  # where the clients would keep their locks and tokens
