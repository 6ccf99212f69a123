"""A world of their own for the tests of downloads, and the count of faults survived."""

import pytest
from hub import closed_port
from timing import headline

from tutorial_utils.assets import store


@pytest.fixture
def own_world(tmp_path, monkeypatch):
    """A course of the test's own, all in `tmp_path`, which `write_manifest` describes; and no network but a `Hub`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", closed_port())
    monkeypatch.setenv("HF_ENDPOINT", closed_port())
    for client in ("MODELSCOPE_CACHE", "MODELSCOPE_HOME", "HF_HOME"):  # what the clients keep for themselves
        monkeypatch.setenv(client, str(tmp_path / "clients"))
    monkeypatch.setattr(store, "COURSE", store.Store((), tmp_path / "data", tmp_path / "own"))


def pytest_terminal_summary(terminalreporter):
    """Count the faults that were survived, and what it has cost to resume; `make report` shows both."""
    found = {
        outcome: {
            report.nodeid: dict(report.user_properties)
            for report in terminalreporter.stats.get(outcome, ())
            if "fault" in getattr(report, "keywords", ())  # a module that cannot be collected has none
        }
        for outcome in ("passed", "failed", "error", "skipped")
    }
    tried = found["passed"] | found["failed"] | found["error"]
    survived = {test: noted for test, noted in found["passed"].items() if test not in found["error"]}
    if tried:
        skipped = f"; {len(found['skipped'])} need an administrator of Linux" if found["skipped"] else ""
        headline("faults survived", f"{len(survived)} of {len(tried)} tried{skipped}")
    if resuming := sum("resumes" in noted for noted in tried.values()):
        ratios = [noted["transferred"] for noted in survived.values() if "resumes" in noted]
        cost = f", with at most {max(ratios) - 1:.1%} more than the file's bytes transferred" if ratios else ""
        headline("downloads resumed", f"{len(ratios)} of {resuming}{cost}")
