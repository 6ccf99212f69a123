"""Checkpoints and data sets: what there is, where it lies, and how it comes here, verified."""
