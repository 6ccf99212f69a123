"""Every unit test starts from an environment without the course's own variables; some share what else they need."""

import pytest
from hub import closed_port

from tutorial_utils import assets


@pytest.fixture(autouse=True)
def no_course_variables(monkeypatch):
    for variable in ("TUTORIAL_SCALE", "TUTORIAL_DATA", "TUTORIAL_DEVICE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def own_world(tmp_path, monkeypatch):
    """A manifest, a repository and caches of the test's own, all in `tmp_path`; and no network but a `Hub`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", closed_port())
    monkeypatch.setenv("HF_ENDPOINT", closed_port())
    for client in ("MODELSCOPE_CACHE", "MODELSCOPE_HOME", "HF_HOME"):  # what the clients keep for themselves
        monkeypatch.setenv(client, str(tmp_path / "clients"))
    monkeypatch.setattr(assets, "_user_cache", lambda: tmp_path / "own")
    monkeypatch.setattr(assets, "DATA", tmp_path / "data")
    monkeypatch.setattr(assets, "MANIFEST", tmp_path / "assets.toml")


@pytest.fixture(scope="module")
def one_thread():
    """Threads that wait for each other cost tiny networks more than their arithmetic."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
