"""Every unit test starts from an environment without the course's own variables."""

import pytest


@pytest.fixture(autouse=True)
def no_course_variables(monkeypatch):
    for variable in ("TUTORIAL_SCALE", "TUTORIAL_DATA", "TUTORIAL_DEVICE"):
        monkeypatch.delenv(variable, raising=False)
