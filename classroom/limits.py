"""What one learner may use of the machine, held by the kernel's control groups: memory, processor time, processes.

Linux has two versions of them. The second, one folder for everything, is what current systems mount; the first has a
folder for each resource.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds over which processor time is counted
RESOURCES = ("memory", "cpu", "pids")
HUB = "hub"  # the group of what serves learners and is none


class LimitsError(RuntimeError):
    """This machine cannot hold learners to limits; the message says why."""


class Group:
    """The processes of one learner, and their limits."""

    def __init__(self, name: str, mounted: Path = MOUNTED):
        self.modern = (mounted / "cgroup.controllers").exists()
        self.folders = {resource: _parent(mounted, resource, self.modern) / name for resource in RESOURCES}

    def limit(self, memory: int, cpus: float, processes: int) -> None:
        """Create the group if need be, and set its limits.

        Args:
            memory: bytes. Where there is no more to be had, the kernel ends the group's largest process, and nobody
                else's.
            cpus: processor cores' worth of time, such as 0.5 for half of one.
            processes: how many there may be at a time, with their threads.

        Raises:
            LimitsError: the kernel does not offer them here, or not to this user.
        """
        try:
            for folder in self.folders.values():
                folder.mkdir(parents=True, exist_ok=True)
                if self.modern:
                    _hand_down(folder)
            for resource, file, value in _settings(self.modern, memory, round(cpus * PERIOD), processes):
                path = self.folders[resource] / file
                if path.exists() or "sw" not in file:  # not every kernel accounts for swap
                    path.write_text(value)
        except OSError as error:
            raise LimitsError(f"Limits on memory, processor time and processes could not be set: {error}.") from error

    def join(self) -> None:
        """Put this process into the group; the children that it has from now on will be in it as well."""
        for folder in self.folders.values():
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def end(self, patience: float = 5.0) -> None:
        """End every process of the group, and remove it."""
        deadline = time.monotonic() + patience
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for folder in self.folders.values():
            with contextlib.suppress(OSError):  # it was never made, or a process will not end
                folder.rmdir()

    def processes(self) -> list[int]:
        """The ids of the group's processes."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in (self.folders["memory"] / "cgroup.procs").read_text().split()]
        return []


def _settings(modern: bool, memory: int, quota: int, processes: int) -> Iterator[tuple[str, str, str]]:
    """Resource, file and value, in the order in which the kernel takes them."""
    yield "pids", "pids.max", str(processes)
    if modern:
        yield "memory", "memory.max", str(memory)
        yield "memory", "memory.swap.max", "0"
        yield "cpu", "cpu.max", f"{quota} {PERIOD}"
    else:
        yield "memory", "memory.memsw.limit_in_bytes", "-1"  # with swap it may never be less than without
        yield "memory", "memory.limit_in_bytes", str(memory)
        yield "memory", "memory.memsw.limit_in_bytes", str(memory)
        yield "cpu", "cpu.cfs_period_us", str(PERIOD)
        yield "cpu", "cpu.cfs_quota_us", str(quota)


def make_room(mounted: Path = MOUNTED) -> None:
    """Let this process's group have groups of its own: in version 2 it may then hold no processes, but for the root.

    So this process, which becomes the hub, goes one group down. Under systemd its group must be one that was delegated.
    """
    own = _own_group("") if (mounted / "cgroup.controllers").exists() else ""
    if own and Path(own).name != HUB:
        leaf = mounted / own / HUB
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))


def _parent(mounted: Path, resource: str, modern: bool) -> Path:
    """Where learners' groups go: below the group in which the classroom was started."""
    if not modern:
        return mounted / resource / _own_group(resource) / "classroom"
    own = mounted / _own_group("")
    return (own.parent if own.name == HUB else own) / "classroom"


def _own_group(resource: str) -> str:
    """This process's place in the hierarchy of a resource, in version 1; of all, named "", in version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, resources, place = line.split(":", 2)
        if resource in resources.split(","):
            return place.strip("/")
    raise LimitsError(f"This kernel has no control groups for {resource}, which the limits need.")


def _hand_down(folder: Path) -> None:
    """Let a group of version 2 have limits: every folder above it must say that it hands them down."""
    for above in (folder.parent.parent, folder.parent):
        (above / "cgroup.subtree_control").write_text(" ".join(f"+{resource}" for resource in RESOURCES))
