"""What a recipe trains on: Fashion-MNIST, or a learner's own pictures in the same form."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES, fashion_mnist_tensors
from tutorial_utils.datasets.garments import SPRITE
from tutorial_utils.datasets.images import as_garment, as_square, load_picture
from tutorial_utils.datasets.names import LISTED, Names
from tutorial_utils.progress import bar

LEAST = 10
"""Pictures that a class must have: two of them are then for the test."""

TEST_EVERY = 5
"""Of own pictures, every fifth of a class is for the test."""

FORM = f"A folder is due with a subfolder for each class, two or more of them, each with {LEAST} pictures or more."

SYSTEMS = {"desktop.ini", "thumbs.db"}
"""Files that Windows leaves among pictures."""


@dataclass(frozen=True)
class Pictures:
    """Grey pictures in classes, bright on black, and how a model card speaks of them.

    Attributes:
        train: floats (N, 1, 28, 28) in [0, 1], and labels, integers (N,).
        test: likewise, read once, when the training is over.
        names: of the classes, in the order of the labels.
        said: what they are.
        many: what they are of, after a verb: "tells ... apart".
        one: one of them.
        looks: what a network that learned from them has seen.
        folder: the name of the folder that they are from; None for the course's own.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    names: Names
    said: str
    many: str
    one: str
    looks: str
    folder: str | None = None

    @classmethod
    def of_garments(cls) -> Pictures:
        """Fashion-MNIST, which the miniatures of the course learn from."""
        return cls(
            fashion_mnist_tensors("train"),
            fashion_mnist_tensors("test"),
            FASHION_CLASSES,
            said="Fashion-MNIST (Xiao et al. 2017)",
            many="ten kinds of garment",
            one="a garment",
            looks="bright, upright, centred garments on black",
        )

    @classmethod
    def of_folder(cls, folder: Path) -> Pictures:
        """Own pictures, from a folder with a subfolder for each class, which gives the class its name.

        Each is brought into the form of Fashion-MNIST, see `as_garment`. In the order of their names, every fifth
        picture of a class is for the test. Hidden files are left out, and so are files beside the subfolders.

        Raises:
            ValueError: the folder is not as described, or a file in it is no picture; the message names it.
        """
        files = _files_by_class(folder)
        grey = _read([path for paths in files.values() for path in paths], folder)
        sizes = [len(paths) for paths in files.values()]
        labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        places = torch.cat([torch.arange(size) for size in sizes])
        order = torch.randperm(
            len(grey), generator=torch.Generator().manual_seed(0)
        )  # so that any part has all classes
        is_test = places[order] % TEST_EVERY == TEST_EVERY - 1
        test, train = order[is_test], order[~is_test]
        counts = [f"{cell(name)} {size}" for name, size in zip(files, sizes, strict=True)]
        counts = ", ".join(counts[:LISTED]) + (", ..." if len(counts) > LISTED else "")
        return cls(
            (grey[train], labels[train]),
            (grey[test], labels[test]),
            Names(files),
            said=f"{len(grey):,} own pictures from the folder `{folder.resolve().name}` ({counts}), grey, 28x28",
            many=f"{len(files)} classes of own pictures",
            one="a picture",
            looks="pictures of that folder alone, grey, bright on black",
            folder=folder.resolve().name,
        )

    @property
    def key(self) -> str:
        """A short name that no other pictures share."""
        digest = hashlib.sha256(repr(self.names).encode())
        for part in (*self.train, *self.test):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()[:12]

    @property
    def front(self) -> str:
        """The card's lines for programs on the licence and the data; of own pictures nobody has told us either."""
        return "" if self.folder else "license: apache-2.0\ndatasets: [fashion_mnist]\n"

    def title(self, name: str) -> str:
        """The card's title, where `name` is the miniature's that the recipe makes of garments."""
        return f"{name}'s recipe, on own pictures" if self.folder else name

    def command(self, recipe: str, share: float) -> str:
        """What was run, for the card."""
        images = f" --images {shlex.quote(self.folder)}" if self.folder else ""
        return command_of(f"{recipe}{images}", share)


def command_of(recipe: str, share: float) -> str:
    """What was run, for a card: the recipe with its options, and how much of its steps were taken."""
    whole = f"`python -m tutorial_utils train {recipe}"
    return f"{whole}`" if share == 1 else f"{whole} --share {share:g}`, a share of {share:g} of the recipe's length"


def cell(name: str) -> str:
    """A name as a cell of a card's table holds it."""
    return " ".join(name.split()).replace("|", "\\|")


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    """The files of each subfolder, in order."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "is not there"
        raise ValueError(f"--images {folder} {problem}. {FORM}")
    classes = {path.name: _visible(path) for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."}
    if len(classes) < 2:
        problem = f"has one class only, {next(iter(classes))!r}" if classes else "has no subfolders"
        raise ValueError(f"--images {folder} {problem}. {FORM}")
    if parts := _parts(classes, folder):
        some = ", ".join(map(repr, parts))
        raise ValueError(f"--images {folder} has the same folders in each of its folders, {some}. {FORM}")
    if few := [f"{name!r} has {len(paths)}" for name, paths in classes.items() if len(paths) < LEAST]:
        raise ValueError(f"--images {folder} has too few pictures: {', '.join(few)}. {FORM}")
    return classes


def _parts(classes: dict[str, list[Path]], folder: Path) -> list[str]:
    """The folders that each class has, where its pictures are in such alone: then it is a part of a data set, as in
    ``train/cats``, and no class.
    """
    within = [{path.relative_to(folder / name).parts[:-1][:1] for path in paths} for name, paths in classes.items()]
    same = within[0] and () not in within[0] and all(one == within[0] for one in within)
    return sorted(name for (name,) in within[0]) if same else []


def _visible(folder: Path) -> list[Path]:
    """The files in a folder and below, without those that systems leave there."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name.lower() not in SYSTEMS)
    return [path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts)]


def _read(paths: list[Path], folder: Path) -> Tensor:
    """Pictures as Fashion-MNIST's are, (N, 1, 28, 28) in [0, 1]."""
    grey = np.empty((len(paths), 1, SPRITE, SPRITE), np.uint8)
    with bar("reading", "pictures") as progress:
        for place, path in enumerate(paths):
            try:
                grey[place, 0] = as_square(as_garment(load_picture(path)), SPRITE).convert("L")
            except ValueError as error:
                raise ValueError(f"{error} Or take it out of {folder}.") from error
            progress(place + 1, len(paths))
    return torch.from_numpy(grey).float() / 255
