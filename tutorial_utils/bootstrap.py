"""Create the virtual environment, or bring it up to date: ``python -m tutorial_utils.bootstrap [EXTRA ...]``.

It runs before anything is installed, so it uses nothing but Python's own library; and an old Python 3 must
get as far as the line that says so, so the syntax is old too.

``LIGHT=1`` leaves out what lesson 2 alone needs, and ``TORCH=cpu`` takes torch's builds for the processor. The
environment remembers both, and its extras: it grows when more is asked for, and does not shrink.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile

from tutorial_utils import installer
from tutorial_utils.installer import SetupError

OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_GB = {"packages": 4, "CUDA": 5, "lesson2": 3}  # on Linux, with what is downloaded; elsewhere it is less
WHOLE = "lesson2"  # the extra without which an environment is light

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INPUTS = ("pyproject.toml", "constraints.txt")
INTERRUPTED = 130


def main():
    """Make `.venv` fit `pyproject.toml` and `constraints.txt`; return at once if it does already."""
    try:
        with alone(ROOT):
            venv = os.path.realpath(os.path.join(ROOT, ".venv"))  # some link it to a larger disk
            bring_up_to_date(venv, sys.argv[1:], os.environ)
    except (SetupError, OSError) as error:
        sys.exit("Set-up stopped: {}".format(error))
    except KeyboardInterrupt:
        print("Set-up was interrupted: the same command goes on from here.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        hand_over(ROOT)


def hand_over(folder):
    """Give what root has made in somebody's folder to its owner, who could not delete it: sudo needs no more traces."""
    owner = os.stat(folder)
    if os.name == "nt" or os.geteuid() or not owner.st_uid:
        return
    for place, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):  # it has gone in the meantime
                if os.lstat(path).st_uid == 0:
                    os.lchown(path, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def alone(folder):
    """Wait until no other set-up is at work in `folder`, where the system can tell."""
    try:
        import fcntl

        lock = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another set-up is at work here: waiting for its end.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # some network file systems have no locks
        pass
    try:
        yield
    finally:
        os.close(lock)


def bring_up_to_date(venv, extras, environ):
    """Create or update the environment in the folder `venv`.

    Args:
        extras: extras of pyproject.toml that are wanted beside those that were wanted before.
        environ: variables, of which ``LIGHT`` and ``TORCH`` are read here.

    Raises:
        SetupError: the Python version is wrong, `venv` or the network is missing, or the disk is too small.
    """
    before = read_state(venv)
    wanted = dict(choose(before, extras, environ), venv=venv)
    python = venv_python(venv)
    if before == wanted and os.path.exists(python):
        return
    if starts(python, environ):
        print("Updating .venv, which takes a moment." if before.get("done") else "Going on with .venv.", flush=True)
        follow(venv, before.get("venv", venv))
    else:
        check_python(sys.version_info[:2])
        check_disk(venv, needed_gb(wanted))
        print(
            "Creating .venv with Python {}.{}; this happens once and takes a few minutes.".format(*sys.version_info),
            flush=True,
        )
        before = {}
        create(venv, installer.environment(environ))
    write_state(venv, dict(wanted, done="" if before.get("done") else None))  # nothing is up to date until the end
    install(venv, wanted, environ)
    write_state(venv, wanted)


# --- What is wanted -------------------------------------------------------------------------------------------


def choose(before, extras, environ):
    """The state to bring the environment to, from the one `before`, what is asked for, and the project's files."""
    light, torch = chosen(environ, "LIGHT", ("", "0", "1")), chosen(environ, "TORCH", ("", "cpu"))
    complete = before.get("done") is not None
    known, known_torch = set(before.get("extras", [WHOLE])), before.get("torch", "")
    if light == "1" and not complete:
        known.discard(WHOLE)
    elif light == "1" and WHOLE in known:
        print(".venv is whole and stays so. To have a light one in its place, delete .venv first.")
    elif light in ("", "0"):
        known.add(WHOLE)
    if torch is not None and torch != known_torch:
        if complete:
            print(".venv keeps the torch that it has. To have another in its place, delete .venv first.")
        else:
            known_torch = torch
    return {"extras": sorted(known.union(extras)), "torch": known_torch, "done": fingerprint()}


def chosen(environ, name, allowed):
    """The value of a variable, or None; a SetupError unless it is one of those allowed."""
    value = environ.get(name)
    if value is not None and value not in allowed:
        raise SetupError("{}={}: {} is allowed, or nothing.".format(name, value, " or ".join(filter(None, allowed))))
    return value


def fingerprint():
    """A digest of the files that decide what is installed, and of where they are."""
    digest = hashlib.sha256(ROOT.encode("utf-8", "surrogateescape"))
    for name in INPUTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read_state(venv):
    """What an environment was wanted to be when it was last set up (see `choose`); empty if it never was.

    Its ``done`` is None until it is complete for the first time, and empty while it is updated.
    """
    try:
        with open(os.path.join(venv, "set-up.json")) as file:
            state = json.load(file)
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) and isinstance(state.get("extras"), list) else {}


def write_state(venv, state):
    """Note what an environment is, as a whole or not at all."""
    path = os.path.join(venv, "set-up.json")
    with open(path + ".new", "w") as file:
        json.dump(state, file)
    os.replace(path + ".new", path)


# --- What stands in the way -----------------------------------------------------------------------------------


def check_python(version):
    """Raise SetupError unless `version`, (major, minor), is one that every package supports."""
    if not OLDEST <= tuple(version) <= NEWEST:
        raise SetupError(
            "this is Python {0}.{1}, and the packages need {2}.{3} to {4}.{5}. Name another one: "
            "make PYTHON=python{2}.{3}".format(*(tuple(version) + OLDEST + NEWEST))
        )


def needed_gb(wanted):
    """How much disk an environment takes while it is set up."""
    parts = {"packages", "CUDA", "lesson2"}
    if wanted["torch"]:
        parts.discard("CUDA")
    if WHOLE not in wanted["extras"]:
        parts.discard("lesson2")
    return sum(NEEDED_GB[part] for part in parts)


def check_disk(venv, needed):
    """Raise SetupError unless the disk that will hold `venv` has `needed` GB."""
    free_gb = shutil.disk_usage(os.path.dirname(os.path.abspath(venv))).free / 1e9
    if free_gb < needed:
        raise SetupError(
            "the disk has {:.1f} GB free and the environment needs {} GB. Free some space, or move the project "
            "to a larger disk.".format(free_gb, needed)
        )


# --- What is done ---------------------------------------------------------------------------------------------


def create(venv, environ):
    """Make an empty environment with pip in the place of whatever is there.

    Its interpreter is a link, as it is for ``python -m venv``: a copy does not find a library that belongs beside the
    original.
    """
    try:
        import ensurepip  # noqa: F401  Debian splits it, and with it a working venv, into a package of its own
        import venv as _
    except ImportError:
        raise SetupError(
            "this Python has no venv module. On Debian or Ubuntu: sudo apt-get install python3-venv"
        ) from None
    failure = ".venv could not be created"
    try:
        installer.run([sys.executable, "-I", "-m", "venv", "--clear", "--without-pip", venv], environ, failure)
        with scratch(venv, environ, 1) as (_, roomy):
            installer.run([venv_python(venv), "-I", "-m", "ensurepip", "--default-pip"], roomy, failure)
    except SetupError:
        shutil.rmtree(venv, ignore_errors=True)
        raise


def follow(venv, former):
    """Let the commands in an environment that was moved from `former`, which name its folder, find it here."""
    folder = os.path.dirname(venv_python(venv))
    old, new = os.fsencode(former), os.fsencode(venv)
    for name in os.listdir(folder) if old != new else ():
        path = os.path.join(folder, name)
        if not os.path.islink(path):
            with open(path, "rb") as file:
                text = file.read()
            if old in text and (text.startswith(b"#!") or name.lower().startswith("activate")):
                with open(path, "wb") as file:
                    file.write(text.replace(old, new))


def install(venv, wanted, environ):
    """Install what is wanted, with uv or else with pip, and see that it is there."""
    python, extras = venv_python(venv), wanted["extras"]
    with scratch(venv, environ, needed_gb(wanted)) as (folder, roomy):
        install = installer.Installer(python, ROOT, roomy, folder)
        try:
            install.uv(extras, wanted["torch"])
            verify(python, extras, environ)
        except SetupError as error:
            if wanted["torch"] or installer.FULL in str(error):
                raise
            print("{} Now pip is tried.".format(error), flush=True)
            install.pip(extras)
            verify(python, extras, environ)


def starts(python, environ):
    """Whether an environment's interpreter can be used: it starts, fits, and has pip."""
    code = "import sys, pip; sys.exit(not {} <= sys.version_info[:2] <= {})".format(OLDEST, NEWEST)
    try:
        installer.run([python, "-I", "-c", code], installer.environment(environ), "")
    except SetupError:
        return False
    return True


@contextlib.contextmanager
def scratch(venv, environ, needed):
    """A folder on the environment's disk; and `environ`, which names it for temporary files if their own is small."""
    folder = os.path.join(venv, "scratch")
    shutil.rmtree(folder, ignore_errors=True)  # of a set-up that was killed
    os.makedirs(folder)
    try:
        try:
            is_small = shutil.disk_usage(tempfile.gettempdir()).free / 1e9 < needed / 2
        except OSError:  # there is no place for temporary files
            is_small = True
        yield folder, dict(environ, TMPDIR=folder, TEMP=folder, TMP=folder) if is_small else environ
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def verify(python, extras, environ):
    """Raise SetupError unless the environment's interpreter, by itself, finds this package and all that it needs."""
    code = "import json, sys; from tutorial_utils import bootstrap as it; print(json.dumps([it.ROOT, it.absent({!r})]))"
    failure = "What was installed cannot be used"
    said = installer.run([python, "-I", "-c", code.format(extras)], installer.environment(environ), failure)
    root, missing = json.loads(said)
    if not os.path.samefile(root, ROOT):
        raise SetupError("{}. .venv has the package from {}.".format(failure, root))
    if missing:
        raise SetupError("{}. .venv lacks {}.".format(failure, ", ".join(missing)))


def absent(extras):
    """What this package and its `extras` need directly, and the running interpreter lacks at the pinned version."""
    import importlib.metadata as metadata

    with open(os.path.join(ROOT, "constraints.txt")) as file:
        pins = dict(re.findall(r"^([\w.-]+)==(\S+)", file.read(), re.MULTILINE))
    versions = {plain(found.metadata["Name"]): found.version.partition("+")[0] for found in metadata.distributions()}
    pinned = {plain(name): version for name, version in pins.items()}
    lacking = []
    for requirement in metadata.requires("tutorial-utils"):
        name = plain(re.match(r"[\w.-]+", requirement).group())
        extra = re.search(r"extra == [\"']([\w-]+)", requirement)
        if (not extra or extra.group(1) in extras) and versions.get(name) != pinned[name]:
            lacking.append("{}=={}".format(name, pinned[name]))
    return lacking


def plain(name):
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def venv_python(venv):
    """The environment's own interpreter."""
    return os.path.join(venv, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


if __name__ == "__main__":
    main()
