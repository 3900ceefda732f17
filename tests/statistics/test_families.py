"""What the paper prints, as closed lists."""

from collections import Counter
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.published import CellKey, load_families
from harness.statistics.margins import margin_of, read_margins
from harness.statistics.paper import read_paper

ROOT = Path(__file__).parents[2]
FAMILIES = load_families(ROOT / "reports" / "families.yaml")


def test_the_tables_come_to_134_cells_of_which_116_are_distinct():
    sizes = {table: len(cells) for table, cells in FAMILIES.table_cells().items()}
    assert sizes == {"tab1": 54, "tab2": 23, "tab3": 15, "tab4": 36, "tab5": 6}
    assert sum(sizes.values()) == 134
    assert len(FAMILIES.published_cells()) == len(FAMILIES.cell_order()) == 116 == 54 + 36 + 11 + 15


def test_the_families_are_closed_lists_of_the_sizes_the_paper_gives_them():
    assert {name: FAMILIES.size(name) for name in FAMILIES.families} == {
        "fig4": 12, "res": 12, "adv": 12, "tab2_imagenet": 12, "tab2_supervised": 9, "tab1": 27, "tab3": 5, "tab5": 18,
    }  # fmt: skip


def test_each_contrast_belongs_to_one_family():
    counts = Counter(key[1:] for key in FAMILIES.contrasts())
    assert sum(counts.values()) == 107
    assert set(counts.values()) == {1}


def test_every_cell_of_a_table_is_a_number_the_paper_prints_there_and_the_other_way_round():
    printed: dict[str, set[CellKey]] = {}
    for number in read_paper(ROOT / "results" / "published" / "paper.csv").numbers:
        if number.kind == "score" and number.mean is not None:
            printed.setdefault(number.place, set()).add(CellKey(number.method, number.task, number.label_fraction))
    assert printed == {table: set(cells) for table, cells in FAMILIES.table_cells().items()}


def test_a_malformed_file_gets_every_error_at_once_one_sentence_each(tmp_path):
    path = tmp_path / "families.yaml"
    path.write_text(
        "tables:\n"
        "  tab1: {label: one, methods: [a, b], tasks: [t], label_fractions: [1.0, 25], except: [[c, t]]}\n"
        "families:\n"
        "  first: {label: f, place: p, pairs: [[a, b]], tasks: [t], label_fractions: [1.0]}\n"
        "  second: {label: s, place: p, pairs: [[a, b], [a, a], [a, z]], tasks: [t], label_fractions: [1.0]}\n"
    )
    with pytest.raises(ConfigurationError) as error:
        load_families(path)
    lines = str(error.value).splitlines()
    assert len(lines) == 5
    for expected in (
        "the label fraction 25 lies outside (0, 1]",
        "except names c × t",
        "already belongs to first",
        "compares a method with itself",
        "needs the cell of z, which no table prints",
    ):
        assert sum(expected in line for line in lines) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tables: {", "is not YAML"),
        ("tables: {}\nfamilies: {x: {label: l}}", "families.x.pairs: missing; add it"),
        ("tables: {}\nfamilies: {}\ntable: 1", 'table: unknown key; did you mean "tables"'),
        ("tables: {a: {label: true}}\nfamilies: {}", "tables.a.label: found True; expected text"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_says_where(tmp_path, text, expected):
    path = tmp_path / "families.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=expected):
        load_families(path)


def test_an_absent_file_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="restore it"):
        load_families(tmp_path / "families.yaml")


def test_every_metric_the_paper_prints_has_a_margin():
    margins = read_margins(ROOT / "reports" / "margins.yaml")
    assert margins == {"auc": 0.5, "dice": 1.0, "iou": 1.0, "localization": 2.0}
    assert margin_of("localization_30", margins) == 2.0
    with pytest.raises(ConfigurationError, match='no margin for the metric "hausdorff"'):
        margin_of("hausdorff", margins)


@pytest.mark.parametrize("text", ["auc: -0.5", "auc: wide", "auc: true", "[]", ""])
def test_a_margin_that_is_no_positive_number_is_refused(tmp_path, text):
    path = tmp_path / "margins.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="expected"):
        read_margins(path)


def test_an_added_family_asks_a_published_question_or_names_its_references(tmp_path):
    head = (ROOT / "reports" / "families.yaml").read_text()
    path = tmp_path / "families.yaml"
    path.write_text(
        head
        + "  added: {label: taken, like: res}\n"
        + "  neither: {label: n}\n"
        + "  both: {label: b, like: res, against: [random]}\n"
        + "  unknown: {label: u, like: rez}\n"
    )
    with pytest.raises(ConfigurationError) as error:
        load_families(path)
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    for line, expected in zip(
        lines, ('"added" is taken', "found neither", "found both", 'found like "rez"'), strict=True
    ):
        assert expected in line


def test_every_published_pair_is_asked_once_on_added_tasks():
    published = {(pair, delta) for family in FAMILIES.families.values() for pair in family.pairs
                 for delta in family.deltas or (None,)}  # fmt: skip
    asked = Counter(
        (pair, delta)
        for name, family in FAMILIES.added.items()
        if family.like
        for pair in FAMILIES.added_pairs(name, ())
        for delta in FAMILIES.added_deltas(name)
    )
    assert set(asked) == published
    assert set(asked.values()) == {1}


def test_a_malformed_family_of_ones_own_gets_one_sentence_a_mistake(tmp_path):
    path = tmp_path / "families.yaml"
    text = (ROOT / "reports" / "families.yaml").read_text()
    path.write_text(
        text + "own:\n"
        "  fig4: {label: taken, pairs: [[a, b]]}\n"
        "  one: {label: twice, pairs: [[dira_moco_v2, moco_v2]], tasks: [chexpert], label_fractions: [1.0]}\n"
        "  two: {label: itself, pairs: [[a, a]], label_fractions: [25]}\n"
    )
    with pytest.raises(ConfigurationError) as error:
        load_families(path)
    lines = str(error.value).splitlines()
    expected = (
        'own.fig4: the name "fig4" is taken',
        "own.one: dira_moco_v2 − moco_v2 on chexpert at 1 already belongs to fig4",
        "own.two: the label fraction 25 lies outside (0, 1]",
        "own.two: a is compared with itself",
    )
    assert len(lines) == len(expected)
    for line, found in zip(lines, expected, strict=True):
        assert f"{path}, {found}" in line
    path.write_text(text + "own:\n  mine: {label: x, pairs: [[a, b]], task: [t]}\n")
    with pytest.raises(ConfigurationError, match=r'own\.mine\.task: unknown key; did you mean "tasks"\?'):
        load_families(path)
