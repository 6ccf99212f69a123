"""Helpers that the lessons share. Importing the package loads neither torch nor TensorFlow.

Import it before torch: it says how torch's threads wait (see `openmp`).
"""

import importlib
import sys

__version__ = "0.1.0"

if sys.version_info >= (3, 11):  # an older Python only gets as far as being told so, by `bootstrap`
    importlib.import_module("tutorial_utils.openmp").set_up()
