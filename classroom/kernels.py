"""Kernels that are forked from what a learner's server shares with the class, rather than started anew."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import sys
from typing import Any, ClassVar

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from classroom import nursery

NAME = "forked"
"""What jupyter_client knows `ForkedProvisioner` by: its entry point in pyproject.toml."""

KERNEL = ["-m", "ipykernel_launcher"]
SPARE = 100  # processes and threads that a kernel leaves to its server, which can then still end it


class ForkedProvisioner(LocalProvisioner):
    """Where a server gets its kernels, once `fork_kernels` was called; a learner's own kind of kernel is started."""

    nursery: ClassVar[nursery.Nursery]

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        if cmd[1:3] != KERNEL:
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.nursery.ask(arguments=cmd[2:], env=kwargs["env"], cwd=kwargs["cwd"])
        self.process = ForkedKernel(self.pid)
        return self.connection_info


class ForkedKernel:
    """A kernel for jupyter_client, which knows it as the Popen that it would have been."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int):
        self.pid = pid
        self._ended = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None while it runs, then 0: how it ended is not known to anyone but its parent."""
        return 0 if select.select([self._ended], [], [], 0)[0] else None

    def wait(self, timeout: float | None = None) -> int:
        select.select([self._ended], [], [], timeout)
        return 0

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended, and its server wants to be sure of that
            signal.pidfd_send_signal(self._ended, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __del__(self) -> None:
        os.close(self._ended)


def fork_kernels() -> list[str]:
    """Have a nursery for kernels beside this process, a learner's server to be, and return the arguments to use it."""
    near, far = socket.socketpair()
    if not os.fork():
        near.close()
        nursery.live(lambda: nursery.serve(far, become_kernel))
    far.close()
    ForkedProvisioner.nursery = nursery.Nursery(near)
    return [f"--KernelProvisionerFactory.default_provisioner_name={NAME}"]


def become_kernel(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    """Be a kernel, as ``python -m ipykernel_launcher`` would; one that leaves its server a few processes."""
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NPROC, (max(1, most - SPARE), most))
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env, JPY_PARENT_PID=str(os.getppid()))
    sys.argv = arguments
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
