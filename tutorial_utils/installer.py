"""Installing packages, whatever else is configured on a learner's machine.

What people configure of Python, pip and uv is of two kinds. Where packages come from, and how to get there, belongs to
their network: it reaches the installer. Everything else (``user = yes``, ``PIP_TARGET``, ``PYTHONPATH``, another
project's constraints) would lead to other packages or to another place, and does not.

uv installs; pip does where uv cannot be had, or fails. As `bootstrap`, this module runs before anything is installed,
and on an old Python 3.
"""

import ast
import os
import subprocess

KEPT_OF_PYTHON = set(  # as in the Makefile
    "PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONIOENCODING PYTHONPYCACHEPREFIX PYTHONUNBUFFERED PYTHONUTF8".split()
)
KEPT_OF_PIP = set(
    "cache-dir cert client-cert default-timeout extra-index-url find-links index-url keyring-provider no-cache-dir "
    "no-index no-input proxy resume-retries retries timeout trusted-host use-deprecated use-feature".split()
)
KEPT_OF_UV = set(
    "UV_CACHE_DIR UV_CONCURRENT_BUILDS UV_CONCURRENT_DOWNLOADS UV_CONCURRENT_INSTALLS UV_CONFIG_FILE "
    "UV_CREDENTIALS_DIR UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_HTTP_RETRIES UV_HTTP_TIMEOUT UV_INDEX "
    "UV_INDEX_URL UV_INSECURE_HOST UV_KEYRING_PROVIDER UV_LINK_MODE UV_NATIVE_TLS UV_NO_CACHE UV_OFFLINE "
    "UV_SYSTEM_CERTS".split()
)
UV_NAMES = (  # a setting of pip's, what uv calls it, and how uv separates several values
    ("index-url", "UV_DEFAULT_INDEX", " "),
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("default-timeout", "UV_HTTP_TIMEOUT", " "),
    ("timeout", "UV_HTTP_TIMEOUT", " "),
    ("retries", "UV_HTTP_RETRIES", " "),
    ("proxy", "HTTP_PROXY", " "),
    ("proxy", "HTTPS_PROXY", " "),
    ("cert", "SSL_CERT_FILE", None),
    ("client-cert", "SSL_CLIENT_CERT", None),
)
ASTRAY = ("PYTHON", "PIP_", "UV_", "SETUPTOOLS_", "DISTUTILS_", "DIST_EXTRA_", "VIRTUAL_ENV", "__PYVENV")
FULL = "The disk is full."


class SetupError(Exception):
    """What stands in the way, in one line."""


# --- What reaches an installer ------------------------------------------------------------------------------


def environment(environ):
    """`environ` without what would lead Python and its build tools astray, and without any variable of pip or uv."""
    return {name: value for name, value in environ.items() if name in KEPT_OF_PYTHON or not name.startswith(ASTRAY)}


def connections(python, environ):
    """Where packages come from and how to get there, as pip's files and variables say it: a value for each setting.

    Args:
        python: the interpreter whose pip is asked.
    """
    asked = environment(environ)
    names = [pip_variable(name) for name in KEPT_OF_PIP] + ["PIP_CONFIG_FILE"]
    asked.update((name, environ[name]) for name in names if name in environ)
    listed = run([python, "-I", "-m", "pip", "config", "list"], asked, "pip's configuration cannot be read")
    found = {}
    for wanted in ("global", "install", ":env:"):  # the later wins
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            section, _, key = name.rpartition(".")
            if section == wanted and key in KEPT_OF_PIP:
                found[key] = ast.literal_eval(value)
    return found


def for_pip(environ, found):
    """The environment of pip: `found` (see `connections`), and no other configuration."""
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    if index:  # who has configured uv alone
        found = dict({"index-url": index}, **found)
    asked = environment(environ)
    asked.update((pip_variable(name), value) for name, value in found.items())
    asked.update(PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
    return asked


def pip_variable(name):
    """The variable that stands for one of pip's settings."""
    return "PIP_" + name.upper().replace("-", "_")


def for_uv(environ, found, scratch):
    """The environment of uv, which reads nothing that is pip's: `found` in its own words, and what is meant for it.

    Args:
        scratch: a folder on the environment's disk, for a cache where there is no better one.
    """
    asked = environment(environ)
    for name, translation, separator in UV_NAMES:
        if name in found:
            values = found[name].split() if separator else [found[name]]
            if name == "find-links":  # pip passes over a folder that is gone, uv does not
                values = [value for value in values if ":" in value or os.path.isdir(value)]
            asked[translation] = (separator or "").join(values)
    asked["UV_SYSTEM_CERTS"] = "1"  # as pip, which trusts those of the machine, too
    asked["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip, to which every index is worth the same
    asked.update((name, environ[name]) for name in environ if name in KEPT_OF_UV or name.startswith("UV_INDEX_"))
    if "UV_CACHE_DIR" not in asked and ("no-cache-dir" in found or not can_link(uv_cache(asked), scratch)):
        # Who has no cache yet would be left with one as large as the environment.
        asked["UV_CACHE_DIR"] = os.path.join(scratch, "uv")
    return asked


def uv_cache(environ):
    """Where uv's cache is by default."""
    if os.name == "nt":
        return os.path.join(environ.get("LOCALAPPDATA", ""), "uv", "cache")
    return os.path.join(environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "uv")


def can_link(cache, scratch):
    """Whether there is a cache in a folder, and packages can be linked from it into the environment."""
    return os.path.isdir(cache) and os.access(cache, os.W_OK) and os.stat(cache).st_dev == os.stat(scratch).st_dev


# --- Installing ---------------------------------------------------------------------------------------------------


class Installer(object):
    """uv and pip, as an environment's own interpreter runs them on the project in a folder.

    Each installs the project with its `extras`, and everything it needs at the versions of constraints.txt; or raises
    a SetupError whose one line ends with the last thing that uv or pip had to say.

    Args:
        python: the environment's interpreter.
        root: the project's folder.
        environ: the learner's variables.
        scratch: a folder on the environment's disk for what is needed meanwhile.
    """

    def __init__(self, python, root, environ, scratch):
        self.python, self.root = python, root
        self.found = connections(python, environ)
        self.for_pip, self.for_uv = for_pip(environ, self.found), for_uv(environ, self.found, scratch)

    def pip(self, extras):
        self._pip([], ["--editable", target(extras)], "pip could not install the packages")

    def uv(self, extras, torch=""):
        """Args:
        torch: ``"cpu"`` for torch's own builds for the processor, which pip does not know how to find.
        """
        self._pip(["--retries=1", "--only-binary=:all:"], ["uv"], "pip could not install uv")
        command = [self.python, "-I", "-m", "uv", "pip", "install", "--python", self.python, "--quiet"]
        command += ["--compile-bytecode"]  # as pip does: whoever shares the environment may not be able to
        command += ["--no-index"] if "no-index" in self.found else []
        command += ["--torch-backend=" + torch] if torch else []
        command += ["--constraint", "constraints.txt", "--editable", target(extras)]
        run(command, self.for_uv, "uv could not install the packages", self.root)

    def _pip(self, options, what, failure):
        command = [self.python, "-I", "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt"]
        run(command + options + what, self.for_pip, failure, self.root)


def target(extras):
    """The project in the current folder, with its extras."""
    return ".[{}]".format(",".join(sorted(extras))) if extras else "."


def run(command, environ, failure, folder=None):
    """What a command prints; a SetupError that begins with `failure` if it fails."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        done = subprocess.run(command, cwd=folder, env=environ, **pipes)
    except OSError as error:
        raise SetupError("{}. {}".format(failure, error)) from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace")
        raise SetupError("{}. {}".format(failure, reason(said, done.returncode)))
    return done.stdout.decode("utf-8", "replace")


def reason(said, status):
    """What a failed program gives as its reason, whole and on one line: its last error, and what caused that."""
    errors, traced = [], None
    for line in said.splitlines():
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if text.startswith("Traceback ("):
            traced = indent
        elif traced is not None and indent > traced:
            continue  # its steps; what was raised stands below them
        elif text.lower().startswith("error:") and "for help visit" not in text:
            errors = [text]
        elif errors and text.startswith("cause:"):  # uv's; what came first stands last
            errors.append(text[len("cause:") :].strip())
        elif errors and text.lower().startswith(("hint:", "warning:")):
            break
        elif errors and text and (indent >= 9 or traced is not None):  # uv's lines go on below
            errors[-1] += " " + text
    whole = ": ".join(errors[:2] + errors[2:][-1:]) or last_words(said) or "It ended with status {}.".format(status)
    if "No space left on device" in said:
        return FULL + " " + whole
    if "connection broken by " in said:  # pip's error is then often that it knows no version at all
        broken = said.rpartition("connection broken by ")[-1].splitlines()[0]
        return "The connection was broken by {}, and then: {}".format(broken, whole)
    return whole


def last_words(said):
    """The end of a text without marked errors, on one line: what a traceback ends with, or the last few lines."""
    lines = [line for line in said.splitlines() if line.strip()]
    steps = [number for number, line in enumerate(lines, 1) if line.startswith("  ")] if "Traceback" in said else []
    return " ".join(line.strip() for line in lines[steps[-1] if steps else -4 :])
