"""A method whose pretext task was not learnt is marked wherever a number or a contrast of it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.descriptions import PretrainingDescription
from harness.gates import GateRow, judge, read_gates, verdicts
from harness.statistics.schema import CellSummary, Comparison, View
from harness.statistics.summary import read_cells, read_comparisons
from harness.typed_csv import write_rows
from reports.render import build
from tests.reports.fixture_results import METHODS, PARAMETERS, REPOSITORY, TASKS
from tests.reports.shown import table_of
from tests.reports.test_render import Page, prepare

MOCO = "methods.terms.moco_v2:MocoV2"
UNLEARNT = "moco_v2"
WHY = "own key, undistorted 0.01, asked at least 0.05 (12.8 × chance)"


def measured(own_key: float) -> dict:
    values = {"own_key": (own_key, 1 / 256, 0.004), "key_cross_entropy": (3.9, 5.545, 5.5), "spread": (0.9, None, 0.3)}
    measurements = [
        {"measure": name, "role": "discrimination", "term": MOCO, "views": "undistorted", "value": value,
         "chance": chance, "start": start, "images": 1024, "among": None}
        for name, (value, chance, start) in values.items()
    ]  # fmt: skip
    return {"configuration": {"terms": [{"configuration": {"type": MOCO}}]}, "measurements": measurements}


def gates() -> list[GateRow]:
    declared = read_gates(REPOSITORY / "methods" / "gates.yaml")
    chains = {
        UNLEARNT: [{"name": "dis", **measured(0.01)}],
        "moco_v2_dir": [{"name": "dis", **measured(0.01)}, {"name": "dis+res", **measured(0.137)}],
    }
    return [
        row
        for method, phases in chains.items()
        for row in judge(
            PretrainingDescription.model_validate(
                {"method": method, "pretraining_seeds": [{"pretrain_seed": 0, "phases": phases}]}
            ),
            declared,
            "fixture",
        )
    ]


def mark(profile: Path) -> None:
    """Write what statistics write of a profile in which one base was not learnt."""
    words = {method: verdict.word for method, verdict in verdicts(gates()).items()}

    def gate(row: Comparison) -> str:
        sides = (("method", row.method), ("reference", row.reference))
        return "; ".join(f"{side} not learnt" for side, name in sides if words.get(name) == "not learnt")

    write_rows(profile / "gates.csv", GateRow, gates())
    cells, contrasts = read_cells(profile / "cells.csv"), read_comparisons(profile / "comparisons.csv")
    marked = [c.model_copy(update={"gate": words.get(c.method, "not gated")}) for c in cells]
    write_rows(profile / "cells.csv", CellSummary, marked)
    write_rows(profile / "comparisons.csv", Comparison, [c.model_copy(update={"gate": gate(c)}) for c in contrasts])
    view = View(
        kind="probability of improvement", family="fig4", family_label="DiRA against its base", method="dira_moco_v2",
        reference=UNLEARNT, task="", estimate=0.6, low=0.5, high=0.7, units=2, gate=f"not learnt: {UNLEARNT}",
    )  # fmt: skip
    write_rows(profile / "views.csv", View, [view])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    results, reports, methods = prepare(tmp_path_factory.mktemp("learnt"), synthetic=True)
    mark(results / "miniature")
    build(results, reports, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS)
    return reports / "miniature"


def rows_of(markdown: str, label: str) -> list[str]:
    escaped = re.escape(label).replace(r"\-", "-")
    return [line for line in markdown.splitlines() if re.match(rf"\| {escaped}(<br>|\s*\|)", line)]


def test_the_marks_of_the_fixture_are_what_the_gates_come_to():
    found = verdicts(gates())
    assert {method: verdict.word for method, verdict in found.items()} == {
        UNLEARNT: "not learnt",
        "moco_v2_dir": "learnt",
    }
    assert found[UNLEARNT].why == WHY


@pytest.mark.parametrize("table", ["tab1", "tab4"])
def test_its_row_is_marked_in_every_table_and_no_other_row_is(folder, table):
    text = (folder / "tables" / f"{table}.md").read_text()
    (own,) = rows_of(text, METHODS[UNLEARNT])
    assert own.startswith(f"| {METHODS[UNLEARNT]}<br>**not learnt**")
    others = [line for name, label in METHODS.items() if name != UNLEARNT for line in rows_of(text, label)]
    assert others and not any("**not learnt**" in line for line in others)
    assert WHY.replace("_", r"\_") in text
    tex = (folder / "tables" / f"{table}.tex").read_text()
    assert rf"{METHODS[UNLEARNT]} \emph{{(not learnt)}} & " in tex
    assert tex.count(r"\emph{(not learnt)}") == tex.count(rf"{METHODS[UNLEARNT]} \emph{{(not learnt)}}")
    page = (folder / "tables" / f"{table}.html").read_text()
    assert page.count(f'{METHODS[UNLEARNT]}<span class="unlearnt">not learnt</span>') == 1
    assert WHY in Page(page).text


def test_each_contrast_with_it_says_so_beside_its_finding_and_no_other_does(folder):
    for name in ("tab1.md", "tab4.md", "added.md"):
        lines = (folder / "tables" / name).read_text().splitlines()
        contrasts = [line for line in lines if " − " in line.partition("|")[2].partition("|")[0]]
        with_it = [line for line in contrasts if re.search(rf" − {METHODS[UNLEARNT]}(,| +\|)", line)]
        without = [line for line in contrasts if line not in with_it]
        assert with_it and all("reference not learnt" in line for line in with_it)
        assert not any("reference not learnt" in line for line in without)
        assert not any("method not learnt" in line for line in lines)


def test_marks_that_refer_to_it_name_it_as_not_learnt(folder):
    text = (folder / "tables" / "tab4.md").read_text()
    assert f"marks vs {METHODS[UNLEARNT]} (not learnt)" in text


def test_the_report_lists_every_gate_of_every_phase_and_which_phase_decides(folder):
    text = (folder / "report.html").read_text()
    rows = table_of(text, "gates").rows
    words = {word for row in rows for word in row}
    for word in ("0.01", "0.00391", "at least 0.05 (12.8 × chance)", "at least 0.008 (2 × start)", "failed", "passed",
                 "dis+res, decides"):  # fmt: skip
        assert word in words, word
    assert sum("spread, undistorted" in row for row in rows) == 3
    assert all(row[0] and row[1] and row[2] for row in rows)  # sorted, a row still says whose it is
    summary = Page(text[text.index('<section id="summary">') : text.index('<section id="contrasts">')]).text
    assert f"1 not learnt: {METHODS[UNLEARNT]}." in summary
    assert any(f"not learnt: {METHODS[UNLEARNT]}" in row[0] for row in table_of(text, "improvement").rows)
    markdown = (folder / "tables" / "gates.md").read_text()
    assert "SYNTHETIC" in markdown and markdown.count("| failed") == 2


def test_random_stands_in_every_table_but_the_latex_twins_of_the_papers(folder):
    names = [path.stem for path in (folder / "tables").glob("*.html")]  # gates.md and answers.md are no such tables
    assert {"tab1", "tab2", "tab4", "added"} <= set(names)
    for name in names:
        assert rows_of((folder / "tables" / f"{name}.md").read_text(), METHODS["random"]), name
        page = (folder / "tables" / f"{name}.html").read_text()
        assert re.search(r'<th scope="row">Random\b', page), name
    printed = {"tab2": 1, "tab1": 0, "tab4": 0, "added": 1}
    for name, rows in printed.items():
        lines = (folder / "tables" / f"{name}.tex").read_text().splitlines()
        assert sum(line.startswith("Random & ") for line in lines) >= rows
        assert rows or not any(line.startswith("Random & ") for line in lines), name
