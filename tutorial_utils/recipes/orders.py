"""What is asked of ``python -m tutorial_utils train``: a recipe, the pictures that it learns from, and its length."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tutorial_utils import execution, files, runtime, surroundings

ON_PICTURES = ("vit", "vae", "uvit")

WHY_NOT = {
    "latte": "it learns from films that are drawn from Fashion-MNIST's garments, with a sentence for each",
    "vivit": "it learns from volumes with labels, of which lesson 2 loads a data set, and pictures are none",
}
"""The other recipes, and why a folder of pictures is nothing for them."""


@dataclass(frozen=True)
class Order:
    """A training, which is one and the same for the same pictures in the same share: so it can be gone on with.

    Attributes:
        recipe: one of the modules beside this one.
        images: own pictures, see `Pictures.of_folder`; None for the course's own data.
        share: of the recipe's steps and epochs, more than 0, at most 1.

    Raises:
        ValueError: there is no such training; the message says why.
    """

    recipe: str
    images: Path | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        known = (*ON_PICTURES, *WHY_NOT)
        if self.recipe not in known:
            raise ValueError(f"There is no recipe {self.recipe!r}: choose one of {', '.join(known)}.")
        if not 0 < self.share <= 1:
            raise ValueError(f"--share {self.share} must be more than 0, and at most 1, which is all of the recipe.")
        if self.images is not None and self.recipe in WHY_NOT:
            some = ", ".join(ON_PICTURES)
            raise ValueError(f"{self.recipe} takes no --images: {WHY_NOT[self.recipe]}. Choose one of {some}.")
        if self.recipe == "vivit" and (obstacle := execution.obstacle(execution.find_notebooks(["02"])[0])):
            raise ValueError(obstacle)

    def carry_out(self, out: Path | None = None, work: Path | None = None) -> Path:
        """Train, or go on with a training.

        Args:
            out: a folder that is not there yet, or empty; by default one in ``build`` that is named after the training.
            work: where the states of trainings are, each in a folder of its own; the user's cache by default.

        Returns:
            `out`, with the network and its card in it.

        Raises:
            ValueError: one of the folders will not do; the message names it.
        """
        beside = [] if self.images is None else [self.images.resolve().name]
        out = out or Path("build", "-".join([self.recipe, *beside]))
        files.require_place(out, "--out")
        if out.exists() and any(out.iterdir()):
            raise ValueError(f"--out {out} has something in it already: move it away, or choose another folder.")
        work = work or surroundings.user_cache() / "training"
        files.require_place(work, "--work")
        from tutorial_utils.recipes.pictures import Pictures
        from tutorial_utils.recipes.training import carry_out

        given, names = {}, [self.recipe]
        if self.images is not None:
            given["pictures"] = Pictures.of_folder(self.images)
            names.append(given["pictures"].key)
        if self.share != 1:
            given["share"] = self.share
            names.append(f"{self.share:g}")
        main = importlib.import_module(f"tutorial_utils.recipes.{self.recipe}").main
        carry_out(partial(main, **given), out, work / "-".join(names), runtime.device())
        return out
