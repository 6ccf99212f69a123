"""The browser that tests share."""

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    """Chromium, or a reason to skip."""
    engine = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: run `make browser`")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: Debian's package is called chromium")
    with engine.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()
