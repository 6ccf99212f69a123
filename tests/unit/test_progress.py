"""Progress bars: what they count, and that there is one on a terminal at a time."""

import pytest

from tutorial_utils.progress import bar, each


def test_each_gives_all_items_and_counts_those_that_are_done(capsys):
    assert list(each("abc", "reading", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().out.startswith("reading ") and list(each([], "reading", "letters")) == []


def test_one_that_is_cut_short_shows_how_far_it_came(capsys):
    with pytest.raises(KeyError):
        for letter in each("abc", "reading", "letters"):
            {"a": 1}[letter]
    assert "1/3 letters" in capsys.readouterr().out


def test_a_bar_within_another_is_not_shown_and_the_next_one_is(capsys):
    with bar("training", "steps") as progress:
        for done in each(range(3), "measuring", "batches"):
            progress(done + 1, 3)
    list(each("ab", "judging", "images"))
    out = capsys.readouterr().out
    assert "measuring" not in out and "3/3 steps" in out and "2/2 images" in out


def test_a_bar_that_an_error_ended_hides_no_later_one(capsys):
    with pytest.raises(ValueError, match="no"), bar("training", "steps"):
        raise ValueError("no")
    list(each("ab", "judging", "images"))
    assert "judging" in capsys.readouterr().out
