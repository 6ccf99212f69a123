"""Running the command line in this process, and what it may leave in a folder."""

import contextlib
import io
import sys
from pathlib import Path
from unittest import mock

import models
import numpy as np
from PIL import Image
from strategies import TRIED

from tutorial_utils import __main__ as cli
from tutorial_utils.sampling import by_class

REQUEST = ["sample", "uvit", "--num=2", "--batch-size=1", "--steps=1", "--out"]

tiny_networks = mock.patch.object(by_class, "load", lambda scale: (models.uvit_network(), models.vae(), models.CLASSES))
"""A decorator of tests for which a network that has learned nothing will do."""


def run(*arguments: str) -> tuple[int, str, str]:
    """A command line as `python -m tutorial_utils` runs it: its status, its output and its complaints."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["tutorial_utils", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = cli.main()
        except SystemExit as end:
            status = end.code
    TRIED["tutorial_utils.__main__", "refused" if status else "answered"] += 1
    return status, out.getvalue(), err.getvalue()


def assert_all_whole(out: Path) -> None:
    """Every file under a final name can be read."""
    for path in out.rglob("*.npz"):
        with np.load(path) as saved:
            assert all(saved[name] is not None for name in saved)
    for path in out.rglob("*.png"):
        Image.open(path).load()
