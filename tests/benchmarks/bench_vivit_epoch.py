"""An epoch of lesson 2's better recipe: against the same model in a plain PyTorch loop, and against an older commit.

python tests/benchmarks/bench_vivit_epoch.py [--baseline COMMIT] [--rounds 8]
make bench BASELINE=COMMIT

Each measurement is a process of its own, and they take turns. On two processor cores: five minutes.
"""

from __future__ import annotations

import argparse
import os

from timing import LESSON_2, headline, ratio, run, spread, worktree
from tutorial_utils.execution import ROOT

KERAS = (
    LESSON_2
    + """
model = lesson["compiled"](lesson["IMPROVED"])
volumes = lesson["pipeline"](lesson["data"].train, lesson["IMPROVED"], training=True)

def work():
    model.fit(volumes, epochs=2, shuffle=False, verbose=0)
"""
)

PLAIN = """
import sys
sys.path.insert(0, "tests/benchmarks")
from plain_vivit import epochs

def work():
    epochs(2)
"""


def main() -> None:
    """Print both ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baseline", default=os.environ.get("BASELINE"), help="a commit to compare the lesson with")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    with worktree(options.baseline) as old:
        asked = {"the lesson": (KERAS, ROOT), "a plain PyTorch loop": (PLAIN, ROOT)}
        if old:
            asked[f"the lesson at {options.baseline}"] = KERAS, old
        seconds = {name: [] for name in asked}
        for _ in range(options.rounds):
            for name, (work, tree) in asked.items():
                seconds[name] += run(work, tree, 1)
    for name, found in seconds.items():
        print(f"two epochs of {name}: {spread(found)}")
        if name != "the lesson":
            headline(f"lesson 2: an epoch of the better recipe against {name}", ratio(seconds["the lesson"], found, 1))


if __name__ == "__main__":
    main()
