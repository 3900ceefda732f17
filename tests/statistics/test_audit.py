"""The audit's answers: every one that is known, each derived a second time from the printed numbers by scipy."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from harness.errors import ConfigurationError
from harness.published import load_families
from harness.statistics.audit import AuditedClaim, audit, write_audit
from harness.statistics.claims import read_claims
from harness.statistics.margins import read_margins
from harness.statistics.paper import read_paper
from harness.typed_csv import read_rows

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "published"
PAPER = read_paper(PUBLISHED / "paper.csv")
ROWS = audit(
    PAPER,
    read_claims(PUBLISHED / "claims.yaml", PAPER),
    read_margins(ROOT / "reports" / "margins.yaml"),
    load_families(ROOT / "reports" / "families.yaml"),
)
BY_ID = {row.id: row for row in ROWS}


def entry(name: str) -> list[AuditedClaim]:
    """The claims of one entry of claims.yaml."""
    return [row for row in ROWS if row.id == name or row.id.startswith(f"{name}.")]


def outcomes(rows) -> dict[str, int]:
    return dict(Counter(row.outcome for row in rows))


def significant(rows, column: str) -> int:
    return sum(getattr(row, column) < 0.05 for row in rows)


def printed(method: str, task: str) -> tuple[float, float]:
    """Read mean and sd straight from the file, past the code under test."""
    with (PUBLISHED / "paper.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if (row["method"], row["task"], row["label_fraction"]) == (method, task, "1.0") and row["sd"]:
                return float(row["mean"]), float(row["sd"])
    raise LookupError(method, task)


def test_figure_four_claims_twelve_significant_gains_and_nine_hold():
    rows = entry("fig4")
    assert len(rows) == 12
    assert outcomes(rows) == {"supported": 9, "contradicted": 3}
    assert {row.id for row in rows if row.outcome == "contradicted"} == {
        "fig4.dira_barlow_twins.siim_acr",
        "fig4.dira_barlow_twins.montgomery",
        "fig4.dira_simsiam.siim_acr",
    }
    counts = {
        column: significant(rows, column) for column in ("p_value", "p_welch", "p_ddof0", "p_one_sided", "p_holm")
    }
    assert counts == {"p_value": 9, "p_welch": 9, "p_ddof0": 9, "p_one_sided": 10, "p_holm": 7}


def test_the_one_figure_four_gain_that_a_one_sided_test_would_save_is_not_robust():
    fragile = [row for row in entry("fig4") if not row.robust]
    assert [row.id for row in fragile] == ["fig4.dira_simsiam.siim_acr"]
    assert "one-sided" in fragile[0].note


def test_two_significant_gains_of_figure_four_are_said_to_be_inside_the_margin_too():
    both = {row.id for row in entry("fig4") if "both significant and inside the margin (±1 points, dice)" in row.note}
    assert both == {"fig4.dira_moco_v2.montgomery", "fig4.dira_simsiam.montgomery"}
    for row in entry("fig4"):  # scipy's t test, once a side
        (a, sa), (b, sb) = printed(row.method, row.task), printed(row.reference, row.task)
        margin = 1.0 if row.task in {"siim_acr", "montgomery"} else 0.5
        lower = stats.ttest_ind_from_stats(a + margin, sa, 10, b, sb, 10, alternative="greater").pvalue
        upper = stats.ttest_ind_from_stats(a - margin, sa, 10, b, sb, 10, alternative="less").pvalue
        assert (row.id in both) == (max(lower, upper, row.p_value) < 0.05)


@pytest.mark.parametrize(
    ("name", "direction", "counts"),
    [
        ("res", 11, {"p_value": 6, "p_welch": 5, "p_ddof0": 5, "p_holm": 1}),
        ("adv", 12, {"p_value": 5, "p_welch": 5, "p_ddof0": 5, "p_holm": 4}),
    ],
)
def test_increments_of_table_four_claim_direction_and_their_p_is_an_annotation(name, direction, counts):
    rows = entry(name)
    assert len(rows) == 12
    assert outcomes(rows).get("supported") == direction
    assert {column: significant(rows, column) for column in counts} == counts
    assert all(row.type == "direction" and "only a direction is claimed" in row.note for row in rows)


def test_the_one_increment_that_falls_is_the_one_the_paper_concedes():
    (row,) = [row for row in entry("res") if row.outcome == "contradicted"]
    assert row.id == "res.simsiam_dir.chestxray14"
    assert "concedes" in row.note


def test_table_three_claims_five_improvements_of_which_four_point_up_and_none_is_significant():
    rows = entry("tab3")
    assert outcomes(rows) == {"supported": 4, "contradicted": 1}
    assert BY_ID["tab3.dira_transvw.pe_cad"].outcome == "contradicted"
    assert significant(rows, "p_value") == 0


def test_fifteen_of_the_sixteen_marks_of_table_two_follow_the_printed_rule():
    rows = [row for row in ROWS if row.source == "tab2" and row.type == "significance"]
    assert len(rows) == 16
    assert outcomes(rows) == {"supported": 15, "contradicted": 1}
    (wrong,) = [row for row in rows if row.outcome == "contradicted"]
    assert wrong.id == "tab2_supervised.dira_moco_v2.chexpert"
    assert wrong.p_value == pytest.approx(0.133, abs=5e-4)
    assert wrong.p_one_sided == pytest.approx(0.067, abs=5e-4)


def test_eight_of_the_nine_stars_of_table_two_are_equivalent_at_the_margins():
    rows = [row for row in ROWS if row.source == "tab2" and row.type == "equivalence"]
    assert outcomes(rows) == {"supported": 8, "not shown": 1}
    assert sum("; equivalent at ±0.5 " in row.note for row in rows) == 6
    assert sum("; equivalent at ±1 " in row.note for row in rows) == 8
    (open_one,) = [row for row in rows if row.outcome == "not shown"]
    assert open_one.id == "tab2_imagenet_equivalent.dira_simsiam.siim_acr"


def test_the_equivalence_claimed_for_pe_cad_is_not_shown_even_at_a_whole_point():
    (row,) = entry("tab3_equivalent")
    assert row.outcome == "not shown"
    assert "not shown at ±1 " in row.note


def test_five_unmarked_contrasts_are_significantly_worse_than_a_supervised_baseline():
    rows = entry("text_on_par_imagenet") + entry("text_on_par_supervised")
    assert len(rows) == 5
    assert all(row.outcome == "contradicted" and row.effect < 0 and row.p_value < 0.05 and row.robust for row in rows)


def test_localization_claims_significance_without_a_spread():
    assert outcomes(entry("tab5")) == {"not testable": 18}
    assert outcomes(entry("tab5_direction")) == {"supported": 18}


def test_all_improvements_under_label_fractions_point_the_claimed_way():
    assert outcomes(entry("tab1")) == {"supported": 27}
    assert all(row.p_value is None for row in entry("tab1"))


def test_the_text_overstates_barlow_twins_on_montgomery_against_both_baselines():
    rows = entry("text_outperforms_imagenet") + entry("text_outperforms_supervised")
    assert [row.id for row in rows if row.outcome == "contradicted"] == [
        "text_outperforms_imagenet.dira_barlow_twins.montgomery",
        "text_outperforms_supervised.dira_barlow_twins.montgomery",
    ]


def test_the_averages_of_the_text_hold_but_one_and_some_are_truncated():
    averages = [row for row in ROWS if row.id.startswith("text_average_")]
    assert len(averages) == 12
    (wrong,) = [row for row in averages if row.outcome == "contradicted"]
    assert (wrong.id, wrong.printed) == ("text_average_barlow_twins_1", "0.5")
    assert wrong.effect == pytest.approx(0.27)
    assert {row.id.removeprefix("text_average_") for row in averages if "truncated, not rounded" in row.note} == {
        "simsiam_25", "barlow_twins_50", "localization_moco_v2", "localization_barlow_twins",
    }  # fmt: skip


def test_fourteen_arrows_of_table_one_are_truncated_and_one_is_rounded():
    rows = entry("tab1_arrow")
    assert outcomes(rows) == {"supported": 27}
    assert sum("truncated, not rounded" in row.note for row in rows) == 14
    assert [row.id for row in rows if "rounded, not truncated" in row.note] == ["tab1_arrow.dira_simsiam.chexpert.0.25"]


def test_two_arrows_of_table_five_are_truncated():
    truncated = [row.id for row in entry("tab5_arrow") if "truncated, not rounded" in row.note]
    assert truncated == [f"tab5_arrow.dira_barlow_twins.chestxray14.{delta}" for delta in (0.2, 0.3)]


def test_the_gains_of_the_text_and_the_arrows_of_table_three_are_exact():
    assert all(row.outcome == "supported" and row.robust for row in entry("fig4_gain") + entry("tab3_arrow"))


T_TESTED = [row for row in ROWS if row.type in {"significance", "direction"} and row.p_value is not None]


def test_every_contrast_with_a_printed_spread_has_a_p_value():
    assert Counter(row.source for row in T_TESTED) == {"fig4": 12, "tab4": 24, "tab2": 16, "tab3": 5, "text": 19}


@pytest.mark.parametrize("row", T_TESTED, ids=lambda row: row.id)
def test_every_p_value_is_what_scipy_gives_for_the_printed_numbers(row):
    method, reference = printed(row.method, row.task), printed(row.reference, row.task)
    for column, correction, equal in (("p_value", 1, True), ("p_welch", 1, False), ("p_ddof0", (10 / 9) ** 0.5, True)):
        expected = stats.ttest_ind_from_stats(
            method[0], method[1] * correction, 10, reference[0], reference[1] * correction, 10, equal_var=equal
        ).pvalue
        assert getattr(row, column) == pytest.approx(expected, rel=1e-6)


def test_no_claim_is_made_twice_and_each_names_its_place():
    assert len(BY_ID) == len(ROWS) == 222
    assert all(row.where and row.claim for row in ROWS)


def test_a_stricter_level_supports_no_more_significance_claims():
    paper_claims = read_claims(PUBLISHED / "claims.yaml", PAPER)
    margins, families = read_margins(ROOT / "reports" / "margins.yaml"), load_families(ROOT / "reports/families.yaml")
    strict = [row for row in audit(PAPER, paper_claims, margins, families, 0.001) if row.id.startswith("fig4.")]
    assert sum(row.outcome == "supported" for row in strict) == sum(row.p_value < 0.001 for row in entry("fig4")) < 9


def test_the_committed_audit_is_the_one_the_committed_numbers_give(tmp_path):
    write_audit(tmp_path / "audit.csv", ROWS)
    assert (tmp_path / "audit.csv").read_bytes() == (PUBLISHED / "audit.csv").read_bytes(), (
        "results/published/audit.csv is stale; run `dira-bench audit` and commit it with what changed"
    )


def test_the_audit_survives_a_round_trip_through_its_file(tmp_path):
    write_audit(tmp_path / "a.csv", ROWS)
    write_audit(tmp_path / "b.csv", read_rows(tmp_path / "a.csv", AuditedClaim))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (
            "{id: x, source: tab4, type: direction, where: w, claim: c, pairs: [[a, b]], tasks: [t]}",
            "either says or marks",
        ),
        (
            "{id: x, source: tab4, type: direction, says: better, where: w, claim: c, pairs: [[a, b]], tasks: [t]}",
            'says "higher", found "better"',
        ),
        (
            "{id: x, source: tab1, type: arithmetic, where: w, claim: c, pairs: [[a, b]], tasks: [t]}",
            "quantity belongs to arithmetic",
        ),
        (
            "{id: x, source: tab4, type: arithmetic, quantity: arrow, where: w, claim: c, "
            "pairs: [[dira_moco_v2, moco_v2]], tasks: [montgomery]}",
            "which tab4 does not print",
        ),
    ],
)
def test_a_claim_that_contradicts_itself_or_the_paper_is_refused(tmp_path, claim, expected):
    path = tmp_path / "claims.yaml"
    path.write_text(f"claims:\n  - {claim}\n")
    with pytest.raises(ConfigurationError, match=expected):
        read_claims(path, PAPER)
