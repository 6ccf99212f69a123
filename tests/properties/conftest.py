"""How the property-based tests run: the same few examples every time; and how many inputs they have tried."""

import hypothesis
import pytest
from strategies import TRIED
from timing import headline

hypothesis.settings.register_profile(
    "course",
    deadline=None,  # the first call of a library takes seconds
    derandomize=True,
    database=None,
    max_examples=20,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("course")


@pytest.fixture(autouse=True, scope="module")
def tiny_networks(one_thread):
    """All networks here are tiny."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name == "test_coverage.py")  # it looks at what the others have tried


def pytest_terminal_summary():
    """Good inputs are counted as well as bad ones; a refusal is a documented error in our own words."""
    if TRIED:
        refused = sum(count for (_, outcome), count in TRIED.items() if outcome == "refused")
        functions = len({name for name, _ in TRIED if name.startswith("tutorial_utils.")})  # not the lesson's own
        headline(
            "bad inputs tried",
            f"{TRIED.total():,} inputs on {functions} functions, {refused:,} of them bad and refused by name",
        )
