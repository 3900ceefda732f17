"""A profile on real images whose tasks the paper does not have: tables, answers and figures that say scale and sample."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.descriptions import CohortCounts, CohortDescription
from harness.published import OF_METHODS, load_families
from harness.results.shown import PANELS
from harness.statistics.summary import read_comparisons
from reports.render import build
from reports.render.answers import answers
from reports.render.inputs import read_layouts, read_results
from reports.render.setting import boxes_of, setting
from tests.reports.fixture_results import REPOSITORY
from tests.reports.own_results import (
    CREDIT,
    METHODS,
    PARAMETERS,
    PICTURED,
    PROFILE,
    SCALE,
    TASKS,
    values,
    write_own_results,
)
from tests.reports.shown import shown

LABELS = {name: facts.label for name, facts in METHODS.items()}
COLUMNS = {name: facts.label for name, facts in TASKS.items()}
FILMS = "Films: 1,000 images of 112,120, chosen by label; view and label are confounded."
SETTING = f"{SCALE}. {FILMS}"
ALPHA = 0.05


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> tuple[Path, Path]:
    """Results and the built pages."""
    results, reports = write_own_results(tmp_path_factory.mktemp("own"))
    build(results, reports, PROFILE, parameters=PARAMETERS, methods=LABELS, tasks=COLUMNS)
    return results, reports / PROFILE


@pytest.fixture(scope="module")
def found(own):
    layouts = read_layouts(REPOSITORY / "reports" / "tables.yaml")
    return {
        answer.name: answer
        for answer in answers(layouts.answers, read_results(own[0], PROFILE, LABELS, COLUMNS), LABELS, COLUMNS, ALPHA)
    }


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_the_table_of_own_tasks_has_every_method_in_the_registrys_order_and_every_column(own):
    lines = [line for line in (own[1] / "tables" / "tasks.md").read_text().splitlines() if line.startswith("|")]
    assert [cells_of(line)[0].split("<br>")[0] for line in lines[2:]] == list(LABELS.values())
    headings = [cell.split("<br>")[0].replace("\u00a0", " ") for cell in cells_of(lines[0])]
    assert headings[4:] == ["Films, 10 % (AUC)", "Films (AUC)", "Lungs, 8 % (Dice)", "Lungs (Dice)"]
    assert "60 + 100 labels" in lines[0]
    row = cells_of(lines[2 + list(LABELS).index("dira_moco_v2")])
    assert row[0].endswith("marks vs Random, MoCo-v2 + res")
    assert row[1:4] == ["✓"] * 3
    drawn = values("dira_moco_v2", "lungs", 1.0)
    assert f"{drawn.mean():.2f}" in row[7] and f"± {drawn.std(ddof=1):.2f}" in row[7]


def test_each_table_and_figure_says_scale_and_sample_once(own):
    folder = own[1]
    for name in ("tasks", "tasks_localization"):
        assert (folder / "tables" / f"{name}.md").read_text().count(SETTING) == 1
        assert (folder / "tables" / f"{name}.html").read_text().count(SETTING) == 1
        assert SCALE in (folder / "tables" / f"{name}.tex").read_text()
    report = (folder / "report.html").read_text()
    head = report[report.index('<header class="page">') : report.index('<nav class="page"')]
    assert head.count("Real images: 64 px, sample of 1,000 (Films); 64 px (Lungs).") == 1
    data = shown(report)
    assert {table.setting.count(SCALE) for table in data.tables} == {1}
    blocks = re.findall(r'<details class="figure".*?</details>', report, re.DOTALL)
    assert len(blocks) >= 3 and {block.count(SCALE) for block in blocks} == {1}
    for path in (folder / "figures").glob("*.svg"):
        assert SCALE in path.read_text(), path.name  # in the description
        picture = data.figures[path.stem]
        assert picture.count("Real images: 64 px, sample of 1,000 (Films)") == 1
        of_films = path.stem in ("maps_added", "family_added_localization")  # boxes are of Films alone
        assert ("; 64 px (Lungs)." in picture) != of_films, path.name
    assert not any(b"SYNTHETIC" in path.read_bytes() for path in folder.rglob("*.*"))


def test_agreement_is_not_comparable_for_scale_and_sample_in_table_and_report(own):
    text = (own[1] / "tables" / "tasks.md").read_text()
    assert "Agreement with the paper on Films: not comparable (64 px, sample of 1,000)." in text
    assert "Agreement with the paper on Lungs: not comparable (64 px)." in text
    report = (own[1] / "report.html").read_text()
    assert {(c.agreement, c.reason) for c in shown(report).contrasts} >= {("not comparable", "64 px, sample of 1,000")}
    assert "not comparable: 64 px, sample of 1,000" in report


def test_the_number_of_boxes_stands_beside_the_figures_of_localization(own):
    text = (own[1] / "tables" / "tasks_localization.md").read_text()
    assert "Films has 49 annotated boxes on 44 images (43 Pneumonia, 6 Effusion)." in text
    assert "δ = 0.6" in text
    assert boxes_of(CohortDescription(counts=CohortCounts(images=5)), "Lungs") == ""


def test_the_few_real_pictures_are_drawn_with_credit_and_boxes_and_no_more_than_may_be(own):
    folder = own[1]
    svg = (folder / "figures" / "maps_added.svg").read_text()
    assert svg.count("<image") == 12  # three pairs of methods: two panels, under two models each
    assert PICTURED + svg.count("<image") <= PANELS
    report = (folder / "report.html").read_text()
    parts = re.findall(r'<details class="figure".*?</details>', report, re.DOTALL)
    caption = next(part for part in parts if 'id="figure-maps_added"' in part)
    picture = shown(report).figures["maps_added"]
    assert CREDIT in caption and CREDIT in picture
    figure = caption + picture
    assert "Films has 49 annotated boxes on 44 images (43 Pneumonia, 6 Effusion)." in figure
    assert "Pneumonia" in figure and "stay in their data root" not in figure


def test_a_scale_that_differs_between_tasks_is_said_of_each_and_made_up_images_say_none():
    cohorts = {
        "a": CohortDescription(scale="64 px"),
        "b": CohortDescription(scale="28 px"),
        "c": CohortDescription(synthetic=True, scale="32 px"),
        "d": CohortDescription(),
    }
    names = {name: name.upper() for name in cohorts}
    assert setting(cohorts, names, names) == "64 px (A). 28 px (B)."
    assert setting(cohorts, names, ["a", "a"]) == "64 px."
    assert setting(cohorts, names, ["c", "d"]) == ""


def test_every_question_is_answered_by_its_corrected_contrasts_and_the_counts_add_up(own, found):
    comparisons = read_comparisons(own[0] / PROFILE / "comparisons.csv")
    assert list(found) == ["restoration", "adversary", "dira", "random", "localization", "controls"]
    for answer in found.values():
        counts = [int(n) for n in re.findall(r"(\d+) (?=better|worse|significant|equivalent|unresolved|identical|at the)",
                                              answer.sentences[0])]  # fmt: skip
        assert sum(counts) == len(answer.contrasts)
    random = [c for c in comparisons if c.reference == "random"]
    assert len(found["random"].contrasts) == len(random) == 11 * 4
    stands = [c for c in random if c.finding == "better" and c.p_holm < ALPHA]
    assert stands
    assert found["random"].short == f"yes, in {len(stands)} of 44"
    text = " ".join(found["random"].sentences).replace("\u00a0", " ")
    for c in stands:
        assert f"{c.method_label} +{c.effect:.2f}" in text
    for column in {(c.task_label, c.label_fraction) for c in stands}:
        assert f"Better on {column[0]}" in text


def test_what_is_significant_alone_is_not_called_a_yes(found):
    answer = found["restoration"]
    alone = [c for c in answer.contrasts if c.finding == "better"]
    assert alone and all(c.p < ALPHA <= c.p_holm for c in alone)
    assert answer.short == "unresolved"
    assert f"{len(alone)} significant alone but not after correction" in answer.sentences[0]


def test_an_answer_names_patients_pretraining_and_what_could_have_been_found(found):
    said = " ".join(found["random"].sentences)
    assert "interval over resampled test patients" in said
    assert "rest on one checkpoint a side" in said
    assert "these runs would have found effects from" in said
    assert "Mean gain over 3 bases" in " ".join(found["restoration"].sentences)


def test_answers_stand_in_the_report_and_in_markdown(own, found):
    report, text = (own[1] / "report.html").read_text(), (own[1] / "tables" / "answers.md").read_text()
    for answer in found.values():
        assert f'id="answer-{answer.name}"' in report
        assert f"## {answer.question}" in text
    assert text.count(SETTING) == len(
        [answer for answer in found.values() if "films" in {c.task for c in answer.contrasts}]
    )
    assert "No task of this profile is one that the paper prints" in report
    assert "asked of other images" in report


def test_questions_tables_and_figures_name_families_that_exist():
    layouts = read_layouts(REPOSITORY / "reports" / "tables.yaml")
    families = load_families(REPOSITORY / "reports" / "families.yaml")
    known = {*families.families, *families.added, OF_METHODS, "added_random"}
    for question in layouts.answers.values():
        assert set(question.families) <= known
    asked = {family for question in layouts.answers.values() for family in question.families}
    assert asked == known
    for layout in layouts.added.values():
        assert set(layout.marks) <= known
    assert {layout.family for layout in (*layouts.figures.values(), *layouts.panels.values())} <= known
