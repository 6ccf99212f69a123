"""A small ModelScope, Hugging Face and plain web server on the loopback interface, for tests of `assets`.

It serves just the requests that the two clients make in order to list and to download a model's files, and it can be
told what should go wrong (`Fault`).
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIECE = 2**14  # bytes sent at a time
LARGE = 2**10  # from so many bytes on Hugging Face keeps a file in LFS and sends the client to a host of its own for it


@dataclass
class Fault:
    """What goes wrong with the next `times` answers to requests whose address contains `path`.

    Attributes:
        status: answer with this status and no file.
        silent: accept the request and never answer.
        drop_after: break off after so many bytes of the body.
        reset: break off as a router does that has lost the connection, and not by an orderly end.
        stall_after: send nothing more after so many bytes of the body.
        wrong_byte: flip the bits of the byte at this place in the file.
    """

    path: str = ""
    times: float = 1
    status: int | None = None
    silent: bool = False
    drop_after: int | None = None
    reset: bool = False
    stall_after: int | None = None
    wrong_byte: int | None = None

    @property
    def needs_body(self) -> bool:
        return self.status is None and not self.silent


class Hub:
    """A running server; use it in a ``with`` statement.

    Attributes:
        modelscope: the files of each model on ModelScope: ``{"owner/name": {"config.json": b"{}"}}``.
        huggingface: likewise on Hugging Face.
        plain: files by their path on the server: ``{"/set.npz": b"..."}``.
        log: every GET request as (path, value of Range).
        sent: how many bytes of files have been sent, without headers and listings.
        faults: what goes wrong; the first that fits an answer is used.
        pause: seconds to wait before the body of each download.
        rate: bytes per second of each download; None is as fast as possible.
        ranges: whether Range is honoured.
        refused: tokens with which nothing is to be had, and why, as Hugging Face says it.
    """

    def __init__(self) -> None:
        self.modelscope: dict[str, dict[str, bytes]] = {}
        self.huggingface: dict[str, dict[str, bytes]] = {}
        self.plain: dict[str, bytes] = {}
        self.log: list[tuple[str, str | None]] = []
        self.sent = 0
        self.faults: list[Fault] = []
        self.pause = 0.0
        self.rate: float | None = None
        self.ranges = True
        self.refused: dict[str, str] = {}
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        # What waits in a socket counts as sent: a small buffer keeps that near to what the client has had.
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def storage_url(self) -> str:
        """The same server under another name, which the clients take for another host."""
        return f"http://localhost:{self._server.server_port}"

    def downloads(self, path: str) -> int:
        """How often a file has been asked for, in whole or in part."""
        return sum(path in unquote(logged) for logged, _ in self.log)

    def next_fault(self, address: str, has_body: bool) -> Fault:
        """The fault of an answer, which is used up by it; one in which nothing goes wrong if there is none."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.path in address and fault.needs_body == has_body:
                    fault.times -= 1
                    return fault
        return Fault()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a folder as `Hub` serves them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def closed_port() -> str:
    """An address where connections are refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.hub.log.append((self.path, self.headers.get("Range")))
        self._answer()

    def _answer(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        fault = self.hub.next_fault(unquote(self.path), has_body=False)
        if fault.silent:
            self.hub.closing.wait()
            self.close_connection = True
        elif reason := self.hub.refused.get(self.headers.get("Authorization", "").removeprefix("Bearer ")):
            self._send_json({"error": reason}, 401, {"X-Error-Message": reason})
        elif fault.status:
            self._send_json({"error": "not now", "Code": fault.status, "Message": "not now"}, fault.status)
        elif path == "/":
            self._send_json({})
        elif path in self.hub.plain:
            self._send_file(self.hub.plain[path])
        elif match := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo(/files)?", path):
            self._modelscope(self.hub.modelscope.get(match[1]), match[2] is not None, query)
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._huggingface(self.hub.huggingface.get(match[1], {}).get(match[2]))
        elif match := re.fullmatch(r"/storage/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._send_file(self.hub.huggingface[match[1]][match[2]])
        else:
            self._send_json({"Code": 404, "Message": "not found"}, 404)

    def _modelscope(self, files: dict[str, bytes] | None, listing: bool, query: dict[str, str]) -> None:
        if files is None:
            self._send_json({"Code": 404, "Message": "no such model", "Success": False}, 404)
        elif listing:
            entries = [
                {"Path": name, "Type": "blob", "Size": len(body), "Sha256": hashlib.sha256(body).hexdigest()}
                for name, body in files.items()
            ]
            self._send_json({"Code": 200, "Success": True, "Data": {"Files": entries}})
        else:
            self._send_file(files.get(query["FilePath"]))

    def _huggingface(self, body: bytes | None) -> None:
        if body is None:
            self._send_json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        elif len(body) < LARGE:
            self._send_file(body, {"ETag": f'"{git_hash(body)}"', "X-Repo-Commit": COMMIT})
        else:
            headers = {
                "Location": f"{self.hub.storage_url}/storage{self.path}",
                "X-Linked-ETag": f'"{hashlib.sha256(body).hexdigest()}"',
                "X-Linked-Size": str(len(body)),
                "X-Repo-Commit": COMMIT,
            }
            self._send_json({}, 302, headers)

    def _send_json(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self._send_head(
            status, {"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})
        )
        if self.command == "GET":
            self.wfile.write(body)

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_file(self, body: bytes | None, headers: dict[str, str] | None = None) -> None:
        if body is None:
            return self._send_json({"error": "Entry not found"}, 404)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "") if self.hub.ranges else None
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, len(body)) if asked and asked[2] else len(body)
        if asked and start >= len(body):
            return self._send_head(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
        headers = {"Content-Length": str(end - start)} | (headers or {})
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        if self.command == "GET":
            time.sleep(self.hub.pause)
        self._send_head(206 if asked else 200, headers)
        if self.command == "GET":
            self._send_body(body, start, end, self.hub.next_fault(unquote(self.path), has_body=True))

    def _send_body(self, body: bytes, start: int, end: int, fault: Fault) -> None:
        """Send ``body[start:end]`` as far as the fault lets it come."""
        if fault.wrong_byte is not None:
            body = body[: fault.wrong_byte] + bytes([body[fault.wrong_byte] ^ 255]) + body[fault.wrong_byte + 1 :]
        limit = next((limit for limit in (fault.drop_after, fault.stall_after) if limit is not None), None)
        stop = end if limit is None else min(end, start + limit)
        try:
            for place in range(start, stop, PIECE):
                piece = body[place : min(place + PIECE, stop)]
                with self.hub.lock:  # before the client has it, and a test can ask
                    self.hub.sent += len(piece)
                self.wfile.write(piece)
                if self.hub.rate:
                    time.sleep(len(piece) / self.hub.rate)
        except ConnectionError:  # the client has gone
            stop = start
        if stop < end:
            self._break_off(fault)

    def _break_off(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.stall_after is not None:
            self.hub.closing.wait()
        if fault.reset:
            time.sleep(0.5)  # a reset also discards what the client has not read yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def git_hash(body: bytes) -> str:
    """What git, and so Hugging Face, calls a file that is not in LFS."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
