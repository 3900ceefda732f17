"""A table of one's own is one key in reports/tables.yaml, shown in every format, in the added block."""

from __future__ import annotations

import csv
import io
import statistics

import pytest

from harness.errors import ConfigurationError
from harness.published import load_families
from harness.typed_csv import table_text
from reports.render import pages
from reports.render.build import tables_of
from reports.render.formats import markdown
from reports.render.inputs import read_layouts, read_results
from reports.render.latex import latex
from reports.render.printed import PrintedCell, printed_cells
from tests.reports.own_results import METHODS, PROFILE, TASKS, values, write_own_results

LABELS = {name: facts.label for name, facts in METHODS.items()}
COLUMNS = {name: facts.label for name, facts in TASKS.items()}
KEY = """
own:
  bases:
    title: "Bases on films"
    caption: "Which base is best at few labels?"
    methods: [simsiam, moco_v2, barlow_twins, restoration_only]
    tasks: [lungs, films]
    label_fractions: [1.0]
    against: [random, dira_moco_v2]
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    results, reports = write_own_results(tmp_path_factory.mktemp("own"))
    with (reports / "tables.yaml").open("a") as stream:
        stream.write(KEY)
    return results, reports


@pytest.fixture(scope="module")
def built(own):
    layouts, families = read_layouts(own[1] / "tables.yaml"), load_families(own[1] / "families.yaml")
    data = read_results(own[0], PROFILE, LABELS, COLUMNS)
    return {table.name: table for table in tables_of(layouts, families, data, LABELS, COLUMNS)[0]}


def mean(method, task):
    return statistics.fmean(values(method, task, 1.0))


def test_a_key_makes_a_table_with_its_rows_columns_and_marks_in_the_order_in_which_it_names_them(built):
    table = built["bases"]
    assert not table.published and [row.method for row in table.added] == [
        "simsiam", "moco_v2", "barlow_twins", "restoration_only",
    ]  # fmt: skip
    assert [(c.task, c.label_fraction, c.metric) for c in table.columns] == [
        ("lungs", 1.0, "dice"), ("films", 1.0, "auc"),
    ]  # fmt: skip
    references = {row.method: [c.reference for c in row.entries[0].contrasts] for row in table.added}
    assert references == {
        "simsiam": ["random"], "moco_v2": ["random"], "barlow_twins": ["random"],
        "restoration_only": ["random", "dira_moco_v2"],
    }  # fmt: skip
    (note,) = [text for text in table.added_notes if text.startswith("No mark")]
    assert "moco_v2 − dira_moco_v2" in note and "restoration_only" not in note


def test_its_rows_are_ranked_among_themselves(built):
    for place, task in enumerate(("lungs", "films")):
        order = sorted((row.method for row in built["bases"].added), key=lambda name: mean(name, task))
        ranked = {row.method: row.entries[place] for row in built["bases"].added}
        assert [name for name in ranked if ranked[name].best] == order[-1:]
        assert [name for name in ranked if ranked[name].second] == order[-2:-1]


def test_it_is_written_as_csv_markdown_html_and_latex(built):
    table = built["bases"]
    rows = list(csv.DictReader(io.StringIO(table_text(PrintedCell, printed_cells(table)))))
    assert [(row["method"], row["task"]) for row in rows[:2]] == [("simsiam", "lungs"), ("simsiam", "films")]
    for row in rows:
        assert float(row["mean"]) == pytest.approx(mean(row["method"], row["task"]), abs=1e-6)
        assert row["block"] == "added" and len(row["references"].split(";")) == len(row["findings"].split(";"))
    printed = f"{mean('moco_v2', 'films'):.2f}"
    for text in (markdown(table, 0.05), latex(table, 0.05), pages.table_page(table, 0.05, "../report.html")):
        assert "Bases on films" in text or "Which base is best" in text
        assert printed in text


def test_it_changes_no_other_table(own, built):
    layouts = read_layouts(own[1] / "tables.yaml").model_copy(update={"own": {}})
    data = read_results(own[0], PROFILE, LABELS, COLUMNS)
    others, _ = tables_of(layouts, load_families(own[1] / "families.yaml"), data, LABELS, COLUMNS)
    assert {table.name: table for table in others} == {k: v for k, v in built.items() if k != "bases"}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("against:", "aginst:", r'own\.bases\.aginst: unknown key; did you mean "against"'),
        ("  bases:", "  tab4:", r"own\.tab4: the name is taken"),
        ("[1.0]", "[100]", r"own\.bases\.label_fractions\.0: found 100; expected less than or equal to 1"),
    ],
)
def test_a_mistake_in_a_key_gets_one_sentence(own, tmp_path, old, new, found):
    path = tmp_path / "tables.yaml"
    text = (own[1] / "tables.yaml").read_text()
    head, _, tail = text.partition("\nown:")
    path.write_text(head + "\nown:" + tail.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=found) as refused:
        read_layouts(path)
    assert len(str(refused.value).splitlines()) == 1


def test_a_metric_that_none_of_its_tasks_has_gets_one_sentence(own):
    layouts = read_layouts(own[1] / "tables.yaml")
    wrong = layouts.own["bases"].model_copy(update={"metric": "dise"})
    data = read_results(own[0], PROFILE, LABELS, COLUMNS)
    with pytest.raises(ConfigurationError, match=r'no metric "dise" in .*own\.bases; did you mean "dice"'):
        tables_of(
            layouts.model_copy(update={"own": {"bases": wrong}}),
            load_families(own[1] / "families.yaml"), data, LABELS, COLUMNS,
        )  # fmt: skip
