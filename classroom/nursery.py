"""A process that has imported what the lessons need, once, and has a child for each server and each kernel.

Memory that a child only reads stays one copy for the whole class, and a child is there at once. The hub holds the
other end of a socket: it sends the end of a pipe, and gets a child's process id. What the child should become comes
through that pipe, to the child alone: what its parent had read, with a learner's token in it, all later children could
find in their memory. Each learner's server has such a process of its own, for kernels: see `kernels`.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Nursery:
    """The near end of the socket: asks for children."""

    channel: socket.socket
    turn: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, **wanted: object) -> int:
        """Have a child, and return its process id.

        Raises:
            ChildProcessError: the nursery is gone.
        """
        theirs, ours = os.pipe()
        with os.fdopen(ours, "w", encoding="utf-8") as to_child:
            try:
                with self.turn:
                    socket.send_fds(self.channel, [b"."], [theirs])
                    answer = self.channel.recv(32)
            finally:
                os.close(theirs)
            if not answer:
                raise ChildProcessError("The process that starts learners' servers has ended; see its log.")
            json.dump(wanted, to_child)
        return int(answer)


def serve(channel: socket.socket, become: Callable[..., None]) -> None:
    """Have a child for each pipe that comes, to call `become` with what it reads there, until the far end is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    for deaf in (signal.SIGINT, signal.SIGTERM):  # they are meant for the hub, which then closes the socket
        signal.signal(deaf, signal.SIG_IGN)
    while pipes := socket.recv_fds(channel, 1, 1)[1]:
        begun, begins = os.pipe()
        if pid := os.fork():
            for end in (*pipes, begins):
                os.close(end)
            os.read(begun, 1)  # nothing: the child has closed its end, and is apart, or has ended
            os.close(begun)
            channel.sendall(str(pid).encode())
        else:
            os.setsid()  # an interrupt meets it and its own children alone, and it has no terminal
            os.close(begun)
            os.close(begins)
            channel.close()
            live(functools.partial(begin, pipes[0], become))


def begin(pipe: int, become: Callable[..., None]) -> None:
    """Read what to become, and become it."""
    with os.fdopen(pipe, encoding="utf-8") as told:
        wanted = json.load(told)
    become(**wanted)


def live(life: Callable[[], None]) -> None:
    """Do what a child is there for, and end it without taking the interpreter down: that would copy all it shares."""
    for heard in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(heard, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = 0
    try:
        life()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def settle() -> None:
    """Make what has been imported fit to be shared: nothing in it is garbage that a child would go and look for.

    Raises:
        RuntimeError: a library has started a thread, which children would lack and wait for.
    """
    if len([*Path("/proc/self/task").iterdir()]) > 1:
        raise RuntimeError(
            "Something that was imported has started a thread: a process with threads can have no child."
        )
    gc.collect()
    gc.freeze()
