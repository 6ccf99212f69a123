"""What the README and the pages beside it point at exists, and what they quote is said."""

import json
import re
import subprocess

import pytest

from tutorial_utils.execution import ROOT

NAMES = "README.md CONTRIBUTING.md CHANGELOG.md data/README.md docs/troubleshooting.md docs/glossary.md"
PAGES = [ROOT / name for name in NAMES.split()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    here = [link for link in links if not link.startswith(("../../actions/", "../../deployments/"))]  # of GitHub
    assert [link for link in here if not (page.parent / link).exists()] == []


def test_the_messages_on_the_page_of_troubles_are_those_that_the_course_prints():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    symptoms = [cell for cell in re.findall(r"^\| (.+?) \|", page, re.MULTILINE) if cell != "What you see"]
    quoted = [text for symptom in symptoms for text in re.findall(r"`([^`]+)`", symptom)]
    files = [path for folder in ("tutorial_utils", "classroom") for path in (ROOT / folder).rglob("*.*")]
    said = "\n".join(path.read_text("utf-8") for path in files if path.suffix in (".py", ".toml"))
    said = re.sub(r"\{+[^{}]*\}+", "''", said)  # values: those on the page are empty
    assert len(symptoms) >= 25 and len(set(symptoms)) == len(symptoms)
    assert [text for text in quoted if text not in said and not text.startswith("make ")] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_readme_quotes_the_measured_accuracy():
    metrics = json.loads((ROOT / "data" / "checkpoints" / "vit-mini" / "metrics.json").read_text())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"right on {metrics['test_accuracy']:.1%}" in readme
    assert f"{metrics['parameters'] / 1e6:.2f} million" in readme


def test_readme_or_what_contributors_read_names_every_make_target_that_exists():
    targets = re.findall(r"^(\w+): setup", (ROOT / "Makefile").read_text(), re.MULTILINE)
    said = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "CONTRIBUTING.md"))
    assert [target for target in ("notebooks", "test", "lab", "refresh") if target not in targets] == []
    assert [target for target in targets if f"make {target}" not in said] == []


def test_make_alone_lists_every_target_that_somebody_may_want():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = re.findall(r"^  make (\S+)  +\S", listed, re.MULTILINE)
    assert {*named, "setup"} == set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())


def test_readme_quotes_the_report():
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## What was measured")[1].split("\n## ")[0]
    report = (ROOT / "docs" / "report.md").read_text(encoding="utf-8").splitlines()
    quoted = re.findall(r"^\| .+ \|$", section, re.MULTILINE)
    assert quoted and [row for row in quoted if row not in report] == []
