"""From an asset's name to a verified local folder: in the repository, in a cache or, if need be, downloaded.

Names are those of `assets.toml`. A scale is ``"mini"`` or ``"full"``; TUTORIAL_SCALE decides if it is None. A name or
a scale that is unknown, and a TUTORIAL_DATA that is no folder, are a ValueError.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tutorial_utils import files, runtime, surroundings
from tutorial_utils.assets import manifest
from tutorial_utils.assets.copies import AssetError, Copy
from tutorial_utils.assets.manifest import Asset


@dataclass(frozen=True)
class Store:
    """Assets, and where copies of them lie.

    Attributes:
        assets: the manifest's.
        data: the folder of those that come with the course.
        own: the user's cache; that of the platform, for this course, if None.
    """

    assets: tuple[Asset, ...]
    data: Path
    own: Path | None = None

    def find(self, name: str, scale: str | None = None) -> Asset:
        """An asset's entry in the manifest."""
        scale = runtime.scale(scale)
        assets = {(asset.name, asset.scale): asset for asset in self.assets}
        if (name, scale) not in assets:
            names = sorted({known for known, _ in assets})
            raise ValueError(f"There is no asset {name!r}: choose one of {', '.join(names)}.")
        return assets[name, scale]

    def choose(self, names: Iterable[str], scale: str) -> list[Asset]:
        """The assets of those names, or all, at one scale, in the order of the manifest."""
        wanted = {self.find(name, scale) for name in names}
        return [asset for asset in self.assets if asset.scale == scale and (not wanted or asset in wanted)]

    def caches(self) -> list[Path]:
        """The folders that hold fetched assets, in the order of search: the class's (TUTORIAL_DATA), then the user's.

        Going on without the class's would make all learners download what the teacher has put there.
        """
        shared, own = os.environ.get("TUTORIAL_DATA"), self.own or surroundings.user_cache()
        if not shared:
            return [own]
        root = surroundings.from_where_it_was_given(shared)
        if not root.is_dir():
            raise ValueError(f"TUTORIAL_DATA={shared!r} is not a folder: create or mount it, or unset the variable.")
        return [root, own]

    def copies(self, asset: Asset) -> list[Copy]:
        """Folders that hold an asset, sound or not, or would if it were here: one for each cache."""
        if asset.kind == "generated":
            return []
        if asset.kind == "bundled":
            return [Copy(asset, self.data / asset.folder)]
        return [Copy.at(asset, root) for root in self.caches()]

    def present(self, asset: Asset) -> list[Copy]:
        """The copies on this machine, sound or not."""
        return [copy for copy in self.copies(asset) if copy.is_there or asset.kind == "bundled"]

    def sound(self, asset: Asset) -> Copy | None:
        """The first copy that is sound, if there is one."""
        return next((copy for copy in self.copies(asset) if not copy.problems()), None)

    def destination(self, asset: Asset) -> Copy:
        """Where a download goes: to the first cache that can be written to (or the user's, which then says why)."""
        places = self.copies(asset)
        return next((copy for copy in places if files.writable(copy.folder.parent)), places[-1])

    def fetch(self, name: str, scale: str | None = None) -> Path:
        """The local folder of an asset, verified, after downloading it if need be.

        Returns:
            A folder that holds all files of the asset. Bundled files have just been compared with their SHA-256.

        Raises:
            AssetError: a bundled file is missing or damaged; the asset is generated; or it is in no cache and nothing
                could be downloaded, which without a network takes under 10 seconds.
        """
        asset = self.find(name, scale)
        if asset.kind == "generated":
            raise AssetError(f"{asset} is generated on the spot by its lesson: there is nothing to fetch.")
        problems = []
        for copy in self.copies(asset):
            wrong = copy.problems()  # once: without a stamp it takes all files' hashes
            if not wrong:
                if asset.is_published:
                    copy.adopt()
                return copy.folder
            problems += wrong.values()
        if asset.kind == "bundled":
            raise AssetError("\n".join([*problems, copy.remedy]))
        return _download(self.destination(asset), tried=problems)

    def verify(self, name: str, scale: str | None = None) -> list[str]:
        """Hash every file of an asset again and compare it with the manifest and with the folder's stamp.

        Returns:
            What is wrong, one sentence for each problem; an empty list if the asset is sound. An asset that is not on
            this machine counts as one problem.
        """
        asset = self.find(name, scale)
        present = self.present(asset)
        if not present and asset.is_published:
            return [f"{asset} is not on this machine."]
        return [problem for copy in present for problem in copy.damage().values()]

    def repair(self, name: str, scale: str | None = None) -> list[str]:
        """Download again just those files of an asset that `verify` finds damaged or missing, in each of its copies.

        Returns:
            What `verify` says afterwards.

        Raises:
            AssetError: the asset is bundled, so that git has the files; a copy is in a folder that cannot be written
                to; or no source had the files.
        """
        asset = self.find(name, scale)
        for copy in self.present(asset):
            damaged = copy.damage()
            if damaged and asset.kind == "bundled":
                raise AssetError(copy.remedy)
            if damaged and not files.writable(copy.folder):
                raise AssetError(f"{copy.folder} cannot be written to: ask whoever filled it to repair it.")
            if damaged:
                _download(copy, damaged)
        return self.verify(name, scale)


def _download(copy: Copy, damaged: Iterable[Path] = (), tried: Iterable[str] = ()) -> Path:
    from tutorial_utils.assets.downloads import download  # its clients are not needed where everything is here

    return download(copy, damaged, tried)


COURSE = Store(manifest.read(), Path(__file__).parents[2] / "data")
"""What the lessons need, and where it is."""


def fetch(name: str, scale: str | None = None) -> Path:
    """`Store.fetch` of the course.

    Raises:
        AssetError: as described there.
    """
    return COURSE.fetch(name, scale)
