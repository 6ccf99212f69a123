"""The class's server as a test meets it, and a learner who signs in to it and runs cells, as a browser would."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import socket
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import requests
from nbformat import NotebookNode, from_dict
from websocket import WebSocket, create_connection

ROOT = Path(__file__).parents[2]
LESSON_1 = ROOT / "notebooks" / "01_vit_inference.ipynb"
PATIENCE = float(os.environ.get("CLASSROOM_PATIENCE", "300"))  # seconds for any one thing, on a busy machine


@contextlib.contextmanager
def classroom(state: Path, learners: list[str], **variables: str) -> Iterator[str]:
    """Start the server with one command, in a terminal, and give its address; end all that it started afterwards."""
    host = f"127.0.0.1:{free_port()}"
    address = f"http://{host}"
    variables |= {"CLASSROOM_STATE": str(state), "CLASSROOM_ADDRESS": host}
    command = [sys.executable, "-m", "classroom", "start", *learners]
    terminal, line = pty.openpty()
    in_terminal = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(line, termios.TIOCSCTTY, 0)}
    with (state.parent / "hub.log").open("w") as log:
        streams = {"stdin": line, "stdout": log, "stderr": subprocess.STDOUT}
        hub = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, **streams, **in_terminal)
    os.close(line)
    try:
        wait_for(lambda: hub.poll() is not None or responds(address), "the hub to answer")
        if hub.poll() is not None:
            raise RuntimeError((state.parent / "hub.log").read_text())
        yield address
    finally:
        hub.terminate()
        hub.wait(120)
        os.close(terminal)


def code_cells(notebook: NotebookNode) -> list[str]:
    """What a learner runs, cell by cell."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def responds(address: str) -> bool:
    """Whether the hub answers there."""
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"{address}/hub/api/").ok
    return False


def wait_for(done: Callable[[], bool], what: str) -> None:
    """Ask again and again.

    Raises:
        TimeoutError: the answer stayed no.
    """
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.3)


def new_session(**headers: str) -> requests.Session:
    """A session that connects anew each time: on a busy machine the proxy gives an idle connection up before us."""
    session = requests.Session()
    session.headers.update(headers, Connection="close")
    return session


@dataclass
class Reply:
    """What a cell came to."""

    status: str
    text: str = ""
    error: str = ""


@dataclass
class Learner:
    """Someone who has signed in."""

    address: str
    name: str
    session: requests.Session = field(default_factory=new_session)

    def sign_in(self, password: str) -> bool:
        """Fill in the form; if it lets us in, get a token for the hub's API and one's own server's."""
        self.session.get(f"{self.address}/hub/login")
        form = {"username": self.name, "password": password, "_xsrf": self.session.cookies["_xsrf"]}
        answer = self.session.post(f"{self.address}/hub/login", data=form, allow_redirects=False)
        if answer.status_code != 302:
            return False
        xsrf = {"X-XSRFToken": self.session.cookies.get("_xsrf", path="/hub/")}
        token = self.session.post(f"{self.address}/hub/api/users/{self.name}/tokens", headers=xsrf, json={})
        token.raise_for_status()
        self.session = new_session(Authorization=f"token {token.json()['token']}")
        return True

    def visit(self, link: str, password: str) -> list[dict]:
        """Follow a link of nbgitpuller's with a browser of one's own, and return what it says until it has finished.

        Raises:
            RuntimeError: it leads elsewhere, or stopped with an error.
        """
        browser = new_session()
        browser.get(f"{self.address}/hub/login")
        form = {"username": self.name, "password": password, "_xsrf": browser.cookies["_xsrf"]}
        browser.post(f"{self.address}/hub/login", data=form, allow_redirects=False)
        page = browser.get(self.address + link)
        place = f"{self.address}/user/{self.name}/git-pull"
        if not page.ok or not page.url.startswith(f"{place}?") or "urlpath=" not in page.url:
            raise RuntimeError(f"{link} leads to {page.url} ({page.status_code})")
        with browser.get(page.url.replace(f"{place}?", f"{place}/api?"), stream=True) as stream:
            lines = [line.removeprefix("data: ") for line in stream.iter_lines(decode_unicode=True) if line]
        said = [json.loads(line) for line in lines]
        if said[-1]["phase"] != "finished":
            raise RuntimeError(f"{link} stopped: {said[-1]}")
        return said

    def lesson(self, name: str) -> NotebookNode:
        """One's copy of a lesson, as JupyterLab opens it."""
        return from_dict(self.api(f"contents/notebooks/{name}").json()["content"])

    def save(self, name: str, notebook: NotebookNode) -> None:
        """Save it, as JupyterLab does."""
        body = {"type": "notebook", "format": "json", "content": notebook}
        self.api(f"contents/notebooks/{name}", "PUT", **body).raise_for_status()

    def start_server(self) -> None:
        """Ask the hub for one's server, and wait until it is there."""
        self.session.post(f"{self.address}/hub/api/users/{self.name}/server").raise_for_status()
        wait_for(self._is_ready, f"{self.name}'s server")

    def stop_server(self) -> None:
        self.session.delete(f"{self.address}/hub/api/users/{self.name}/server").raise_for_status()
        wait_for(lambda: "servers" in self._model() and not self._model()["servers"], f"{self.name}'s server to end")

    def _model(self) -> dict:
        return self.session.get(f"{self.address}/hub/api/users/{self.name}").json()

    def _is_ready(self) -> bool:
        return self._model().get("servers", {}).get("", {}).get("ready", False)

    def api(self, place: str, method: str = "GET", of: str | None = None, **body: object) -> requests.Response:
        """Call one's own server's API, or try somebody else's."""
        url = f"{self.address}/user/{of or self.name}/api/{place}"
        return self.session.request(method, url, json=body or None, allow_redirects=False)

    def start_kernel(self) -> Kernel:
        """Have a kernel, and open the line to it."""
        answer = self.api("kernels", "POST", name="python3", path="notebooks")
        answer.raise_for_status()
        return self.connect(answer.json()["id"])

    def connect(self, kernel: str) -> Kernel:
        """Open a line to one's kernel of this id."""
        url = f"{self.address}/user/{self.name}/api/kernels/{kernel}/channels"
        header = [f"Authorization: {self.session.headers['Authorization']}"]
        return Kernel(kernel, create_connection(url.replace("http", "ws"), header=header, timeout=PATIENCE))


@dataclass
class Kernel:
    """The line to a learner's kernel."""

    id: str
    line: WebSocket
    session: str = field(default_factory=lambda: uuid.uuid4().hex)

    def run(self, code: str) -> Reply:
        """Execute a cell, and wait for its end."""
        asked, texts, error = uuid.uuid4().hex, [], ""
        header = {
            "msg_id": asked,
            "msg_type": "execute_request",
            "username": "",
            "session": self.session,
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self.line.send(json.dumps(request))
        while True:
            message = self.receive()
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] in ("restarting", "dead"):
                return Reply("dead")
            if message["parent_header"].get("msg_id") != asked:
                continue
            if kind == "stream":
                texts.append(content["text"])
            if kind == "error":
                error = f"{content['ename']}: {content['evalue']}"
            if kind == "status" and content["execution_state"] == "idle":
                return Reply("error" if error else "ok", "".join(texts), error)

    def receive(self) -> dict:
        """The next message that is text: pictures' buffers come in binary ones, and nothing here looks at them."""
        while True:
            message = self.line.recv()
            if isinstance(message, str):
                return json.loads(message)
