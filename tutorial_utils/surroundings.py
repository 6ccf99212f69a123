"""What other tools were told on this machine, and how little of it reaches a lesson.

A lesson shows and computes the same whatever configuration files and variables somebody has for other work. What leads
out to a network (proxies, certificates, mirrors, tokens), what says which cores and GPUs to use, and what this course
itself documents, such as KERAS_BACKEND, is left alone. matplotlib's settings are `figures.plotting`'s matter.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
import warnings
from pathlib import Path

KERAS_HOME = Path(__file__).with_name("settings")
"""Keras looks there for its keras.json: the settings that lesson 2 was written for."""

INLINE = "module://matplotlib_inline.backend_inline"
"""The backend of matplotlib that Jupyter sets."""

IN_PROCESS = ("KERAS_", "TF_USE_LEGACY_KERAS", "TF_XLA_FLAGS", "DIFFUSERS_ATTN_", "HF_ENABLE_PARALLEL_LOADING")
"""Beginnings of variables by which libraries compute something else, whenever they are imported."""

AT_START = ("PYTHON", "IPYTHON", "JPY_")
"""Beginnings of variables by which a kernel that we start would become another one."""

JUPYTER = "JUPYTER_"
"""Theirs say where pages and kernels are described; in JupyterLab also what suits its user."""

KEPT = (
    "KERAS_BACKEND",
    *("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONIOENCODING", "PYTHONPYCACHEPREFIX"),
    *("PYTHONUNBUFFERED", "PYTHONUTF8"),
)


def set_up() -> None:
    """Keep other work's settings from the libraries that this process will import."""
    _forget(IN_PROCESS)
    os.environ["KERAS_HOME"] = str(KERAS_HOME)
    if not os.environ.get("MPLBACKEND", INLINE).startswith("module://"):
        os.environ["MPLBACKEND"] = INLINE  # an unknown name stops the import of matplotlib


def clear(keep_jupyter: bool = False) -> None:
    """Keep them from the kernels that this process will start, too; and paths keep the meaning that they were given.

    Args:
        keep_jupyter: whether Jupyter's own settings stay, for somebody who will work in it.
    """
    set_up()
    if "PYTHONWARNINGS" in os.environ:  # which Python has read already, and which may make errors of warnings
        warnings.resetwarnings()
        sys.warnoptions.clear()
    _forget(AT_START if keep_jupyter else (*AT_START, JUPYTER))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernels and pages come before all others
    profile = tempfile.TemporaryDirectory(prefix="ipython-")  # nobody's start-up files are in it
    atexit.register(profile.cleanup)
    os.environ["IPYTHONDIR"] = profile.name
    if not keep_jupyter:
        os.environ["TUTORIAL_LANGUAGE"] = "en"  # in which the lessons are stored, and compared
        os.environ["JUPYTER_RUNTIME_DIR"] = str(Path(profile.name) / "runtime")  # a home may be read-only
    if shared := os.environ.get("TUTORIAL_DATA"):
        with contextlib.suppress(ValueError):  # whoever looks there will say what is wrong with it
            os.environ["TUTORIAL_DATA"] = str(from_where_it_was_given(shared))


def _forget(beginnings: tuple[str, ...]) -> None:
    for name in [name for name in os.environ if name.startswith(beginnings) and name not in KEPT]:
        del os.environ[name]


def from_where_it_was_given(path: str) -> Path:
    """A path of a variable as an absolute one. A relative one starts where the shell was, which a kernel is not.

    Raises:
        ValueError: it starts with ~, and nobody has said where that home is.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path!r} has no meaning here: {error} Set HOME, or give the whole path.") from error
    here, shell = Path.cwd() / expanded, Path(os.environ.get("PWD") or ".") / expanded
    return here if os.path.lexists(here) or not os.path.lexists(shell) else shell.absolute()


def user_cache() -> Path:
    """The folder for this course among the user's caches.

    Raises:
        ValueError: this user has no home.
    """
    from platformdirs import user_cache_path

    try:
        return user_cache_path("transformers-for-images-and-video")
    except RuntimeError as error:  # without HOME, for somebody whom the system does not know
        raise ValueError(
            "You have no home folder: set HOME, or XDG_CACHE_HOME, to one that you can write to."
        ) from error
