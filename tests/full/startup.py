"""Runs in the kernel of a `full` lesson under test, before its first cell: see `test_full.py`."""

import json
import os
from dataclasses import replace
from pathlib import Path

import torch

from tutorial_utils import checks, runtime
from tutorial_utils.assets import manifest, store
from tutorial_utils.networks import uvit

store.COURSE = replace(store.COURSE, assets=manifest.read(Path(os.environ["TEST_MANIFEST"])))
uvit.PUBLISHED = {name: json.loads(os.environ["TEST_UVIT"]) for name in uvit.PUBLISHED}
if precision := os.environ.get("TEST_PRECISION"):
    runtime.dtype = lambda where, large=False: getattr(torch, precision)

asserted = checks.check


def noted(name, *args, **kwargs):
    """A fact that is wrong is written down; with random weights those about the weights are."""
    try:
        asserted(name, *args, **kwargs)
    except AssertionError:
        with Path(os.environ["TEST_FALSE_FACTS"]).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")


checks.check = noted
