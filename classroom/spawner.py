"""Starts a learner's server: with a home of its own, as a user of its own, held to its limits."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port
from traitlets import Bool, Dict, Int, Unicode

from classroom import passwords
from classroom.limits import Group
from classroom.nursery import Nursery

ROOT = Path(__file__).parents[1]
FIRST_USER = 70_000  # ids that Linux gives to nobody: they have no name, no password and no rights


class LearnerSpawner(LocalProcessSpawner):
    """A child of the nursery for each learner."""

    homes = Unicode(config=True, help="The folder that holds the learners' homes.")
    nursery_env = Dict(config=True, help="The environment in which the lessons' imports are made.")
    repository = Unicode(config=True, help="The repository that the lessons come from.")
    language = Unicode(config=True, help="The language that they come in.")
    class_list = Unicode(config=True, help="The file with the class list.")
    processes = Int(config=True, help="How many processes and threads a learner may have.")
    log_file = Unicode(config=True, help="Where what learners' servers and kernels say is kept.")
    plain = Bool(config=True, help="Share no imports, to compare with.")

    _nursery: Nursery | None = None  # one for all

    async def start(self) -> tuple[str, int]:
        """Set the limits, have a child, and say where it will listen."""
        self.port = self.port or random_port()
        group, home = Group(self.user.name), make_home(Path(self.homes), self.user.name)
        group.limit(self.mem_limit, self.cpu_limit, self.processes)
        wanted = {"name": self.user.name, "uid": home.stat().st_uid, "home": str(home)}
        wanted |= {"processes": self.processes, "plain": self.plain}
        wanted |= {"repository": self.repository, "language": self.language}
        self.pid = await asyncio.to_thread(self.ask_nursery, **wanted, env=self.get_env(), arguments=self.get_args())
        return "127.0.0.1", self.port

    async def poll(self) -> int | None:
        """As ever, but a server whose learner is no longer on the class list is ended."""
        status = await super().poll()
        if status is None and self.user.name not in passwords.read(Path(self.class_list)):
            await asyncio.to_thread(Group(self.user.name).end)
            return 0
        return status

    async def stop(self, now: bool = False) -> None:
        """Stop the server, then whatever it or the learner left running."""
        await super().stop(now)
        await asyncio.to_thread(Group(self.user.name).end)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        home = str(Path(self.homes) / self.user.name)
        return env | {"USER": self.user.name, "LOGNAME": self.user.name, "HOME": home, "SHELL": "/bin/bash"}

    def ask_nursery(self, **wanted: object) -> int:
        """Have a child, of a new nursery if the last one has ended."""
        kind = LearnerSpawner
        try:
            kind._nursery = kind._nursery or open_nursery(self.nursery_env, Path(self.log_file))
            return kind._nursery.ask(**wanted)
        except OSError:
            kind._nursery = None  # the next attempt opens another
            raise


def open_nursery(env: dict[str, str], log_file: Path) -> Nursery:
    """Start the process that imports what all will share. It ends with this one, and its first child takes a while.

    It has no terminal, and so no learner's process has: one that had could type into the terminal of the hub's owner.
    """
    near, far = socket.socketpair()
    command = [sys.executable, "-m", "classroom.learner", str(far.fileno())]
    apart = {"cwd": ROOT, "env": env, "pass_fds": [far.fileno()], "umask": 0o022, "start_new_session": True}
    with log_file.open("a") as log:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **apart)
    far.close()
    return Nursery(near)


def make_home(homes: Path, name: str) -> Path:
    """A learner's home, which only the learner can enter. Its owner is the learner's user id, from then on."""
    home = homes / name
    if not home.exists():
        uid = max([FIRST_USER, *(each.stat().st_uid for each in homes.iterdir())]) + 1
        home.mkdir(mode=0o700)
        os.chown(home, uid, uid)
    return home
