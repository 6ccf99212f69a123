"""The site in a real browser: offline, in every language, with a place that is kept, and without barriers."""

import functools
import re
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tutorial_utils.execution import ROOT
from tutorial_utils.translations import LANGUAGES
from tutorial_utils.website import hrefs

pytest.importorskip("sphinx", reason="Sphinx is not installed: run `make browser`")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: run `make browser`")

pytestmark = pytest.mark.browser

LESSON = "notebooks/01_vit_inference.html"
KINDS = [
    "index.html",
    LESSON,
    "docs/glossary.html",
    "data/checkpoints/latte-mini/README.html",
    "reference/networks.html",
]
MOST_BYTES = 60 * 2**20


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages, as `make site` writes it."""
    out = tmp_path_factory.mktemp("web") / "site"
    command = [sys.executable, "-m", "tutorial_utils", "site", "--out", str(out)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return out


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def page(browser, address):
    """A page, what it asked of others than the site, and what went wrong in it."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.asked, opened.wrong = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on("response", lambda answer: opened.wrong.append(answer.url) if answer.status >= 400 else None)
    yield opened
    opened.close()


def test_the_site_is_small_and_its_links_lead_somewhere(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < MOST_BYTES
    assert hrefs.faults(site) == []


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_nobody_but_the_site_and_shows_all_its_pictures(kind, code, page, address):
    page.goto(f"{address}/{code}/{kind}", wait_until="networkidle")
    assert page.asked and [url for url in page.asked if not url.startswith((address, "data:"))] == []
    assert page.wrong == []
    broken = "[...document.images].filter(one => one.complete && !one.naturalWidth).map(one => one.src)"
    assert page.evaluate(broken) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("document.documentElement.lang").startswith(code)


def test_every_page_has_a_switch_and_all_languages_have_the_same_pages(site):
    pages = {code: {path.relative_to(site / code) for path in (site / code).rglob("*.html")} for code in LANGUAGES}
    assert len(set(map(frozenset, pages.values()))) == 1
    for code in LANGUAGES:
        for path in pages[code]:
            assert "course-language" in (site / code / path).read_text(encoding="utf-8"), path


def test_the_switch_keeps_the_place(page, address):
    page.goto(f"{address}/en/{LESSON}", wait_until="networkidle")
    for code in ("zh", "en"):
        page.evaluate("document.querySelector('section#recap').scrollIntoView({behavior: 'instant'})")
        switch = page.locator(".course-language").bounding_box()
        page.mouse.click(switch["x"] + 5, switch["y"] + 5)  # `click()` would scroll to the head of the page
        page.wait_for_url(f"{address}/{code}/{LESSON}#recap", wait_until="networkidle")
        page.wait_for_function("Math.abs(document.querySelector('section#recap').getBoundingClientRect().top) < 200")


@pytest.mark.parametrize(
    ("code", "words"), [("en", "rollout"), ("en", "patch embedding"), ("zh", "注意力"), ("zh", "词"), ("zh", "rollout")]
)
def test_search_finds_words_in_both_languages(code, words, page, address):
    page.goto(f"{address}/{code}/search.html?q={words}", wait_until="networkidle")
    page.wait_for_selector("#search-results ul.search li a")
    found = page.locator("#search-results ul.search li > a").evaluate_all("all => all.map(one => one.pathname)")
    assert any("glossary" in path or "notebooks/" in path for path in found)
    page.locator(".course-language").first.click()
    page.wait_for_url(re.compile(r"search\.html\?q="))


def test_search_finds_nothing_where_nothing_is(page, address):
    page.goto(f"{address}/zh/search.html?q=马铃薯", wait_until="networkidle")
    page.wait_for_function("document.querySelector('#search-results .search-summary, #search-results p')")
    assert page.locator("#search-results ul.search li").count() == 0


def test_what_is_folded_opens_and_an_answer_can_be_ticked(page, address):
    page.goto(f"{address}/en/{LESSON}", wait_until="networkidle")
    box = page.locator("article label input[type=checkbox]").first
    box.check()
    assert box.is_checked()
    folded = page.locator("article details").filter(has_text="16 times").first
    folded.locator("summary").click()
    assert folded.locator("p").first.is_visible()
    solution = page.locator("details.hide").first
    solution.locator("summary").first.click()
    assert solution.locator("pre").first.is_visible()


def test_an_animation_stops_and_every_picture_of_a_lesson_is_described(page, address):
    page.goto(f"{address}/en/notebooks/04_latte_video_generation.html", wait_until="networkidle")
    film = page.locator(".animation").first
    assert film.locator(".moving").is_visible() and not film.locator(".still").is_visible()
    film.locator("input").check()
    assert film.locator(".still").is_visible() and not film.locator(".moving").is_visible()
    assert page.evaluate("[...document.querySelectorAll('article img')].filter(one => !one.alt).length") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["index.html", LESSON])
def test_axe_finds_no_barrier(kind, theme, page, address):
    page.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
    page.goto(f"{address}/en/{kind}", wait_until="networkidle")
    found = axe.Axe().run(page).response["violations"]
    assert [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"]
    ] == []
