"""Create the virtual environment, or bring it up to date: ``python -m tutorial_utils.bootstrap``.

It runs before anything is installed, so it uses nothing but Python's own library; and an old Python 3 must
get as far as the line that says so, so the syntax is old too.
"""

import hashlib
import os
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_GB = 12  # what the installed packages and pip's downloads take on Linux, where torch brings CUDA

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INPUTS = ("pyproject.toml", "constraints.txt")


class SetupError(Exception):
    """What stands in the way, in one line."""


def main():
    """Make `.venv` fit `pyproject.toml` and `constraints.txt`; return at once if it does already."""
    try:
        bring_up_to_date(os.path.join(ROOT, ".venv"))
    except SetupError as error:
        sys.exit("Set-up stopped: {}".format(error))


def bring_up_to_date(venv):
    """Create or update the environment in the folder `venv`.

    Raises:
        SetupError: the Python version is wrong, `venv` or the network is missing, or the disk is too small.
    """
    stamp = os.path.join(venv, ".up-to-date")
    wanted = fingerprint()
    if read(stamp) == wanted and os.path.exists(venv_python(venv)):
        return
    check_python(sys.version_info[:2])
    if os.path.exists(stamp) and os.path.exists(venv_python(venv)):
        print("Updating .venv: pyproject.toml or constraints.txt has changed.")
    else:  # there is none yet, or its set-up was interrupted: creating it again keeps what is there
        check_disk(venv)
        print(
            "Creating .venv with Python {}.{}; this happens once and takes about 5 minutes.".format(*sys.version_info)
        )
        create(venv)
    if os.path.exists(stamp):
        os.remove(stamp)  # until the update has come to its end, nothing is up to date
    install(venv)
    with open(stamp, "w") as file:
        file.write(wanted)


def fingerprint():
    """A digest of everything that decides what is installed, and from where."""
    digest = hashlib.sha256(ROOT.encode())
    for name in INPUTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def check_python(version):
    """Raise SetupError unless `version`, (major, minor), is one that every package supports."""
    if not OLDEST <= tuple(version) <= NEWEST:
        raise SetupError(
            "this is Python {0}.{1}, and the packages need {2}.{3} to {4}.{5}. Name another one: "
            "make PYTHON=python{2}.{3}".format(*(tuple(version) + OLDEST + NEWEST))
        )


def check_disk(venv, needed_gb=NEEDED_GB):
    """Raise SetupError unless the disk that will hold `venv` has room."""
    free_gb = shutil.disk_usage(os.path.dirname(os.path.abspath(venv))).free / 1e9
    if free_gb < needed_gb:
        raise SetupError(
            "the disk has {:.1f} GB free and the environment needs {} GB. Free some space, or move the project "
            "to a larger disk.".format(free_gb, needed_gb)
        )


def create(venv):
    """Make an empty environment, or remove what was begun."""
    try:
        import ensurepip  # noqa: F401  Debian splits it, and with it a working venv, into a package of its own
        import venv as venv_module
    except ImportError:
        raise SetupError(
            "this Python has no venv module. On Debian or Ubuntu: sudo apt-get install python3-venv"
        ) from None
    try:
        venv_module.create(venv, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(venv, ignore_errors=True)
        raise SetupError(".venv could not be created: {}".format(error)) from None


def install(venv):
    """Install the package and everything it needs, at the versions of constraints.txt."""
    command = [venv_python(venv), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--constraint", "constraints.txt", "--editable", "."]
    result = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, universal_newlines=True)
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        lines = errors or result.stderr.splitlines() or ["it ended with status {}.".format(result.returncode)]
        reason = lines[-1].strip()[-300:]
        if "No space left on device" in result.stderr:
            reason = "the disk is full; the environment needs {} GB.".format(NEEDED_GB)
        raise SetupError("pip could not install the packages. {}".format(reason))


def venv_python(venv):
    """The environment's own interpreter."""
    return os.path.join(venv, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def read(path):
    """A file's text, or an empty string if there is no such file."""
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


if __name__ == "__main__":
    main()
