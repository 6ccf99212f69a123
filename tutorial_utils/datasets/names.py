"""The names of classes, which somebody may spell in another way than the data set does."""

from __future__ import annotations

from tutorial_utils import require

LISTED = 20
"""So many names are listed where one is unknown; of more, the first and the last."""


class Names(tuple[str, ...]):
    """The names of classes in the order of their labels: a tuple that says what there is where a name is unknown."""

    def index(self, name: str) -> int:
        """The label of the class of this name.

        Raises:
            ValueError: there is no such class. It says which one may be meant, and which there are.
        """
        if name in self:
            return super().index(name)
        if isinstance(name, int) and 0 <= name < len(self):
            raise ValueError(f"{name} is a label already: the one of {self[name]!r}. A name is due here.")
        some = ", ".join(self) if len(self) <= LISTED else f"{len(self):,}, from {self[0]!r} to {self[-1]!r}"
        asked = require.shortened(repr(name), 80)
        raise ValueError(f"There is no class {asked}: choose one of {some}.{require.meant(name, self)}")
