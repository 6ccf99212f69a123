"""A message keeps the cause's own last line, whole; and its advice is right for the case at hand."""

import base64
import os
import pickle
import shutil
import stat

import pytest
import torch
from commandline import run
from fetching import change_course, npz, write_manifest, write_note
from hub import Hub

from tutorial_utils import require
from tutorial_utils.assets import store
from tutorial_utils.assets.copies import AssetError
from tutorial_utils.figures.video import Animation
from tutorial_utils.networks import checkpoints

REASON = "OSError: the share went away, said the kernel at line 4711"


@pytest.mark.parametrize("before", [1, 30, 1_000])
@pytest.mark.parametrize("width", [60, 200, 300])
def test_a_shortened_message_keeps_its_last_line(before, width):
    short = require.shortened("Traceback: a call\n" * before + REASON + "\n\n", width)
    assert short.endswith(REASON) and "\n" not in short and len(short) < width + len(REASON)


def test_a_list_without_end_is_cut_all_the_same():
    assert len(require.shortened("missing:\n" + "a.weight, " * 10_000, 300)) <= 300


# --- Hubs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path, own_world, monkeypatch):
    """A hub that has one public file, and refuses whoever shows the token "expired"."""
    with Hub() as serving:
        serving.refused = {"expired": "User Access Token 'course' is expired: renew it in your settings"}
        serving.huggingface["lab/net"] = {"config.json": b'{"public": true}'}
        serving.modelscope["lab/net"] = {"config.json": b'{"public": true}'}
        yield serving


def course(tmp_path, hubs: str) -> None:
    write_manifest(tmp_path, f'{hubs}\nfiles = [{{ path = "config.json" }}]', [], b"")


def test_an_expired_token_is_no_obstacle_to_a_public_file(hub, tmp_path, monkeypatch):
    course(tmp_path, 'huggingface = "lab/net"')
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "expired")
    assert (store.fetch("net", "full") / "config.json").read_bytes() == b'{"public": true}'


def test_a_password_in_a_netrc_is_no_obstacle_either(hub, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password former")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    hub.refused[f"Basic {base64.b64encode(b'anna:former').decode()}"] = "no such account"
    hub.plain["/set.npz"] = volumes = npz(b"volumes")
    write_manifest(tmp_path, 'huggingface = "lab/net"\nfiles = []', [f"{hub.url}/set.npz"], volumes)
    assert (store.fetch("set", "full") / "set.npz").read_bytes() == volumes


def test_a_file_that_is_not_public_says_what_is_wrong_with_the_token(hub, tmp_path, monkeypatch):
    course(tmp_path, 'huggingface = "lab/gated"')
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "expired")
    with pytest.raises(AssetError, match="token 'course' is expired: renew it in your settings|is expired: renew it"):
        store.fetch("net", "full")


# --- A course that was unpacked, and one that was cloned ------------------------------------------------------------


@pytest.mark.parametrize("cloned", [True, False])
def test_a_damaged_file_of_the_course_is_had_again_from_where_it_came(cloned, tmp_path, own_world, monkeypatch):
    write_note(tmp_path)
    write_manifest(tmp_path, 'huggingface = "lab/net"\nfiles = []', [], b"")
    if not cloned:
        shutil.rmtree(tmp_path / ".git")
    (tmp_path / "data" / "note" / "note.txt").write_bytes(b"jello")
    change_course(data=tmp_path / "data")
    with pytest.raises(AssetError) as error:
        store.fetch("note", "mini")
    said = run("assets", "verify", "note", "--scale=mini")
    for message in (str(error.value), said[1] + said[2]):
        assert ("git checkout -- data/note" in message) == cloned
        assert ("Unpack the course's archive once more" in message) == (not cloned)


def test_without_git_nobody_is_told_to_use_it(tmp_path, own_world, monkeypatch):
    write_note(tmp_path)
    write_manifest(tmp_path, 'huggingface = "lab/net"\nfiles = []', [], b"")
    (tmp_path / "data" / "note" / "note.txt").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetError, match="Unpack the course's archive"):
        store.fetch("note", "mini")


# --- Checkpoints ----------------------------------------------------------------------------------------------------


class Code:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nobody_is_advised_to_load_code(tmp_path):
    torch.save({"weights": Code()}, tmp_path / "code.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Code()))
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=r"other things than tensors \(.{10,}\)") as error:
            checkpoints.read_state_dict(path)
        for advice in ("weights_only", "add_safe_globals", "trust", "torch.load"):
            assert advice not in str(error.value)


def test_a_file_that_is_cut_short_says_so_in_torchs_words(tmp_path):
    torch.save({"weights": torch.zeros(1_000)}, tmp_path / "half.pth")
    content = (tmp_path / "half.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="half.pth could not be read as a state dict: .{20}"):
        checkpoints.read_state_dict(tmp_path / "half.pth")


# --- Programs -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="written for a shell")
def test_what_a_program_said_last_is_kept_whole(tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    lines = [
        "#!/bin/sh",
        "[ $1 = -version ] && exit",
        "cat > /dev/null",
        "echo noise >&2",
        f"echo '{REASON}' >&2",
        "exit 1",
    ]
    script.write_text("\n".join(lines))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda: str(script))
    import numpy as np

    with pytest.raises(OSError, match=REASON):
        Animation(np.zeros((2, 8, 8, 3), np.uint8), 8).save(tmp_path / "clip.mp4")
    assert not (tmp_path / "clip.mp4").exists()
