"""The paper's numbers: complete, and consistent with themselves where the paper is."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.statistics.paper import read_paper

PATH = Path(__file__).parents[2] / "results" / "published" / "paper.csv"
PAPER = read_paper(PATH)
SCORES = [number for number in PAPER.numbers if number.kind == "score"]


def test_the_file_holds_all_177_printed_cells():
    assert len(PAPER.numbers) == 177
    assert Counter(number.place for number in PAPER.numbers) == {
        "tab1": 54, "tab2": 24, "tab3": 15, "tab4": 36, "tab5": 36, "fig4": 12,
    }  # fmt: skip
    assert sum(number.mean is not None for number in PAPER.numbers) == 176
    assert sum(number.sd is not None for number in PAPER.numbers) == 74
    assert sum(number.printed_difference is not None for number in PAPER.numbers) == 49


def test_only_the_cell_that_the_paper_prints_as_not_applicable_has_no_mean():
    absent = [(n.place, n.method, n.task) for n in PAPER.numbers if n.mean is None]
    assert absent == [("tab2", "chestxray14_supervised", "chestxray14")]


def test_tables_two_three_and_four_print_a_spread_for_every_mean_and_the_others_none():
    for number in SCORES:
        if number.mean is not None:
            assert (number.sd is not None) == (number.place in {"tab2", "tab3", "tab4"})


def test_the_dira_cells_of_table_two_repeat_table_four():
    four = {(n.method, n.task): (n.mean, n.sd) for n in SCORES if n.place == "tab4"}
    shared = [n for n in SCORES if n.place == "tab2" and n.method.startswith("dira")]
    assert len(shared) == 12
    for number in shared:
        assert (number.mean, number.sd) == four[number.method, number.task]


def test_the_gains_of_figure_four_are_the_differences_of_table_four():
    four = {(n.method, n.task): n.mean for n in SCORES if n.place == "tab4"}
    gains = [n for n in PAPER.numbers if n.kind == "gain"]
    assert len(gains) == 12
    for gain in gains:
        assert gain.mean == four[gain.method, gain.task] - four[gain.reference, gain.task]


def test_every_printed_difference_lies_within_a_unit_of_the_difference_of_means():
    for number in SCORES:
        if number.printed_difference is not None:
            reference = PAPER.score(number.reference, number.task, number.label_fraction, number.delta)
            unit = Decimal(1).scaleb(number.printed_difference.as_tuple().exponent)
            assert abs(number.mean - reference.mean - number.printed_difference) < unit


def test_the_arrows_of_table_four_point_where_its_means_do():
    arrows = [n for n in SCORES if n.place == "tab4" and n.arrow]
    assert len(arrows) == 24
    for number in arrows:
        gain = number.mean - PAPER.score(number.reference, number.task, 1.0).mean
        assert number.arrow == ("up" if gain > 0 else "down")


def test_table_two_prints_sixteen_marks_of_which_nine_are_stars():
    marks = Counter(mark for n in SCORES for mark in (n.mark_imagenet, n.mark_supervised) if mark)
    assert marks == {"↑": 7, "*": 9}


def test_a_cell_that_two_tables_print_names_both():
    assert PAPER.places("dira_simsiam", "siim_acr", 1.0) == "tab2;tab4"
    assert PAPER.places("simsiam", "chestxray14", 1.0, 0.3) == "tab5"


def test_bad_rows_are_named_by_line_all_at_once(tmp_path):
    lines = PATH.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace("tab1", "tab9")
    lines[2] = lines[2].replace("74.89", "seventy")
    bad = tmp_path / "paper.csv"
    bad.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigurationError) as error:
        read_paper(bad)
    assert "line 2" in str(error.value)
    assert "'seventy'" in str(error.value)
