"""What is made from the repository's address, and that there is nothing where there is none."""

import nbformat
import pytest

from tutorial_utils import links
from tutorial_utils.execution import ROOT, find_notebooks

LESSONS = [path.stem for path in find_notebooks()]


def project(folder, urls: str):
    path = folder / "pyproject.toml"
    path.write_text(f'[project]\nname = "a"\n{urls}')
    return path


@pytest.mark.parametrize(
    ("urls", "address"),
    [
        ("", ""),
        ("[project.urls]\nHomepage = 'https://a.b'", ""),
        ("[project.urls]\nRepository = 'https://github.com/a/b/'", "https://github.com/a/b"),
        ("[project.urls]\nRepository = 'file:///srv/course'", "file:///srv/course"),
    ],
)
def test_the_address_is_the_projects_repository(urls, address, tmp_path):
    assert links.repository(project(tmp_path, urls)) == address


@pytest.mark.parametrize("address", ["github.com/a/b", 'https://a.b/"; rm -r /', "https://a.b/{c}", "--upload-pack=x"])
def test_what_git_could_not_clone_or_a_shell_would_read_is_refused(address, tmp_path):
    with pytest.raises(ValueError, match="is not an address such as"):
        links.repository(project(tmp_path, f"[project.urls]\nRepository = '{address}'"))


@pytest.mark.parametrize("address", ["", "https://github.com/a/b"])
def test_the_cell_compiles_and_holds_the_address_and_what_the_lesson_needs(address):
    for lesson in LESSONS:
        source = links.cell(lesson, address)
        compile(source, lesson, "exec")
        assert f'"TUTORIAL_REPOSITORY", "{address}")' in source
        assert ('"lesson2"' in source) == lesson.startswith("02")


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_putting_the_cell_again_changes_nothing(path):
    notebook = nbformat.read(path, as_version=4)
    links.put_cell(notebook, links.cell(path.stem, links.repository()))
    assert nbformat.writes(notebook) + "\n" == path.read_text(encoding="utf-8")


def test_a_lesson_without_the_cell_gets_it_below_its_head_and_stays_in_order():
    code = nbformat.v4.new_code_cell("1 + 1", execution_count=1)
    code.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=1)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Lesson"), code])
    links.put_cell(notebook, "pass")
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells] == ["# Lesson", "pass", "1 + 1"]
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2]
    assert code.outputs[0].execution_count == 2


@pytest.mark.parametrize("address", ["", "https://gitlab.com/a/b", "file:///srv/course"])
def test_where_no_site_could_open_it_there_is_no_link(address):
    assert links.badges(address, LESSONS) == ""


def test_each_lesson_has_a_link_to_each_site():
    text = links.badges("https://github.com/a/b.git", LESSONS)
    for lesson in LESSONS:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {lesson} |")]
        assert row.count("](https://") == 2 * len(links.SITES)
        assert f"colab.research.google.com/github/a/b/blob/main/notebooks/{lesson}.ipynb)" in row


def test_the_readme_holds_the_links_of_the_address_in_pyproject():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert links.with_links(page, links.badges(links.repository(), LESSONS)) == page
    linked = links.with_links(page, links.badges("https://github.com/a/b", LESSONS))
    assert "colab" in linked and links.with_links(linked, "") == links.with_links(page, "")
    with pytest.raises(ValueError, match="needs a place for links"):
        links.with_links("no marks", "")
