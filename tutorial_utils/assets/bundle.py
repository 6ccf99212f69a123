"""What a class needs, in one folder for a stick or a share: ``python -m tutorial_utils bundle``.

Such a folder is a cache as a `Store` reads it, so all that a learner does is to set TUTORIAL_DATA to it. At `mini`
nothing has to be carried, since everything is in the repository; bundling then verifies that.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tutorial_utils import files
from tutorial_utils.assets import store
from tutorial_utils.assets.copies import BY_HAND, STAMP, Copy
from tutorial_utils.assets.downloads import alone, download, publish
from tutorial_utils.assets.manifest import Asset, readable

FAT32_LIMIT = 2**32 - 1  # bytes of a file


def wanted_in(chosen: list[Asset], out: Path) -> list[Copy]:
    """Where copies of some assets belong in a folder."""
    return [Copy.at(asset, out) for asset in chosen]


def obstacle(chosen: list[Asset], out: Path) -> str | None:
    """Why a folder, which can be written to, cannot take what is missing of some assets; None if it can."""
    missing, free = sum(copy.missing_bytes for copy in wanted_in(chosen, out)), files.free_bytes(out)
    if missing > free:
        return (
            f"{out} has room for {readable(free)}, and {readable(missing)} have yet to come: "
            "free some space, choose a larger disk, or name the assets that you need."
        )
    return None


def announcement(chosen: list[Asset], out: Path) -> str:
    """How much will come, said before it does."""
    missing = {copy.asset: size for copy in wanted_in(chosen, out) if (size := copy.missing_bytes)}
    if not missing:
        return "Nothing has to be downloaded; what is here will be verified."
    parts = ", ".join(f"{asset.name} {asset.size}" for asset in missing)
    text = f"{readable(sum(missing.values()))} to come: {parts}."
    if any(file.size_bytes > FAT32_LIMIT for asset in missing for file in asset.files):
        text += "\nSome files are larger than 4 GB: a stick formatted as FAT32 cannot hold them, one as exFAT can."
    return text


def instructions(chosen: list[Asset], out: Path) -> str:
    """How to use what has been bundled."""
    if not any(asset.is_published for asset in chosen):
        return "Nothing has to be carried: all of this comes with the repository, and TUTORIAL_DATA can stay unset."
    return f"To use it, with no network: TUTORIAL_SCALE={chosen[0].scale} TUTORIAL_DATA={out.resolve()} make lab"


def add(asset: Asset, out: Path) -> str:
    """Make sure that a folder holds an asset, every file of it verified, and say in a few words how that came.

    Raises:
        AssetError: the asset is damaged or cannot be downloaded.
        OSError: the folder cannot take it.
    """
    if asset.kind == "generated":
        return "nothing to carry: made by its lesson"
    if asset.kind == "bundled":
        store.fetch(asset.name, asset.scale)
        return "in the repository, verified"
    copy = Copy.at(asset, out)
    damaged, there = copy.damage(), copy.folder.exists()
    if not damaged:
        copy.adopt()
        files.open_to_all(copy.folder)
        return "already there, verified"
    if not there and _copied(copy):
        return "copied from this machine's cache"
    download(copy, damaged)
    return "repaired" if there else "downloaded"


def _copied(copy: Copy) -> bool:
    """Whether a cache of this machine had a sound copy, so that this one could be made of it; what is not is left."""
    source = store.COURSE.sound(copy.asset)
    if source is None:
        return False
    with alone(copy.folder):
        if copy.folder.exists():  # another process has been faster, while this one waited
            return not copy.damage()
        draft = copy.draft
        for path in (STAMP, *(file.path for file in copy.asset.files)):
            (draft.folder / path).parent.mkdir(parents=True, exist_ok=True)
            if (source.folder / path).exists():
                shutil.copyfile(source.folder / path, draft.folder / path)
        damaged = draft.damage()
        for path in damaged:
            path.unlink(missing_ok=True)
        if damaged:
            return False
        publish(copy, (source.stamp or {"source": BY_HAND})["source"])
    return True
