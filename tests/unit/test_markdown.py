"""Markdown tables as every report writes them."""

from __future__ import annotations

import pytest

from ser_edge.markdown import table


def test_a_table():
    rows = [("a|b", 1), ("two\nlines", "")]
    assert table(("name", ""), rows) == ("| name | |\n|---|---|\n| a\\|b | 1 |\n| two lines | |")


@pytest.mark.parametrize(
    ("align", "rule"),
    [("", "|---|---|---|"), ("lr", "|---|---:|---:|"), ("rll", "|---:|---|---|")],
)
def test_the_last_alignment_holds_for_what_follows(align, rule):
    assert table("abc", [], align).splitlines()[1] == rule


def test_a_row_of_another_length():
    with pytest.raises(ValueError, match="a row has 1 cells, the table 2 columns"):
        table(("a", "b"), [("a",)])
