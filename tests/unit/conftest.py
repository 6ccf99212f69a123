"""The count of faults survived."""

from timing import headline


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
