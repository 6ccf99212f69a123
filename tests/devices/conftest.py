"""What the tests of devices and precisions share."""

import pytest
import torch

from tutorial_utils.execution import ROOT


@pytest.fixture
def at_the_lessons(monkeypatch):
    """The folder in which a lesson's kernel starts; and as many threads afterwards as before."""
    monkeypatch.chdir(ROOT / "notebooks")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
