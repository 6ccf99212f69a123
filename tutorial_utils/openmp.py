"""How torch's threads wait for each other: said before torch is imported, or not at all.

On Linux torch computes with libgomp, whose threads spin while they wait, and so keep others from the cores that they
wait for. That is well for one process that has the machine to itself; learners on one server, or a browser beside a
notebook, share theirs.
"""

from __future__ import annotations

import os
import sys
import warnings

WAITING = {"GOMP_SPINCOUNT": "1000"}
"""Turns that a thread spins before it sleeps: enough for the pauses inside a network. With half as many a process alone
took a tenth longer; with ten times as many, four at once took twice as long. `bench_shared.py` measures it.
"""

OWN_CHOICE = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def set_up() -> None:
    """Let threads that wait make room for others, unless the environment says how they are to wait.

    Warns:
        UserWarning: torch was imported before, and keeps to what it found then.
    """
    if sys.platform != "linux" or any(name in os.environ for name in OWN_CHOICE):
        return
    if "torch" in sys.modules:
        setting = " ".join(f"{name}={value}" for name, value in WAITING.items())
        warnings.warn(
            "torch was imported before tutorial_utils: where several notebooks share this machine's cores, each will "
            f"be many times slower. Import tutorial_utils first, or set {setting} before Jupyter starts.",
            stacklevel=3,
        )
        return
    os.environ.update(WAITING)
