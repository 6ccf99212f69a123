"""Helpers that the lessons share. Importing the package loads neither torch nor TensorFlow.

Import it before torch, Keras and matplotlib: it says how torch's threads wait (see `openmp`), and keeps the settings
that somebody has for other work from what a lesson shows (see `surroundings`).
"""

import importlib
import sys

__version__ = "0.1.0"

if sys.version_info >= (3, 11):  # an older Python only gets as far as being told so, by `bootstrap`
    for module in ("openmp", "surroundings"):
        importlib.import_module("tutorial_utils." + module).set_up()
