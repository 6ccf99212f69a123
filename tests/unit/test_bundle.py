"""Bundles for a class, and the repair of what has been damaged."""

from __future__ import annotations

import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fetching import change_course, npz, output, safetensors, start_fetch, write_manifest, write_note
from hub import Fault, Hub, closed_port

from tutorial_utils import __main__ as command_line
from tutorial_utils import files
from tutorial_utils.assets import bundle, copies, store
from tutorial_utils.assets.copies import Copy
from tutorial_utils.assets.store import Store, fetch
from tutorial_utils.sampling import dry_run

CONFIG = b'{"hidden_size": 4}'
WEIGHTS = safetensors(bytes(range(256)) * 100)
VOLUMES = npz(bytes(range(100)))
EVERYTHING = len(CONFIG) + len(WEIGHTS) + len(VOLUMES)


@pytest.fixture
def hub(tmp_path, own_world, monkeypatch):
    """A class that needs a bundled asset, a checkpoint from Hugging Face and a data set from an address."""
    write_note(tmp_path)
    with Hub() as running:
        running.plain["/set.npz"] = VOLUMES
        running.huggingface["lab/net"] = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        describe(tmp_path, f"{running.url}/set.npz")
        yield running


def describe(folder: Path, url: str) -> None:
    """The manifest, with the address of the data set."""
    files = f'{{ path = "config.json" }}, {{ path = "model.safetensors", mb = {len(WEIGHTS) / 1e6} }}'
    write_manifest(folder, f'huggingface = "lab/net"\nfiles = [{files}]', [url], VOLUMES)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``python -m tutorial_utils ...`` in this process: exit status, stdout, stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["tutorial_utils", *map(str, arguments)])
        capsys.readouterr()
        status = command_line.main()
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def full(command, tmp_path):
    """Bundle everything at full scale: exit status, what the table says of each asset, all lines, stderr."""

    def run(*names: str) -> tuple[int, dict[str, str], list[str], str]:
        status, text, error = command("bundle", "--scale", "full", "--out", tmp_path / "stick", *names)
        cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
        return status, {name: outcome for name, _, outcome in cells}, text.splitlines(), error

    return run


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def unplug(monkeypatch, folder: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", closed_port())
    describe(folder, f"{closed_port()}/set.npz")


# --- Bundles --------------------------------------------------------------------------------------------


def test_bundle_is_all_that_a_class_without_a_network_needs(hub, full, tmp_path, monkeypatch):
    stick = tmp_path / "stick"
    status, outcomes, lines, _ = full()
    assert status == 0
    assert outcomes == {"note": "in the repository, verified", "net": "downloaded", "set": "downloaded"}
    assert lines[0] == "0.0 MB to come: net 0.0 MB, set 0.0 MB."
    assert lines[-1] == f"To use it, with no network: TUTORIAL_SCALE=full TUTORIAL_DATA={stick} make lab"
    unplug(monkeypatch, tmp_path)
    monkeypatch.setenv("TUTORIAL_DATA", str(stick))
    for name in ("net", "set"):
        assert fetch(name, "full") == stick / f"{name}-full"
        assert store.COURSE.verify(name, "full") == []
    assert not (tmp_path / "own").exists()
    learner = output(start_fetch(tmp_path, "net", "set", TUTORIAL_DATA=str(stick))).splitlines()
    assert learner == [str(stick / "net-full"), str(stick / "set-full"), "imported"]  # no client


def test_hugging_face_is_asked_for_the_revision_that_the_manifest_names(hub, full):
    net = replace(store.COURSE.find("net", "full"), revision="a1b2")
    change_course(assets=(net,))
    assert full("net")[0] == 0
    asked = [path for path, _ in hub.log if path.startswith("/lab/net/")]
    assert asked and all(path.startswith("/lab/net/resolve/a1b2/") for path in asked)


def test_a_mirror_of_hugging_face_is_suggested_for_what_comes_from_there(hub, full):
    hub.faults = [Fault(times=math.inf, status=404)]
    assert "HF_ENDPOINT can name a mirror of it" in full("net")[3]
    assert "HF_ENDPOINT" not in full("set")[3]


def test_second_run_only_verifies(hub, full, tmp_path, monkeypatch):
    full()
    unplug(monkeypatch, tmp_path)
    status, outcomes, lines, _ = full()
    assert (status, outcomes["net"], outcomes["set"]) == (0, *["already there, verified"] * 2)
    assert lines[0] == "Nothing has to be downloaded; what is here will be verified."


def test_what_is_fetched_but_cannot_be_used_is_said(hub, full, monkeypatch):
    def refuse(folder: Path) -> None:
        raise ValueError(f"{folder} describes no network.")

    monkeypatch.setitem(dry_run.REHEARSALS, "net", refuse)
    status, outcomes, _, error = full()
    assert (status, outcomes["net"], outcomes["set"]) == (1, "failed", "downloaded")
    assert "net-full describes no network." in error


def test_what_failed_is_said_and_comes_with_the_next_run(hub, full):
    hub.faults = [Fault("set.npz", times=math.inf, status=404)]
    status, outcomes, _, error = full()
    assert status == 1
    assert (outcomes["net"], outcomes["set"]) == ("downloaded", "failed")
    assert "has no such file" in error and error.splitlines()[-1].startswith("Not everything is there. Run the same")
    hub.faults = []
    status, outcomes, lines, _ = full()
    assert (status, outcomes["net"], outcomes["set"]) == (0, "already there, verified", "downloaded")
    assert lines[0].endswith("to come: set 0.0 MB.")
    assert hub.sent == EVERYTHING


def test_flipped_bit_on_the_stick_is_found_and_just_that_file_had_again(hub, full, tmp_path):
    full()
    flip(tmp_path / "stick" / "net-full" / "model.safetensors")
    status, outcomes, *_ = full()
    assert (status, outcomes["net"], outcomes["set"]) == (0, "repaired", "already there, verified")
    assert hub.sent == EVERYTHING + len(WEIGHTS)
    assert (tmp_path / "stick" / "net-full" / "model.safetensors").read_bytes() == WEIGHTS


def test_what_this_machine_has_is_copied(hub, full, tmp_path, monkeypatch):
    fetch("net", "full"), fetch("set", "full")
    unplug(monkeypatch, tmp_path)
    status, outcomes, *_ = full()
    assert (status, outcomes["net"], outcomes["set"]) == (0, *["copied from this machine's cache"] * 2)
    assert Copy(store.COURSE.find("net", "full"), tmp_path / "stick" / "net-full").damage() == {}
    assert (
        Copy(store.COURSE.find("net", "full"), tmp_path / "stick" / "net-full").stamp["source"]
        == "Hugging Face lab/net"
    )


def test_several_that_copy_at_once_do_not_meet(hub, tmp_path, monkeypatch):
    fetch("net", "full")
    stick, together = tmp_path / "stick", threading.Barrier(4, timeout=10)
    stick.mkdir()
    find_source = Store.sound

    def at_once(*arguments):
        together.wait()
        return find_source(*arguments)

    monkeypatch.setattr(Store, "sound", at_once)
    with ThreadPoolExecutor(together.parties) as pool:
        runs = [pool.submit(bundle.add, store.COURSE.find("net", "full"), stick) for _ in range(together.parties)]
    assert [run.result() for run in runs] == ["copied from this machine's cache"] * together.parties
    assert Copy(store.COURSE.find("net", "full"), stick / "net-full").damage() == {}


def test_damage_in_this_machines_cache_is_not_copied(hub, full):
    flip(fetch("net", "full") / "model.safetensors")
    sent = hub.sent
    status, outcomes, *_ = full("net")
    assert (status, outcomes["net"]) == (0, "downloaded")
    assert hub.sent == sent + len(WEIGHTS)


def test_folder_copied_by_hand_is_verified_and_stamped(hub, full, tmp_path):
    full("set")
    (tmp_path / "stick" / "set-full" / copies.STAMP).unlink()
    assert full("set")[1] == {"set": "already there, verified"}
    assert (tmp_path / "stick" / "set-full" / copies.STAMP).exists()


def test_want_of_space_is_found_before_anything_comes(hub, full, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_bytes", lambda _: 20_000)
    status, _, lines, error = full()
    assert (status, lines, error.count("\n")) == (1, [], 1)
    assert f"{tmp_path / 'stick'} has room for 0.0 MB, and 0.0 MB have yet to come: free some space" in error
    assert (hub.sent, (tmp_path / "stick").exists()) == (0, False)


def test_what_has_come_needs_no_space(hub, full, monkeypatch):
    full()
    monkeypatch.setattr(files, "free_bytes", lambda _: 0)
    assert full()[0] == 0


def test_size_and_the_limit_of_fat32_are_said_before_latte_comes(tmp_path):
    (latte,) = store.COURSE.choose(["latte"], "full")
    text = bundle.announcement([latte], tmp_path)
    assert text.startswith("24.0 GB to come: latte 24.0 GB.\n") and "exFAT" in text
    assert "exFAT" not in bundle.announcement(store.COURSE.choose(["vit"], "full"), tmp_path)


def test_at_mini_there_is_nothing_to_carry(hub, command, tmp_path):
    status, text, error = command("bundle", "--scale", "mini", "--out", tmp_path / "stick")
    assert (status, error, hub.sent) == (0, "", 0)
    for outcome in ("in the repository, verified", "nothing to carry: made by its lesson"):
        assert outcome in text
    assert text.splitlines()[-1].startswith("Nothing has to be carried")
    assert list((tmp_path / "stick").iterdir()) == []


def test_damage_in_the_repository_is_found_at_both_scales(hub, command, tmp_path):
    (tmp_path / "data" / "note" / "note.txt").write_bytes(b"jello")
    for scale in ("mini", "full"):
        status, text, error = command("bundle", "note", "--scale", scale, "--out", tmp_path / "stick")
        assert status == 1 and "failed" in text
        assert "note.txt is damaged" in error and "git checkout -- data/note" in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--out", "stick", "nett"], "'nett'"),
        (["--out", "assets.toml"], "assets.toml"),
        (["--out", "stick", "--scale", "huge"], "'huge'"),
        ([], "--out"),
    ],
)
def test_wrong_command_line_is_one_line_and_makes_no_folder(hub, command, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    status, text, error = command("bundle", *arguments)
    assert status != 0 and text == ""
    assert named in error and error.count("\n") == 1
    assert not (tmp_path / "stick").exists()


# --- Repair ---------------------------------------------------------------------------------------------


def test_verify_names_a_flipped_bit_and_offers_a_repair_that_fetches_just_that_file(hub, command):
    path = fetch("net", "full") / "model.safetensors"
    sent = hub.sent
    flip(path)
    status, text, error = command("assets", "verify", "net")
    assert status == 1
    assert f"{path} has changed" in error and error.count("\n") == 1
    assert "python -m tutorial_utils assets verify net --scale full --repair" in text
    status, text, error = command("assets", "verify", "net", "--scale", "full", "--repair")
    assert (status, text.splitlines()[-1]) == (0, "net: repaired, sound")
    assert path.read_bytes() == WEIGHTS and store.COURSE.verify("net", "full") == []
    assert hub.sent == sent + len(WEIGHTS)


def test_repair_of_what_is_sound_downloads_nothing(hub, command):
    fetch("net", "full")
    sent = hub.sent
    assert command("assets", "verify", "net", "--repair")[0] == 0
    assert hub.sent == sent


def test_repair_of_bundled_files_is_left_to_git(hub, command, tmp_path):
    (tmp_path / "data" / "note" / "note.txt").write_bytes(b"jello")
    for arguments in (["verify", "note"], ["verify", "note", "--repair"]):
        status, text, error = command("assets", *arguments)
        assert status == 1
        assert "note.txt is damaged" in error and "git checkout -- data/note" in text + error
    assert (tmp_path / "data" / "note" / "note.txt").read_bytes() == b"jello"


def test_repair_without_a_network_leaves_everything_as_it_is(hub, command, tmp_path, monkeypatch):
    folder = fetch("net", "full")
    flip(folder / "model.safetensors")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    unplug(monkeypatch, tmp_path)
    status, _, error = command("assets", "verify", "net", "--repair")
    assert status == 1 and "refused" in error and "Three ways on" in error
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_repair_that_breaks_off_keeps_the_sound_files(hub, command, tmp_path):
    folder = fetch("net", "full")
    flip(folder / "model.safetensors")
    hub.faults = [Fault("model", times=math.inf, status=404)]
    status, _, error = command("assets", "verify", "net", "--repair")
    assert status == 1 and "has no such file" in error
    hub.faults, sent = [], hub.sent
    assert fetch("net", "full") == folder
    assert hub.sent == sent + len(WEIGHTS)


def test_repair_of_a_cache_that_belongs_to_others_says_so(hub, command, monkeypatch):
    folder = fetch("net", "full")
    flip(folder / "model.safetensors")
    monkeypatch.setattr(files, "writable", lambda _: False)
    status, _, error = command("assets", "verify", "net", "--repair")
    assert status == 1
    assert f"{folder} cannot be written to: ask whoever filled it to repair it." in error


def test_fetch_of_a_folder_that_lacks_a_file_downloads_just_that_file(hub):
    folder = fetch("net", "full")
    (folder / "model.safetensors").unlink()
    sent = hub.sent
    assert fetch("net", "full") == folder
    assert hub.sent == sent + len(WEIGHTS)
