"""A small course with files that are sound by their format, and processes that fetch, for the tests of the store."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

from tutorial_utils.assets import store
from tutorial_utils.assets.manifest import read

ROOT = Path(__file__).parents[2]


def change_course(**parts: object) -> None:
    """Put other parts into the course's store, until the end of the test."""
    store.COURSE = replace(store.COURSE, **parts)


def npz(content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("x.npy", content)
    return archive.getvalue()


def safetensors(content: bytes) -> bytes:
    header = {"w": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}
    start = json.dumps(header).encode()
    return len(start).to_bytes(8, "little") + start + content


def write_note(folder: Path) -> None:
    """The repository of the course that `write_manifest` describes."""
    (folder / ".git").mkdir(exist_ok=True)
    (folder / "data" / "note").mkdir(parents=True)
    (folder / "data" / "note" / "note.txt").write_bytes(b"hello")


def write_manifest(folder: Path, net: str, urls: list[str], volumes: bytes) -> None:
    """Make it a course that has a note in its repository and, at full, needs a checkpoint and a data set.

    Args:
        net: where the checkpoint is and which files it has, as the manifest says it.
        urls, volumes: the addresses and the content of the data set's one file.
    """
    about = 'title = "A test"\nlicence = "MIT"\nsource = "here"\n'
    (folder / "assets.toml").write_text(
        f"""
        [note]
        {about}
        [note.any]
        kind = "bundled"
        folder = "note"
        files = [{{ path = "note.txt", bytes = 5, sha256 = "{hashlib.sha256(b"hello").hexdigest()}" }}]

        [net.mini]
        {about}
        kind = "generated"

        [net.full]
        {about}
        kind = "hub"
        {net}

        [set.mini]
        {about}
        kind = "generated"

        [set.full]
        {about}
        kind = "url"
        urls = {json.dumps(urls)}
        files = [{{ path = "set.npz", mb = {len(volumes) / 1e6} }}]
        editions = [{{ name = "first", md5 = "{hashlib.md5(volumes).hexdigest()}" }}]
        """
    )
    change_course(assets=read(folder / "assets.toml"))


def start_fetch(tmp_path: Path, *names: str, **environment: str) -> subprocess.Popen:
    """Fetch at full scale in a process of its own, for the clients read their endpoints when they are imported.

    It prints the folders, or the error, and then which clients it has imported. It refuses to leave this machine.
    """
    script = (
        "import sys; from pathlib import Path; from tutorial_utils.assets import manifest, store\n"
        "def guard(event, details):\n"
        "    place = details[1] if event == 'socket.connect' else details if event == 'socket.getaddrinfo' else None\n"
        "    if isinstance(place, tuple) and place[0] not in ('127.0.0.1', 'localhost', '::1'): sys.exit(str(place))\n"
        "sys.addaudithook(guard)\n"
        "store.COURSE = store.Store(manifest.read(Path(sys.argv[1])), Path('data'))\n"
        "try: print(*(store.fetch(name, 'full') for name in sys.argv[2:]), sep='\\n')\n"
        "except store.AssetError as error: print(error)\n"
        "print('imported', *sorted({'modelscope', 'huggingface_hub', 'torch'} & set(sys.modules)))"
    )
    environment = os.environ | {"TUTORIAL_DATA": str(tmp_path / "class"), "HOME": str(tmp_path)} | environment
    (tmp_path / "class").mkdir(exist_ok=True)
    command = [sys.executable, "-c", script, str(tmp_path / "assets.toml"), *names]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def output(process: subprocess.Popen) -> str:
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return stdout
