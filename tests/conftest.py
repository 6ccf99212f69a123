"""What tests of every kind share."""

from importlib.util import find_spec

import pytest
from hub import closed_port

import tutorial_utils  # noqa: F401  before torch, which the tests import first: see `tutorial_utils.openmp`
from tutorial_utils.assets import store


@pytest.fixture(autouse=True)
def no_course_variables(monkeypatch):
    """Every test starts from an environment without the course's own variables, and with the course's own store."""
    monkeypatch.setattr(store, "COURSE", store.COURSE)  # whatever a test puts in its place
    monkeypatch.setenv("TUTORIAL_LANGUAGE", "en")  # whatever this system speaks
    for variable in ("TUTORIAL_SCALE", "TUTORIAL_DATA", "TUTORIAL_DEVICE", "TUTORIAL_CHECKS", "JPY_SESSION_NAME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def own_world(tmp_path, monkeypatch):
    """A course of the test's own, all in `tmp_path`, which `write_manifest` describes; and no network but a `Hub`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", closed_port())
    monkeypatch.setenv("HF_ENDPOINT", closed_port())
    for client in ("MODELSCOPE_CACHE", "MODELSCOPE_HOME", "HF_HOME"):  # what the clients keep for themselves
        monkeypatch.setenv(client, str(tmp_path / "clients"))
    monkeypatch.setattr(store, "COURSE", store.Store((), tmp_path / "data", tmp_path / "own"))


@pytest.fixture(scope="module")
def one_thread():
    """Threads that wait for each other cost tiny networks more than their arithmetic."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter):
    """Say why so much was skipped in an environment that `make LIGHT=1` has made."""
    if not find_spec("keras"):
        terminalreporter.line("This environment is light: lesson 2, and what needs Keras or TensorFlow, was skipped.")
