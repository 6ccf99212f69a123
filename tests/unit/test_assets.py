"""Assets: the manifest, bundled files, caches and downloads. No network but the loopback interface."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fetching import ROOT, npz, output, safetensors, start_fetch, write_manifest, write_note
from hub import Fault, Hub, closed_port

from tutorial_utils import __main__ as command_line
from tutorial_utils import files, runtime
from tutorial_utils.assets import copies, downloads, store
from tutorial_utils.assets.copies import AssetError
from tutorial_utils.assets.manifest import read
from tutorial_utils.assets.store import Store, fetch

CONFIG = b'{"hidden_size": 4}'
WEIGHTS = safetensors(bytes(range(100)))
VOLUMES = npz(bytes(range(256)) * 800)
NET = """
modelscope = "course/net"
huggingface = "lab/net"
files = [{ path = "config.json" }, { path = "sub/model.safetensors", mb = 346 }]
"""
MD5 = hashlib.md5(VOLUMES).hexdigest()


@pytest.fixture(autouse=True)
def tiny_world(tmp_path, own_world):
    """A bundled, a hub and a URL asset, in a repository and with caches of their own; and no network."""
    write_note(tmp_path)
    describe(tmp_path)


def describe(folder: Path, *urls: str) -> None:
    """The manifest, with the addresses of the data set."""
    write_manifest(folder, NET, list(urls), VOLUMES)


def put_net(folder: Path, weights: bytes = WEIGHTS) -> Path:
    """A copy of the hub asset as a person would make it: without a stamp."""
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "sub" / "model.safetensors").write_bytes(weights)
    return folder


# --- The manifest that ships ----------------------------------------------------------------------


@pytest.fixture
def shipped(monkeypatch) -> Store:
    monkeypatch.setattr(store, "COURSE", Store(read(), ROOT / "data"))
    return store.COURSE


def test_manifest_describes_every_asset_at_both_scales(shipped):
    names = {asset.name for asset in store.COURSE.assets}
    assert {"fashion-mnist", "chelsea", "vit", "organmnist3d", "vae", "uvit", "latte"} <= names
    assert sorted((asset.name, asset.scale) for asset in store.COURSE.assets) == sorted(
        (name, scale) for name in names for scale in runtime.SCALES
    )
    for asset in store.COURSE.assets:
        assert asset.title and asset.licence and asset.source, asset
        assert asset.kind in ("bundled", "hub", "url", "generated"), asset
        assert bool(asset.files) != (asset.kind == "generated"), asset
        assert (asset.kind == "bundled") == bool(asset.folder), asset
        assert (asset.kind == "hub") == bool(asset.modelscope or asset.huggingface), asset
        assert (asset.kind == "url") == bool(asset.urls and asset.editions), asset


def test_every_bundled_file_is_there_and_sound(shipped):
    for asset in store.COURSE.assets:
        if asset.kind == "bundled":
            assert store.COURSE.verify(asset.name, asset.scale) == []
            (copy,) = store.COURSE.copies(asset)
            assert fetch(asset.name, asset.scale) == copy.folder
            assert asset.size_bytes == sum(path.stat().st_size for path in copy.paths)
            assert all(file.sha256 for file in asset.files)


def test_every_bundled_json_file_is_json_to_all_readers():
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is Python's, not JSON's.")

    for path in (ROOT / "data").rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_sizes_are_known_before_a_download(shipped):
    full = {asset.name: asset.size_bytes for asset in store.COURSE.assets if asset.scale == "full"}
    assert full["vit"] == 346_000_000
    assert 23e9 < full["latte"] < 25e9


def test_import_is_light():
    heavy = "{'requests', 'torch', 'modelscope', 'huggingface_hub', 'numpy'}"
    script = f"import sys, tutorial_utils.assets.store; sys.exit(bool({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


# --- Names, scales and bundled files --------------------------------------------------------------


def test_unknown_name_and_scale_are_named_with_what_is_allowed():
    with pytest.raises(ValueError, match=r"'nett'.*net, note, set"):
        fetch("nett", "mini")
    with pytest.raises(ValueError, match=r"'huge'.*'mini'.*'full'"):
        fetch("net", "huge")


def test_scale_defaults_to_the_environment(monkeypatch):
    assert store.COURSE.find("net").scale == "mini"
    monkeypatch.setenv("TUTORIAL_SCALE", "full")
    assert store.COURSE.find("net").scale == "full"
    monkeypatch.setenv("TUTORIAL_SCALE", "medium")
    with pytest.raises(ValueError, match="TUTORIAL_SCALE='medium'"):
        fetch("note")


def test_bundled_files_are_returned_at_both_scales(tmp_path):
    assert fetch("note", "mini") == fetch("note", "full") == tmp_path / "data" / "note"


def test_corrupted_bundled_file_is_refused_with_both_hashes(tmp_path):
    (tmp_path / "data" / "note" / "note.txt").write_bytes(b"jello")
    with pytest.raises(AssetError) as error:
        fetch("note", "mini")
    for expected in ("note.txt", hashlib.sha256(b"hello").hexdigest(), hashlib.sha256(b"jello").hexdigest()):
        assert expected in str(error.value)
    assert "git checkout -- data/note" in str(error.value)
    assert len(store.COURSE.verify("note", "mini")) == 1


def test_missing_bundled_file_is_named_with_its_hash(tmp_path):
    (tmp_path / "data" / "note" / "note.txt").unlink()
    with pytest.raises(AssetError, match=rf"note.txt is missing.*{hashlib.sha256(b'hello').hexdigest()}"):
        fetch("note", "mini")


def test_what_a_lesson_makes_itself_cannot_be_fetched():
    with pytest.raises(AssetError, match="generated"):
        fetch("set", "mini")
    assert store.COURSE.verify("set", "mini") == []


# --- Caches ---------------------------------------------------------------------------------------


def test_copied_folder_without_a_stamp_is_adopted(tmp_path):
    folder = put_net(tmp_path / "own" / "net-full")
    assert store.COURSE.verify("net", "full") == []
    assert fetch("net", "full") == folder
    stamp = json.loads((folder / copies.STAMP).read_text())
    assert stamp["files"]["sub/model.safetensors"]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    net = store.COURSE.find("net", "full")
    assert (net.size_bytes, store.COURSE.sound(net).folder) == (346_000_000, folder)


def test_shared_cache_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path / "class"))
    put_net(tmp_path / "own" / "net-full")
    shared = put_net(tmp_path / "class" / "net-full")
    assert fetch("net", "full") == shared


def test_shared_cache_that_is_no_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path / "clas"))
    with pytest.raises(ValueError, match=r"TUTORIAL_DATA=.*clas"):
        fetch("net", "full")


@pytest.mark.parametrize("damage", ["missing", "cut short", "a web page", "empty"])
def test_half_copied_folder_is_not_taken_for_a_whole_one(tmp_path, damage):
    folder = put_net(tmp_path / "own" / "net-full", WEIGHTS[:-1] if damage == "cut short" else WEIGHTS)
    if damage == "missing":
        (folder / "config.json").unlink()
    if damage == "a web page":
        (folder / "config.json").write_text("<!doctype html>")
    if damage == "empty":
        (folder / "config.json").write_text("")
    broken = "model.safetensors" if damage == "cut short" else "config.json"
    with pytest.raises(AssetError, match=rf"{broken} is "):
        fetch("net", "full")
    assert not (folder / copies.STAMP).exists()
    assert any(broken in problem for problem in store.COURSE.verify("net", "full"))


def test_stamped_folder_that_has_shrunk_is_refused(tmp_path):
    folder = put_net(tmp_path / "own" / "net-full")
    fetch("net", "full")
    (folder / "config.json").write_bytes(b"{}")
    with pytest.raises(AssetError, match=r"config.json has 2 bytes; it had 18"):
        fetch("net", "full")


def test_verify_finds_a_change_that_keeps_the_size(tmp_path):
    folder = put_net(tmp_path / "own" / "net-full")
    fetch("net", "full")
    (folder / "config.json").write_bytes(CONFIG.replace(b"4", b"5"))
    assert fetch("net", "full") == folder  # quick: sizes only
    (problem,) = store.COURSE.verify("net", "full")
    assert "config.json has changed" in problem


def test_verify_of_what_is_not_there():
    assert store.COURSE.verify("net", "full") == ["net (full) is not on this machine."]


def test_partial_download_is_never_returned(tmp_path):
    put_net(tmp_path / "own" / "net-full.partial")
    with pytest.raises(AssetError, match="net-full does not exist"):
        fetch("net", "full")


def forbid_writing(monkeypatch, folder: Path) -> None:
    """Make a folder read-only; also for an administrator, whom the permissions of a folder do not bind."""
    writable = files.writable
    monkeypatch.setattr(files, "writable", lambda path: folder not in (path, *path.parents) and writable(path))


def test_read_only_cache_is_used_and_not_written_to(tmp_path, monkeypatch):
    shared = tmp_path / "class"
    monkeypatch.setenv("TUTORIAL_DATA", str(shared))
    folder = put_net(shared / "net-full")
    forbid_writing(monkeypatch, shared)
    assert fetch("net", "full") == folder
    assert not (folder / copies.STAMP).exists()
    (folder / "config.json").unlink()  # it is verified each time, having no stamp
    with pytest.raises(AssetError):
        fetch("net", "full")


def test_read_only_cache_sends_downloads_to_the_users_own(tmp_path, monkeypatch):
    shared = tmp_path / "class"
    shared.mkdir()
    monkeypatch.setenv("TUTORIAL_DATA", str(shared))
    forbid_writing(monkeypatch, shared)
    with Hub() as hub:
        hub.plain["/set.npz"] = VOLUMES
        describe(tmp_path, f"{hub.url}/set.npz")
        assert fetch("set", "full") == tmp_path / "own" / "set-full"
    assert list(shared.iterdir()) == []


def test_no_writable_cache_is_said(tmp_path, monkeypatch):
    forbid_writing(monkeypatch, tmp_path)
    with pytest.raises(AssetError, match="own cannot be written to"):
        fetch("net", "full")


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="permissions bind users only")
def test_permissions_make_a_folder_unwritable(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    assert not files.writable(tmp_path / "shut")


# --- No network -----------------------------------------------------------------------------------


def test_without_a_network_one_error_says_what_was_tried_and_three_ways_on(tmp_path):
    modelscope, huggingface = closed_port(), closed_port()
    text = output(start_fetch(tmp_path, "net", MODELSCOPE_ENDPOINT=modelscope, HF_ENDPOINT=huggingface))
    assert "net (full) could not be fetched" in text
    assert f"ModelScope ({modelscope}): " in text and f"Hugging Face ({huggingface}): " in text
    assert text.count("refused") == 2
    assert "TUTORIAL_SCALE=mini" in text
    assert "python -m tutorial_utils assets fetch net --scale full" in text
    assert str(tmp_path / "class" / "net-full") in text
    assert text.splitlines()[-1] == "imported"  # neither client


def test_server_that_never_answers_costs_no_more_than_the_probe(monkeypatch):
    monkeypatch.setattr(downloads, "PROBE_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", address)
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(AssetError) as error:
            fetch("net", "full")
    assert str(error.value).count("no answer within 0.5 s") == 2


def test_name_server_that_never_answers_is_not_waited_for(monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(downloads, "PROBE_SECONDS", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.wait(60))
    with pytest.raises(AssetError) as error:
        fetch("net", "full")
    assert str(error.value).count("no answer within 0.3 s") == 2
    answers.set()


# --- Downloads ------------------------------------------------------------------------------------


def test_hub_clients_download_and_fall_back(tmp_path):
    """ModelScope has everything of one model, and lacks a file of the other, as its client does not say."""
    with Hub() as hub:
        files = {"config.json": CONFIG, "sub/model.safetensors": WEIGHTS, "pytorch_model.bin": b"unwanted"}
        hub.modelscope = {"course/net": files, "course/other": {"config.json": CONFIG}}
        hub.huggingface = {"lab/net": files, "lab/other": files}
        text = (tmp_path / "assets.toml").read_text()
        entry = text[text.index("[net.full]") : text.index("[set.mini]")]
        (tmp_path / "assets.toml").write_text(
            text + entry.replace("net.full", "other.full").replace("/net", "/other") + "[other.any]\nkind='generated'"
            "\ntitle=''\nlicence=''\nsource=''\n"
        )
        text = output(start_fetch(tmp_path, "net", "other", MODELSCOPE_ENDPOINT=hub.url, HF_ENDPOINT=hub.url))
        stamps = []
        for line, name in zip(text.splitlines(), ("net", "other"), strict=False):
            folder = tmp_path / "class" / f"{name}-full"
            assert line == str(folder), text
            assert sorted(path.name for path in folder.iterdir()) == [copies.STAMP, "config.json", "sub"]
            assert (folder / "sub" / "model.safetensors").read_bytes() == WEIGHTS
            stamps.append(json.loads((folder / copies.STAMP).read_text()))
        assert [stamp["source"] for stamp in stamps] == ["ModelScope course/net", "Hugging Face lab/other"]
        assert hub.downloads("pytorch_model.bin") == 0
    assert not list((tmp_path / "class").glob("*.partial"))


def test_url_file_is_stamped_with_its_source_and_edition(tmp_path, capsys):
    with Hub() as hub:
        hub.plain["/set.npz"] = VOLUMES
        describe(tmp_path, f"{closed_port()}/set.npz", f"{hub.url}/set.npz")
        folder = fetch("set", "full")
        stamp = json.loads((folder / copies.STAMP).read_text())
        assert (stamp["source"], stamp["edition"]) == (f"{hub.url}/set.npz", "first")
        assert [path.name for path in sorted(folder.iterdir())] == [copies.STAMP, "set.npz"]
        assert "edition: first" in capsys.readouterr().err
        assert store.COURSE.verify("set", "full") == []
        fetch("set", "full")
        assert hub.downloads("/set.npz") == 1


def test_wrong_file_is_refused_deleted_and_the_next_address_tried(tmp_path):
    with Hub() as hub:
        hub.plain = {"/wrong.npz": npz(b"other"), "/set.npz": VOLUMES}
        describe(tmp_path, f"{hub.url}/wrong.npz")
        with pytest.raises(AssetError, match=rf"MD5 {hashlib.md5(npz(b'other')).hexdigest()}.*{MD5}"):
            fetch("set", "full")
        assert [path for path in (tmp_path / "own").rglob("*.npz*") if path.is_file()] == []
        describe(tmp_path, f"{hub.url}/wrong.npz", f"{hub.url}/set.npz")
        assert (fetch("set", "full") / "set.npz").read_bytes() == VOLUMES


@pytest.mark.parametrize("ranges", [True, False])
def test_dropped_connection_is_resumed_where_the_server_can(tmp_path, ranges):
    with Hub() as hub:
        hub.plain["/set.npz"] = VOLUMES
        hub.faults, hub.ranges = [Fault(drop_after=100_000)], ranges
        describe(tmp_path, f"{hub.url}/set.npz")
        assert (fetch("set", "full") / "set.npz").read_bytes() == VOLUMES
        first, second = (asked for path, asked in hub.log if path == "/set.npz")
        assert first == "bytes=0-"
        assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 100_000


def test_interrupted_download_is_kept_and_resumed(tmp_path, monkeypatch):
    def interrupted(response, *_):
        if response.request.method == "GET":
            yield VOLUMES[:50_000]
            raise KeyboardInterrupt

    with Hub() as hub:
        hub.plain["/set.npz"] = VOLUMES
        describe(tmp_path, f"{hub.url}/set.npz")
        with monkeypatch.context() as patch:
            patch.setattr(downloads.requests.Response, "iter_content", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fetch("set", "full")
        assert not (tmp_path / "own" / "set-full").exists()
        assert (fetch("set", "full") / "set.npz").read_bytes() == VOLUMES
        assert hub.log[-1] == ("/set.npz", "bytes=50000-")


def test_beginning_that_is_longer_than_the_file_is_thrown_away(tmp_path):
    with Hub() as hub:
        hub.plain["/set.npz"] = VOLUMES
        describe(tmp_path, f"{hub.url}/set.npz")
        (tmp_path / "own" / "set-full.partial").mkdir(parents=True)
        (tmp_path / "own" / "set-full.partial" / "set.npz.127.0.0.1").write_bytes(VOLUMES * 2)
        assert (fetch("set", "full") / "set.npz").read_bytes() == VOLUMES


def test_damaged_copy_is_replaced_by_a_download(tmp_path):
    folder = tmp_path / "own" / "set-full"
    folder.mkdir(parents=True)
    (folder / "set.npz").write_bytes(VOLUMES[:1000])
    with Hub() as hub:
        hub.plain["/set.npz"] = VOLUMES
        describe(tmp_path, f"{hub.url}/set.npz")
        assert (fetch("set", "full") / "set.npz").read_bytes() == VOLUMES


# --- The command line -----------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``python -m tutorial_utils assets ...`` in this process: exit status, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["tutorial_utils", "assets", *arguments])
        status = command_line.main()
        return status, *capsys.readouterr()

    return run


def test_list_says_where_each_asset_is(tmp_path, command):
    put_net(tmp_path / "own" / "net-full")
    status, text, _ = command("list")
    rows = {" ".join(line.split()[:2]): " ".join(line.split()[2:]) for line in text.splitlines()}
    assert status == 0
    assert rows["note both"] == "bundled 0.0 MB MIT bundled"
    assert rows["net mini"] == "generated - MIT generated"
    assert rows["net full"] == f"hub 346 MB MIT in the cache at {tmp_path / 'own' / 'net-full'}"
    assert rows["set mini"] == "generated - MIT generated"
    assert rows["set full"] == "url 0.2 MB MIT to download"


def test_fetch_prints_the_folders_and_checks_all_names_first(tmp_path, command):
    net = put_net(tmp_path / "own" / "net-full")
    note = tmp_path / "data" / "note"
    assert command("fetch", "note", "net", "--scale", "full") == (0, f"{note}\n{net}\n", "")
    status, text, error = command("fetch", "note", "nett")
    assert (status, text) == (1, "") and "'nett'" in error


def test_verify_tells_damage_from_absence(tmp_path, command):
    status, text, error = command("verify")
    assert (status, error) == (0, "")
    assert text.splitlines() == [
        "note (both): sound, bundled",
        "net (mini): generated",
        "net (full): to download",
        "set (mini): generated",
        "set (full): to download",
    ]
    (tmp_path / "data" / "note" / "note.txt").write_bytes(b"jello")
    status, text, error = command("verify", "--scale", "full")
    assert status == 1
    assert text.splitlines()[0] == "note (full): not sound:"
    assert "note.txt is damaged" in error and error.count("\n") == 1


def test_verify_of_a_name_needs_one_of_its_scales_to_be_here(tmp_path, command):
    assert command("verify", "net", "--scale", "full")[::2] == (1, "net is not on this machine.\n")
    assert command("verify", "net")[::2] == (0, "")  # at mini its lesson makes it
    put_net(tmp_path / "own" / "net-full")
    assert command("verify", "net", "--scale", "full")[::2] == (0, "")
