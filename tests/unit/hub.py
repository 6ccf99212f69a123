"""A small ModelScope, Hugging Face and plain web server on the loopback interface, for tests of `assets`.

It serves just the requests that the two clients make in order to list and to download a model's files.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A running server; use it in a ``with`` statement.

    Attributes:
        modelscope: the files of each model on ModelScope: ``{"owner/name": {"config.json": b"{}"}}``.
        huggingface: likewise on Hugging Face.
        plain: files by their path on the server: ``{"/set.npz": b"..."}``.
        log: every GET request as (path, value of Range).
        drop_after: break off the next download after so many bytes of its body, once.
        pause: seconds to wait before the body of each download.
        ranges: whether Range is honoured.
    """

    def __init__(self) -> None:
        self.modelscope: dict[str, dict[str, bytes]] = {}
        self.huggingface: dict[str, dict[str, bytes]] = {}
        self.plain: dict[str, bytes] = {}
        self.log: list[tuple[str, str | None]] = []
        self.drop_after: int | None = None
        self.pause = 0.0
        self.ranges = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def downloads(self, path: str) -> int:
        """How often a file has been asked for, in whole or in part."""
        return sum(path in logged for logged, _ in self.log)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()


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
        path = urlsplit(self.path).path
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if path == "/":
            self._send_json({})
        elif path in self.hub.plain:
            self._send_file(self.hub.plain[path])
        elif match := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo(/files)?", path):
            self._modelscope(self.hub.modelscope.get(match[1]), match[2] is not None, query)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/tree/.*|/revision/.*)?", path):
            self._huggingface(self.hub.huggingface.get(match[1]), match[1], (match[2] or "").startswith("/tree"))
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._send_file(self.hub.huggingface.get(match[1], {}).get(match[2]))
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

    def _huggingface(self, files: dict[str, bytes] | None, model: str, tree: bool) -> None:
        if files is None:
            self._send_json({"error": "Repository not found"}, 404)
        elif tree:
            entries = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in files.items()
            ]
            self._send_json(entries)
        else:
            self._send_json({"id": model, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})

    def _send_json(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self._send_body(body)

    def _send_file(self, body: bytes | None) -> None:
        if body is None:
            return self._send_json({"error": "Entry not found"}, 404)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "") if self.hub.ranges else None
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, len(body)) if asked and asked[2] else len(body)
        if asked and start >= len(body):
            self.send_response(416)
            return self._send_body(b"")
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if self.command == "GET":
            time.sleep(self.hub.pause)
        self._send_body(body[start:end], self.hub.drop_after)

    def _send_body(self, body: bytes, limit: int | None = None) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:limit])
        if limit is not None and limit < len(body):
            self.hub.drop_after = None
            self.close_connection = True
