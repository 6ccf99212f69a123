"""Who may sign in: the names on the class list, each with a password of its own.

The list is a file that only root can read, with a name and a password on each line. A teacher hands the passwords out,
and may change or delete lines: a new password holds from the next time somebody signs in, and a name that is gone ends
that learner's session and server within half a minute.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from jupyterhub.user import User
from traitlets import Unicode

from tutorial_utils import files

TEACHER = "teacher"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")  # it becomes the name of a folder and of a control group
ALLOWED = "use a to z, then also digits, - and _, 31 at most"
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds over a wrong password, twice as many each time
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none is taken for another


def read(path: Path) -> dict[str, str]:
    """The class list: passwords by name. It is empty if there is none yet; lines that are none cost no other."""
    return _read(path)[0]


def slips(path: Path) -> list[str]:
    """A sentence for each line of the class list that lets nobody in, and is no heading."""
    return _read(path)[1]


def enrol(path: Path, names: list[str]) -> dict[str, str]:
    """Put names on the class list, and the teacher, and return the passwords of those that are new.

    Raises:
        ValueError: a name cannot be used.
    """
    if unfit := [name for name in names if not NAME.fullmatch(name)]:
        raise ValueError(f"{unfit[0]!r} cannot be a learner's name: {ALLOWED}.")
    known = read(path)
    new = {name: new_password() for name in [*names, TEACHER] if name not in known}
    if path.exists():
        path.chmod(0o600)  # an editor may have opened it
    lines = [line for line in _lines(path) if line] + [f"{name} {password}" for name, password in new.items()]
    with files.draft(path) as partial:
        partial.touch(mode=0o600)
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return new


def _read(path: Path) -> tuple[dict[str, str], list[str]]:
    """Passwords by name, and what is wrong with which lines. A name's first line counts.

    Headings are lines that begin with #, and "name password".
    """
    known, wrong = {}, []
    for number, line in enumerate(_lines(path), 1):
        name, *rest = line.split(maxsplit=1) or [""]
        name, password = name.lower(), "".join(rest).strip()
        if not name or name.startswith("#") or (name, password.lower()) == ("name", "password"):
            continue
        if not NAME.fullmatch(name):
            wrong.append(f"{path}, line {number}: {name!r} cannot be a learner's name: {ALLOWED}.")
        elif not password:
            wrong.append(f"{path}, line {number}: {name} has no password: write one behind the name.")
        elif name in known:
            wrong.append(f"{path}, line {number}: {name} stands there twice: delete one of the lines.")
        else:
            known[name] = password
    return known, wrong


def _lines(path: Path) -> list[str]:
    """What stands in the class list. A byte that is no text spoils its own line only."""
    if not path.exists():
        return []
    try:
        return files.edited_text(path).split("\n")
    except ValueError:
        return path.read_bytes().decode("utf-8", errors="replace").splitlines()


def new_password() -> str:
    """Twelve letters and digits in groups of four, out of more than 10**17."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))


@dataclass
class Queue:
    """Those who try one name from one place, one after the other."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    pause: float = FIRST_PAUSE


class ClassList(Authenticator):
    """Compares with the class list, and takes longer over each further wrong password for a name from a place.

    Whoever sits at another machine is not kept waiting by that.
    """

    path = Unicode(config=True, help="The file with the class list.")

    def __init__(self, **traits: object):
        super().__init__(**traits)
        self._queues: dict[tuple[str, str], Queue] = {}

    async def authenticate(self, handler: BaseHandler, data: dict[str, str]) -> dict[str, object] | None:
        name = self.normalize_username(data["username"])
        password = read(Path(self.path)).get(name)
        place = name if password else "", handler.request.remote_ip  # all unknown names wait together
        queue = self._queues.setdefault(place, Queue())
        async with queue.turn:
            if password and secrets.compare_digest(data["password"].encode(), password.encode()):
                self._queues.pop(place, None)
                return {"name": name, "admin": name == TEACHER}
            await asyncio.sleep(queue.pause)
            queue.pause = min(2 * queue.pause, LONGEST_PAUSE)
        return None

    async def refresh_user(self, user: User, handler: BaseHandler | None = None, **others: object) -> bool:
        """Whether a name is still on the class list: who is not on it any more is signed out."""
        return user.name in read(Path(self.path))
