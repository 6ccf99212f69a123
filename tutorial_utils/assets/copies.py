"""Copies of assets on this machine: are they sound, and where did they come from?

A stamp, with every file's size and SHA-256, says that a folder was verified: from then on only sizes are compared,
until more is asked for. A folder without one, copied by hand, is verified as far as the manifest allows.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tutorial_utils import failures, files
from tutorial_utils.assets.manifest import Asset, AssetFile, Edition

STAMP = ".complete.json"
BY_HAND = "a folder copied by hand"
"""The source of a copy that nobody has stamped."""


class AssetError(RuntimeError):
    """A checkpoint or data set could not be had; the message says why, and what to do."""


@dataclass(frozen=True)
class Copy:
    """An asset and the folder that holds it, is to hold it, or holds it in part.

    What is wrong with a copy is a dictionary: a sentence for each file, by its path; empty if the copy is sound.
    """

    asset: Asset
    folder: Path

    @classmethod
    def at(cls, asset: Asset, root: Path) -> Copy:
        """The copy of an asset in a cache."""
        return cls(asset, root / asset.folder_name)

    @property
    def draft(self) -> Copy:
        """The copy in the folder where it is made before it gets its name."""
        return Copy(self.asset, self.folder.with_name(f"{self.folder.name}.partial"))

    @property
    def paths(self) -> list[Path]:
        """Where each of the asset's files belongs."""
        return [self.folder / file.path for file in self.asset.files]

    @property
    def stamp(self) -> dict | None:
        """What `write_stamp` has left in the folder; None if there is nothing."""
        stamp = _read_json(self.folder / STAMP)
        return stamp if isinstance(stamp, dict) and isinstance(stamp.get("files"), dict) else None

    @property
    def missing_bytes(self) -> int:
        """What has yet to come, as far as the manifest knows the sizes."""
        if not self.asset.is_published or not self.problems():
            return 0
        return max(0, self.asset.size_bytes - files.size_of(self.folder) - files.size_of(self.draft.folder))

    @property
    def is_there(self) -> bool:
        """Whether there is a folder, be it one that may not be read."""
        try:
            return self.folder.is_dir()
        except OSError:
            return True

    def problems(self) -> dict[Path, str]:
        """What is wrong; quick if there is a stamp, for then only sizes are compared."""
        if not self.is_there:
            return {self.folder: f"{self.folder} does not exist."}
        return self._found(rehash=False)

    def damage(self) -> dict[Path, str]:
        """What is wrong, found by hashing every file again and comparing it with the stamp and the manifest."""
        return self._found(rehash=True)

    def _found(self, rehash: bool) -> dict[Path, str]:
        try:
            stamp = self.stamp
            stamped = self._stamp_problems(stamp, rehash) if stamp else {}
            return stamped | (self.manifest_problems() if rehash or not stamp else {})
        except OSError as error:  # somebody else's, or a disk that fails
            path = Path(error.filename or self.folder)
            return {path: f"{path} cannot be read: {failures.reason(error)}."}

    def manifest_problems(self) -> dict[Path, str]:
        """What the manifest, and the files' own formats, can say against the files."""
        found = {path: self._file_problem(file, path) for file, path in zip(self.asset.files, self.paths, strict=True)}
        return {path: problem for path, problem in found.items() if problem}

    def edition(self, path: Path) -> Edition | None:
        """Which of the asset's known editions a file is, by its MD5; None if it is none of them."""
        found = files.digest(path, "md5")
        return next((known for known in self.asset.editions if known.md5 == found), None)

    def write_stamp(self, source: str) -> dict:
        """Record that the folder has just been verified, where it came from, and every file's size and SHA-256."""
        stamp = {"asset": self.asset.name, "scale": self.asset.scale, "source": source, "files": {}}
        for file, path in zip(self.asset.files, self.paths, strict=True):
            stamp["files"][file.path] = {"bytes": path.stat().st_size, "sha256": files.digest(path)}
            if self.asset.editions:
                stamp["edition"] = self.edition(path).name
        with files.draft(self.folder / STAMP) as partial:
            partial.write_text(json.dumps(stamp, indent=2), encoding="utf-8")
        return stamp

    def adopt(self) -> None:
        """Stamp a sound folder that has no stamp, where it can be written to."""
        if self.stamp is None and files.writable(self.folder):
            self.write_stamp(BY_HAND)

    @property
    def remedy(self) -> str:
        """How to have damaged files again, in a line."""
        if self.asset.kind == "bundled":
            place = f"data/{self.asset.folder}"
            root = self.folder.parents[len(Path(self.asset.folder).parts)]
            if (root / ".git").exists() and shutil.which("git"):
                return f"Restore what the repository holds: git checkout -- {place}"
            return f"Unpack the course's archive once more, and put its folder {place} in the place of {self.folder}."
        command = f"python -m tutorial_utils assets verify {self.asset.name} --scale {self.asset.scale} --repair"
        return f"Download again just what is damaged: {command}"

    def _file_problem(self, file: AssetFile, path: Path) -> str | None:
        if not path.is_file():
            return f"{path} is missing" + (f" (expected SHA-256 {file.sha256}, found no file)." if file.sha256 else ".")
        if file.sha256 and (found := files.digest(path)) != file.sha256:
            return f"{path} is damaged: expected SHA-256 {file.sha256}, found {found}."
        if file.bytes is not None and path.stat().st_size != file.bytes:
            return f"{path} has {path.stat().st_size:,} bytes instead of {file.bytes:,}."
        if self.asset.editions and not self.edition(path):
            known = ", ".join(f"{edition.md5} ({edition.name})" for edition in self.asset.editions)
            return f"{path} is no known edition: it has the MD5 {files.digest(path, 'md5')}, known are {known}."
        return None if _ends_where_it_says(path) else f"{path} is empty, cut short, or not what its name says."

    def _stamp_problems(self, stamp: dict, rehash: bool) -> dict[Path, str]:
        problems = {}
        for file, path in zip(self.asset.files, self.paths, strict=True):
            recorded = stamp["files"].get(file.path)
            if recorded is None or not path.is_file():
                problems[path] = f"{path} is missing{'' if recorded else ' from the stamp'}."
            elif (size := path.stat().st_size) != recorded["bytes"]:
                problems[path] = f"{path} has {size:,} bytes; it had {recorded['bytes']:,} when verified."
            elif rehash and (found := files.digest(path)) != recorded["sha256"]:
                problems[path] = f"{path} has changed: expected SHA-256 {recorded['sha256']}, found {found}."
        return problems


# --- Is this file sound? ------------------------------------------------------------------------------------------


def _ends_where_it_says(path: Path) -> bool:
    """Whether a file is whole, by its own format: all that can be checked where no checksum is published."""
    if path.suffix == ".safetensors":
        return _is_safetensors(path)
    if path.suffix == ".json":  # a hub's page, saved under the file's name, is a common slip
        return _read_json(path) is not None
    with path.open("rb") as handle:
        start = handle.read(2)
    if start == b"PK":  # .npz and .pth are zip archives, whose directory stands at the end
        return zipfile.is_zipfile(path)
    return start != b""


def _is_safetensors(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):  # compares the file's size with the one that its header announces
            return True
    except SafetensorError:
        return False


def _read_json(path: Path) -> object | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
