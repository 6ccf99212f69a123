"""What a class needs, in one folder for a stick or a share: ``python -m tutorial_utils bundle``.

Such a folder is a cache as `assets` reads it, so all that a learner does is to set TUTORIAL_DATA to it. At `mini`
nothing has to be carried, since everything is in the repository; bundling then verifies that.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from tutorial_utils import assets, runtime
from tutorial_utils.assets import Asset
from tutorial_utils.downloads import alone, download, draft_of, publish
from tutorial_utils.files import size_of

FAT32_LIMIT = 2**32 - 1  # bytes of a file


def choose(names: Iterable[str] | None, scale: runtime.Scale) -> list[Asset]:
    """The assets of those names, or all, at one scale, in the order of the manifest.

    Raises:
        ValueError: there is no such name.
    """
    wanted = {assets.find(name, scale) for name in names or ()}
    return [asset for asset in assets.manifest() if asset.scale == scale and (not wanted or asset in wanted)]


def missing_bytes(asset: Asset, out: Path) -> int:
    """What of an asset has yet to come into a folder, as far as the manifest knows the sizes."""
    if asset.kind in ("bundled", "generated") or not assets.copy_problems(asset, out):
        return 0
    folder = out / asset.folder_name
    return max(0, asset.size_bytes - size_of(folder) - size_of(draft_of(folder)))


def obstacle(chosen: list[Asset], out: Path) -> str | None:
    """Why a folder cannot take what is missing of some assets; None if it can."""
    if not assets.writable(out) or (out.exists() and not out.is_dir()):
        return f"{out} is not a folder that can be written to: choose another for --out."
    missing, free = sum(missing_bytes(asset, out) for asset in chosen), assets.free_bytes(out)
    if missing > free:
        return (
            f"{out} has room for {assets.readable(free)}, and {assets.readable(missing)} have yet to come: "
            "free some space, choose a larger disk, or name the assets that you need."
        )
    return None


def announcement(chosen: list[Asset], out: Path) -> str:
    """How much will come, said before it does."""
    missing = [asset for asset in chosen if missing_bytes(asset, out)]
    if not missing:
        return "Nothing has to be downloaded; what is here will be verified."
    total = assets.readable(sum(missing_bytes(asset, out) for asset in missing))
    text = f"{total} to come: {', '.join(f'{asset.name} {asset.size}' for asset in missing)}."
    if any(file.size_bytes > FAT32_LIMIT for asset in missing for file in asset.files):
        text += "\nSome files are larger than 4 GB: a stick formatted as FAT32 cannot hold them, one as exFAT can."
    return text


def instructions(chosen: list[Asset], out: Path) -> str:
    """How to use what has been bundled."""
    if all(asset.kind in ("bundled", "generated") for asset in chosen):
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
        assets.fetch(asset.name, asset.scale)
        return "in the repository, verified"
    folder = out / asset.folder_name
    damaged = assets.damage(asset, folder)
    if not damaged:
        assets.adopt(asset, folder)
        return "already there, verified"
    if not folder.exists() and _copy(asset, folder):
        return "copied from this machine's cache"
    repaired = folder.exists()
    download(asset, out, damaged)
    return "repaired" if repaired else "downloaded"


def _copy(asset: Asset, folder: Path) -> bool:
    """Copy an asset from a cache of this machine, if one has it and the copy is sound; what is not is thrown away."""
    sources = (root / asset.folder_name for root in assets.cache_roots() if not assets.copy_problems(asset, root))
    source = next(sources, None)
    if source is None:
        return False
    with alone(folder):
        if folder.exists():  # another process has been faster, while this one waited
            return not assets.damage(asset, folder)
        draft = draft_of(folder)
        for path in (assets.STAMP, *(file.path for file in asset.files)):
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            if (source / path).exists():
                shutil.copyfile(source / path, draft / path)
        damaged = assets.damage(asset, draft)
        for path in damaged:
            path.unlink(missing_ok=True)
        if damaged:
            return False
        stamp = assets.read_stamp(source) or {"source": assets.BY_HAND}
        publish(asset, draft, folder, stamp["source"])
    return True
