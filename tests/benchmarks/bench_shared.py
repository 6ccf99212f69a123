"""Cores that several processes share: what one costs against an older commit, and four at once against four times one.

python tests/benchmarks/bench_shared.py [--baseline COMMIT] [--rounds 20] [--lessons 01 02 03 04]
make bench BASELINE=COMMIT

Each measurement is a process of its own, as each learner's kernel is; old and new take turns. On two processor cores:
20 minutes, and 40 with a baseline.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from timing import LESSON_2, headline, ratio, run, spread, worktree
from tutorial_utils.execution import ROOT

TOGETHER = 4

WORK = {
    "01": """
from tutorial_utils import runtime
from tutorial_utils.datasets.fashion_mnist import fashion_mnist_tensors
from tutorial_utils.datasets.garments import stills
from tutorial_utils.measures.metrics import load_judge

runtime.use_threads()
judge, pictures = load_judge(), stills(fashion_mnist_tensors("test")[0][:1_000])

def work():
    judge.classify(pictures)
""",
    "02": LESSON_2
    + """
model = lesson["compiled"](lesson["NOTES"])
volumes = lesson["pipeline"]([part[:256] for part in lesson["data"].train], lesson["NOTES"], training=True)

def work():
    model.fit(volumes, epochs=4, verbose=0)
""",
    "03": """
from tutorial_utils import runtime
from tutorial_utils.sampling import by_class
import torch

runtime.use_threads()
network, vae, _ = by_class.load("mini", torch.device("cpu"))
sampler = by_class.sampler(network, vae)

def work():
    for _ in range(4):
        sampler.samples(torch.arange(20) % 10, list(range(20)), by_class.SETTINGS["mini"])
""",
    "04": """
from tutorial_utils.sampling import latte, latte_model
from tutorial_utils import runtime
from tutorial_utils.sampling.latte_config import load_config
import torch

runtime.use_threads()
config = load_config("notebooks/configs/latte_mini.yaml")
pipeline = latte_model.load_pipeline(config, "mini", torch.device("cpu"))
prompts = latte.encode(pipeline, config.prompts)

def work():
    for _ in range(4):
        latte.Clips(pipeline, config.frames).videos(prompts, list(range(len(prompts))), config.settings)
""",
}
"""A few seconds of what a learner's kernel does in each lesson; in lesson 2 TensorFlow trains the lesson's model."""


def main() -> None:
    """Print both ratios of each lesson."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baseline", default=os.environ.get("BASELINE"), help="a commit to compare one process with")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--lessons", nargs="+", choices=WORK, default=list(WORK))
    options = parser.parse_args()
    with worktree(options.baseline) as old:
        for lesson in options.lessons:
            measure(lesson, options.rounds, old)


def measure(lesson: str, rounds: int, old: Path | None) -> None:
    """One process in turn with one of the older commit, then four at once."""
    alone = {tree: [] for tree in (ROOT, old) if tree}
    for _ in range(rounds):
        for tree, seconds in alone.items():
            seconds += run(WORK[lesson], tree, 1)
    print(f"lesson {lesson}: one process {spread(alone[ROOT])}")
    if old:
        print(f"lesson {lesson}: one process of the baseline {spread(alone[old])}")
        headline(f"lesson {lesson}: one process against the baseline", ratio(alone[ROOT], alone[old], 1))
    together = [second for _ in range(max(1, rounds // TOGETHER)) for second in run(WORK[lesson], ROOT, TOGETHER)]
    print(f"lesson {lesson}: {TOGETHER} at once {spread(together)}")
    headline(
        f"lesson {lesson}: {TOGETHER} processes at once against {TOGETHER} times one",
        ratio(together, alone[ROOT], TOGETHER),
    )


if __name__ == "__main__":
    main()
