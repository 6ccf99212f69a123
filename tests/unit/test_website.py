"""The sources of the site, and what is said of its links; tests/browser opens the site itself."""

import pytest

from tutorial_utils.execution import find_notebooks
from tutorial_utils.translations import ENGLISH
from tutorial_utils.website import hrefs, miniatures, reference, sources


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    sources.write(folder, ENGLISH)
    return folder


def test_the_front_page_is_the_readme_with_a_way_into_every_lesson(written):
    page = (written / "index.md").read_text(encoding="utf-8")
    assert page.startswith("# Transformers for images and video")
    for lesson in find_notebooks():
        assert f"](notebooks/{lesson.name})" in page and f"notebooks/{lesson.stem}\n" in page
    assert "on GitHub -->" not in page and "README." not in page.replace("/README.md", "")


def test_a_reader_sees_no_marker_of_a_solution_and_unfolds_it_to_read_it(written):
    for lesson in find_notebooks():
        text = (written / "notebooks" / lesson.name).read_text(encoding="utf-8")
        assert "BEGIN SOLUTION" not in text and text.count('"hide-input"') >= 7


@pytest.mark.parametrize("name", miniatures.SAMPLES)
def test_every_miniature_has_a_page_with_its_curve_and_a_picture_of_a_lesson(name, written):
    folder = written / "data/checkpoints" / name
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page.lstrip().startswith("# ") and "](training.png)" in page and "](lesson.png)" in page
    for file in ("training.png", "lesson.png"):
        assert (folder / file).read_bytes().startswith(b"\x89PNG")
    assert all(len(alt) > 50 for _, alt in miniatures.pictures(name).values())


def test_every_stored_miniature_is_shown():
    cards = (sources.ROOT / "data/checkpoints").rglob("README.md")
    found = {str(card.parent.relative_to(sources.ROOT / "data/checkpoints")) for card in cards}
    assert found == miniatures.SAMPLES.keys()


def test_the_reference_has_every_module_once():
    pages = "\n".join(reference.pages().values())
    for module in ("tutorial_utils.checks", "tutorial_utils.networks.patches", "tutorial_utils.website.hrefs"):
        assert pages.count(f".. automodule:: {module}\n") == 1


def test_names_of_headings_are_words_and_each_is_there_once():
    names = sources.names_of(["1 · The idea", "Exercises", "ε, x₀ and v", "Exercises", "…"])
    assert names == ["the-idea", "exercises", "x-and-v", "exercises-1", "section"]


def test_a_number_sign_in_code_is_no_heading():
    assert sources.headings("# One\n\n```sh\n# no heading\n```\n\n## Two") == ["One", "Two"]


GOOD = """
<link rel="stylesheet" href="style.css"><h2 id="here">a</h2><a href="#here">b</a><a href="c/d.html#there">c</a>
<a href="https://arxiv.org/abs/1706.03762">d</a><img src="data:image/png;base64,AA"><a href="c/">e</a>"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "style.css").touch()
    (tmp_path / "index.html").write_text(GOOD, encoding="utf-8")
    (tmp_path / "c/d.html").write_text('<p id="there"><a href="../index.html#here">up</a>', encoding="utf-8")
    (tmp_path / "c/index.html").write_text("", encoding="utf-8")
    return tmp_path


def test_links_that_lead_somewhere_are_no_fault(site):
    assert hrefs.faults(site) == []


@pytest.mark.parametrize(
    ("spoiled", "fault"),
    [
        ('<a href="absent.html">', "leads nowhere"),
        ('<a href="#absent">', "has no place 'absent' there"),
        ('<a href="c/d.html#absent">', "has no place 'absent' there"),
        ('<img src="absent.png">', "leads nowhere"),
        ('<a href="https://no host/">', "is no address"),
        ('<a href="htps://arxiv.org/">', "is no address"),
        ('<a href="https://[/">', "is no address"),
        ('<script src="https://cdn.example.org/mathjax.js"></script>', "is fetched from outside of the site"),
        ('<link rel="stylesheet" href="//fonts.example.org/a.css">', "is fetched from outside of the site"),
    ],
)
def test_a_spoiled_page_is_found(spoiled, fault, site):
    (site / "index.html").write_text(GOOD + spoiled, encoding="utf-8")
    (found,) = hrefs.faults(site)
    assert found.startswith("index.html: ") and fault in found
