"""Helpers that the lessons share. Importing the package loads neither torch nor TensorFlow."""

__version__ = "0.1.0"
