"""What a teacher can set, as variables of the environment, with what holds otherwise."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from classroom import corrections
from tutorial_utils import translations
from tutorial_utils.assets import store

PROXY = Path(__file__).parent / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
UNITS = {"M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Settings:
    """One classroom."""

    state: Path  # the learners' homes and passwords, and the hub's memory of who is who
    cache: Path | None  # fetched checkpoints and data sets, shared and read-only
    address: str  # host and port
    memory: int  # bytes for each learner
    cpus: float  # processor cores for each learner
    processes: int  # and threads, for each learner
    idle_minutes: float  # after which a kernel is ended; a server after twice as many
    language: translations.Language  # of the lessons
    plain: bool  # share no imports and tune nothing, to compare with

    @property
    def certificate(self) -> tuple[str, str]:
        """The files of the certificate and its key, if both are there: then the address is encrypted."""
        pair = self.state / "certificate.pem", self.state / "key.pem"
        return tuple(map(str, pair)) if all(path.exists() for path in pair) else ("", "")

    @property
    def url(self) -> str:
        return f"{'https' if all(self.certificate) else 'http'}://{self.address}"


def read() -> Settings:
    """The settings.

    Raises:
        ValueError: one of them makes no sense.
    """
    code = os.environ.get("CLASSROOM_LANGUAGE")
    language = translations.find(code, "CLASSROOM_LANGUAGE") if code else translations.current()
    cache = store.COURSE.caches()[0] if os.environ.get("TUTORIAL_DATA") else None
    return Settings(
        state=Path(os.environ.get("CLASSROOM_STATE") or "/srv/classroom").absolute(),
        cache=cache.resolve() if cache else None,
        address=os.environ.get("CLASSROOM_ADDRESS") or "127.0.0.1:8000",
        memory=_memory(os.environ.get("CLASSROOM_MEMORY") or "2G"),
        cpus=_positive("CLASSROOM_CPUS", "1"),
        processes=math.ceil(_positive("CLASSROOM_PROCESSES", "500")),
        idle_minutes=_positive("CLASSROOM_IDLE_MINUTES", "30"),
        language=language if language in corrections.languages() else translations.ENGLISH,
        plain=bool(os.environ.get("CLASSROOM_PLAIN")),
    )


def _memory(text: str) -> int:
    number, unit = text[:-1], text[-1].upper()
    if unit not in UNITS or not number.isdecimal() or not int(number):
        raise ValueError(f"CLASSROOM_MEMORY={text!r} is not an amount of memory: write 2G or 1500M.")
    return int(number) * UNITS[unit]


def _positive(name: str, default: str) -> float:
    text = os.environ.get(name) or default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{name}={text!r} is not a number above zero.")
    return number
