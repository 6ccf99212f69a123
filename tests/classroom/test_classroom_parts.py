"""The classroom's parts, one by one, without a hub."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest
from memory import holds

from classroom import doors, kernels, lessons, limits, nursery, settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the classroom is for Linux")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for variable in [name for name in os.environ if name.startswith(("CLASSROOM_", "TUTORIAL_"))]:
        monkeypatch.delenv(variable)


def test_settings_have_defaults(monkeypatch):
    found = settings.read()
    assert (found.memory, found.cpus, found.url) == (2 * 2**30, 1.0, "http://127.0.0.1:8000")
    monkeypatch.setenv("CLASSROOM_MEMORY", "1500m")
    assert settings.read().memory == 1500 * 2**20


def test_a_certificate_makes_the_address_encrypted(monkeypatch, tmp_path):
    monkeypatch.setenv("CLASSROOM_STATE", str(tmp_path))
    (tmp_path / "certificate.pem").touch()
    assert settings.read().url == "http://127.0.0.1:8000"
    (tmp_path / "key.pem").touch()
    assert settings.read().url == "https://127.0.0.1:8000"


SENSELESS = {
    "CLASSROOM_MEMORY": ["2", "0G", "G"],
    "CLASSROOM_CPUS": ["-1", "nan", "all"],
    "CLASSROOM_IDLE_MINUTES": ["soon"],
    "CLASSROOM_LANGUAGE": ["xx"],
    "TUTORIAL_DATA": ["/nowhere"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SENSELESS.items() for value in values])
def test_a_setting_that_makes_no_sense_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}='{value}'"):
        settings.read()


def test_the_class_list_keeps_passwords_and_adds_the_teacher(tmp_path):
    passwords = pytest.importorskip("classroom.passwords", reason="the hub is not installed: make classroom")
    path = tmp_path / "passwords"
    first = passwords.enrol(path, ["anna"])
    second = passwords.enrol(path, ["anna", "ben"])
    assert (first.keys(), second.keys()) == ({"anna", "teacher"}, {"ben"})
    assert passwords.read(path) == first | second
    assert len({*passwords.read(path).values()}) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "Anna", "../ben", "a b", "ä", "x" * 32, "9lives"])
def test_a_name_that_would_make_no_folder_is_refused(tmp_path, name):
    passwords = pytest.importorskip("classroom.passwords", reason="the hub is not installed: make classroom")
    with pytest.raises(ValueError, match="cannot be a learner's name"):
        passwords.enrol(tmp_path / "passwords", [name])
    assert not (tmp_path / "passwords").exists()


def test_shared_imports_leave_tensorflow_to_the_learner():
    statements = set(lessons._imports())
    assert {"import torch", "import numpy as np"} <= statements
    assert not [statement for statement in statements if "keras" in statement or "tensorflow" in statement]


def test_version_2_of_the_groups_is_told_what_version_1_is(tmp_path):
    (tmp_path / "cgroup.controllers").touch()
    group = limits.Group("anna", mounted=tmp_path)
    (tmp_path / "classroom" / "anna").mkdir(parents=True)
    (tmp_path / "classroom" / "anna" / "memory.swap.max").touch()
    group.limit(2**30, 0.5, 100)
    found = {path.name: path.read_text() for path in (tmp_path / "classroom" / "anna").iterdir()}
    limited = {"memory.max": str(2**30), "memory.swap.max": "0", "cpu.max": "50000 100000", "pids.max": "100"}
    assert found == limited
    for above in (tmp_path, tmp_path / "classroom"):
        assert (above / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_version_2_puts_the_hub_one_group_down_and_learners_beside_it(tmp_path, monkeypatch):
    (tmp_path / "cgroup.controllers").touch()
    own = tmp_path / "system.slice" / "classroom.service"
    own.mkdir(parents=True)
    places = ["system.slice/classroom.service", "system.slice/classroom.service/hub"]
    monkeypatch.setattr(limits, "_own_group", lambda resource: places[0])
    limits.make_room(tmp_path)
    assert (own / "hub" / "cgroup.procs").read_text() == str(os.getpid())
    for place in places:
        monkeypatch.setattr(limits, "_own_group", lambda resource, place=place: place)
        limits.make_room(tmp_path)
        assert limits.Group("anna", mounted=tmp_path).folders["memory"] == own / "classroom" / "anna"
    assert not (own / "hub" / "hub").exists()


def test_limits_that_cannot_be_set_are_an_error(tmp_path):
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "classroom").touch()
    with pytest.raises(limits.LimitsError, match="could not be set"):
        limits.Group("anna", mounted=tmp_path).limit(2**30, 1, 100)


def test_the_highest_closed_folder_on_the_way_is_found(tmp_path):
    needed = tmp_path / "open" / "closed" / "inner" / "needed"
    needed.mkdir(parents=True)
    tmp_path.chmod(0o755)
    (tmp_path / "open" / "closed").chmod(0o700)
    (tmp_path / "open" / "closed" / "inner").chmod(0o700)
    above = doors.first_closed(tmp_path)  # pytest's own folder may be closed, too
    assert doors.first_closed(needed) == (above or (tmp_path / "open" / "closed"))


def answer(write: int, text: str, halves: list[str] | None) -> None:
    """Say what one was told, or whether two halves of another's secret are in one's memory; and stay."""
    os.write(write, (str(holds(*halves)) if halves else text[:9]).encode())
    signal.pause()


@pytest.fixture
def pair():
    """A nursery in a process of its own, whose children write what they are told to a pipe; and the pipe's end."""
    near, far = socket.socketpair()
    read, write = os.pipe()
    if not (pid := os.fork()):
        near.close()
        nursery.live(lambda: nursery.serve(far, lambda text, halves=None: answer(write, text, halves)))
    far.close()
    os.close(write)
    yield nursery.Nursery(near), read
    near.close()
    os.waitpid(pid, 0)
    os.close(read)


def test_a_nursery_has_a_child_for_each_wish(pair):
    asker, said = pair
    children = []
    for text in ("one", "two"):
        children.append(kernels.ForkedKernel(asker.ask(text=text)))
        assert os.read(said, 10).decode() == text
    first, second = children
    assert first.poll() is None and os.getpgid(first.pid) == os.getsid(first.pid) == first.pid
    first.kill()
    first.wait(10)
    assert (first.poll(), second.poll()) == (0, None)
    first.send_signal(signal.SIGINT)  # as with a Popen nothing happens, and jupyter_client counts on it for restarts
    second.terminate()
    assert second.wait(10) == 0


def test_what_one_child_was_told_is_in_no_other_childs_memory(pair):
    asker, said = pair
    secret = secrets.token_hex(16)
    children = [kernels.ForkedKernel(asker.ask(text="A" * 5_000 + secret + "A" * 5_000))]
    os.read(said, 10)
    children.append(kernels.ForkedKernel(asker.ask(text="", halves=(secret[:16], secret[16:]))))
    answer = os.read(said, 10)
    for child in children:
        child.kill()
    assert answer == b"False"


def test_a_nursery_that_is_gone_says_so():
    near, far = socket.socketpair()
    far.close()
    with pytest.raises(OSError):
        nursery.Nursery(near).ask(text="anyone?")


def test_a_child_passes_its_status_on():
    for life, status in ((lambda: None, 0), (lambda: sys.exit(3), 3), (lambda: sys.exit("no"), 1), (lambda: 1 / 0, 1)):
        if not (pid := os.fork()):
            sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  it belongs to the child
            nursery.live(life)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status


def test_the_nursery_refuses_to_have_children_with_a_thread_beside_it():
    import threading

    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    with pytest.raises(RuntimeError, match="has started a thread"):
        nursery.settle()
    stop.set()
    thread.join()


@pytest.fixture
def start():
    """The module that starts the class."""
    return pytest.importorskip("classroom.__main__", reason="the hub is not installed: make classroom")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999", "no.such.host.invalid:8000"])
def test_an_address_at_which_nobody_can_listen_is_named_before_anything_starts(start, monkeypatch, address):
    monkeypatch.setenv("CLASSROOM_ADDRESS", address)
    with pytest.raises(start.StartError, match=f"CLASSROOM_ADDRESS={address} cannot be used"):
        start.check_address(settings.read())


def test_an_address_that_is_taken_is_named(start, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("CLASSROOM_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(start.StartError, match="Address already in use"):
            start.check_address(settings.read())


def test_a_certificate_that_is_none_is_named(start, monkeypatch, tmp_path):
    for name in ("certificate.pem", "key.pem"):
        (tmp_path / name).touch()
    monkeypatch.setenv("CLASSROOM_STATE", str(tmp_path))
    monkeypatch.setenv("CLASSROOM_ADDRESS", "127.0.0.1:0")
    with pytest.raises(start.StartError, match="The certificate cannot be used"):
        start.check_address(settings.read())


def test_a_proxy_that_is_not_there_is_installed_whatever_npm_has_noted(start, monkeypatch, tmp_path):
    asked = []
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(start, "npm", lambda command, **options: asked.append(command) or done)
    monkeypatch.setattr(settings, "PROXY", tmp_path / "absent")
    start.install_proxy()
    assert len(asked) == 1


UNIT = {"CLASSROOM_ADDRESS": "0.0.0.0:8000", "CLASSROOM_STATE": '/srv/my "100%" class\\', "CLASSROOM_DELEGATED": "0"}


def test_the_unit_for_systemd_has_this_clone_and_the_settings_of_now(start, monkeypatch, tmp_path, capsys):
    for name, value in UNIT.items():
        monkeypatch.setenv(name, value)
    start.unit()
    unit = capsys.readouterr().out
    assert (
        f"WorkingDirectory={start.ROOT}\n" in unit and f'ExecStart="{sys.executable}" -B -m classroom start\n' in unit
    )
    settings = '"CLASSROOM_DELEGATED=1" "CLASSROOM_ADDRESS=0.0.0.0:8000"'
    assert f'Environment={settings} "CLASSROOM_STATE=/srv/my \\"100%%\\" class\\\\"\n' in unit
    if shutil.which("systemd-analyze"):
        (tmp_path / "classroom.service").write_text(unit)
        verified = subprocess.run(
            ["systemd-analyze", "verify", tmp_path / "classroom.service"], capture_output=True, text=True
        )
        assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["anna"], "No such command 'anna'."),
        (["add"], "Missing argument"),
        (["add", "dora"], "There is no class in "),
        (["publish"], "There is no class in "),
        (["collect", "work"], "There is no class in "),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_a_line(start, monkeypatch, tmp_path, capsys, command, said):
    monkeypatch.setenv("CLASSROOM_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["classroom", *command])
    assert start.main() != 0
    errors = capsys.readouterr().err
    assert errors.startswith(said) and errors.count("\n") == 1 and not (tmp_path / "state").exists()


def test_what_is_not_installed_stops_the_start_with_the_command_that_installs_it(start, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "PROXY", tmp_path / "absent")
    with pytest.raises(start.StartError, match="make hub"):
        start.check_proxy()
