"""The nursery for learners' servers, run by the hub as ``python -m classroom.learner SOCKET``, as root."""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import socket
import sys
from pathlib import Path

from classroom import corrections, kernels, lessons, nursery
from classroom.limits import Group

SERVER = ["jupyterhub.singleuser", "jupyterlab.labapp", "ipykernel.kernelapp", "ipykernel.zmqshell", "ipywidgets"]
SERVER += ["nbgitpuller.pull"]
PR_SET_DUMPABLE = 4


def main() -> None:
    """Import everything, then serve until the hub is gone."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    for module in SERVER:
        importlib.import_module(module)
    lessons.import_all()
    nursery.settle()
    sys.path.remove(str(Path.cwd()))  # the project's folder: kernels find what is installed, and their own folder
    nursery.serve(channel, become_server)


def become_server(
    name: str,
    uid: int,
    home: str,
    env: dict[str, str],
    arguments: list[str],
    processes: int,
    repository: str,
    language: str,
    plain: bool,
) -> None:
    """Be a learner's server, within the learner's limits and with nobody else's rights.

    Args:
        processes: how many the learner may have, with their threads.
        repository: of the lessons, which come to the learner in a language.
        plain: start from nothing, instead of sharing what has been imported.
    """
    Group(name).join()
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))  # a second door behind that of the group
    give_up_root(uid)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(home)
    corrections.bring(Path(home), Path(repository), language)
    if plain:
        os.execv(sys.executable, [sys.executable, "-m", "jupyterhub.singleuser", *arguments])
    sys.argv = ["jupyterhub-singleuser", *arguments, *own_folders(home), *kernels.fork_kernels()]
    importlib.import_module("jupyterhub.singleuser").main()


def own_folders(home: str) -> list[str]:
    """Arguments for what JupyterLab read from the nursery's environment while it was imported."""
    lab = f"{home}/.jupyter/lab"
    return [f"--LabApp.user_settings_dir={lab}/user-settings", f"--LabApp.workspaces_dir={lab}/workspaces"]


def give_up_root(uid: int) -> None:
    """Go on as another user, for good, who can look into this process but keeps what it writes from the others."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    os.umask(0o077)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)  # or /proc/self would still be root's


if __name__ == "__main__":
    main()
