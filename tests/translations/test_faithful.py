"""A translation that is spoiled is noticed, each time by the rule for it."""

import pytest
from faithful import faults, terms

SOURCE = """## 2 · Patches

With `patch=16` there are 196 **patches** of $P^2$ pixels: 2.5 million pairs, see [the paper](https://arxiv.org/abs/2010.11929).

<details><summary>Hint</summary>

Count 1,000 of them.

</details>"""
GOOD = """## 2 · 图像块

取 `patch=16` 时，有 196 个**图像块**，每个 $P^2$ 像素：250 万对，见[论文](https://arxiv.org/abs/2010.11929)。

<details><summary>提示</summary>

数其中的 1,000 个。

</details>"""


def test_a_good_translation_has_no_faults():
    assert faults(SOURCE, GOOD) == []


@pytest.mark.parametrize(
    ("there", "spoiled", "fault"),
    [
        ("## 2", "### 2", "heading level"),
        ("196", "169", "number 196 is missing"),
        ("250 万", "25 万", "number"),
        ("`patch=16`", "patch=16", "code span"),
        ("$P^2$", "$P^3$", "formula"),
        ("2010.11929", "2010.11930", "link"),
        ("</details>", "", "tag"),
        ("1,000", "1000 到 2000", "number"),
        ("，有", ",有", "half-width ','"),
        ("有 196", "有196", "no space"),
        ("数其中的", "数其中的 count them all now", "not translated: 'count them all now'"),
    ],
)
def test_what_was_spoiled_is_named(there, spoiled, fault):
    assert there in GOOD
    assert any(fault in found for found in faults(SOURCE, GOOD.replace(there, spoiled)))


def test_another_word_for_a_term_is_named():
    table = {"patch": "图像块", "patch embedding": "图像块嵌入", "token": "词元（token）"}
    assert list(terms("A patch is a token.", "图像块就是一个词元。", table)) == []
    assert list(terms("A patch is a token.", "补丁就是一个词元。", table)) == ["patch is 图像块"]
    assert list(terms("The patch embedding", "图像块嵌入", table)) == []
    assert list(terms("`patch` is code", "`patch` 是代码", table)) == []
