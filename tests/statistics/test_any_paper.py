"""Any paper's table: DiRA's own through a stranger's door, a worked example out of the docs, and files that are none."""

import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from scipy import stats

from harness.cli.auditing import audit, print_audit
from harness.cli.session import console
from harness.errors import ConfigurationError
from harness.statistics.any_paper.audit import TableClaim, audit_table
from harness.statistics.any_paper.claims import read_claim_lines
from harness.statistics.any_paper.table import read_table
from harness.statistics.audit import AuditedClaim, subject
from harness.statistics.margins import read_margins
from harness.typed_csv import read_rows
from reports.render.audited import FILES, write_table_audit

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "published"
DOCUMENT = ROOT / "docs" / "auditing-a-table.md"
EXAMPLES = ROOT / "docs" / "examples"
MARGINS = read_margins(ROOT / "reports" / "margins.yaml")
HEADER = "method,task,metric,mean,sd,n\n"
TABLE = HEADER + "A,Heart,dice,90.00,0.50,5\nB,Heart,dice,91.00,0.50,5\n"
CLAIMS = "type,method,reference,task\n"

# Runs the command where no torch can be imported, as after an installation of requirements/report.txt.
WITHOUT_TORCH = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "lightly", "segmentation_models_pytorch", "captum",
                                      "albumentations", "monai", "cv2", "safetensors", "nibabel", "pydicom"):
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Forbidden())
from harness.cli import main
main()
"""


def bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``dira-bench`` in a folder that is no checkout, without torch."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], cwd=folder, capture_output=True, text=True, encoding="utf-8"
    )


def audited(folder: Path, table: str, claims: str, margins=MARGINS, scale="points", alpha=0.05) -> list[TableClaim]:
    (folder / "t.csv").write_text(table, encoding="utf-8")
    (folder / "c.csv").write_text(claims, encoding="utf-8")
    read = read_table(folder / "t.csv", scale)
    return audit_table(read, read_claim_lines(folder / "c.csv", read), margins, alpha)


# DiRA's own numbers and claims, in the form a stranger would type.


def own_rows() -> list[dict[str, str]]:
    """The paper's cells with a spread, each once: Tab. 2's where it prints one, because the marks stand there."""
    with (PUBLISHED / "paper.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] == "score" and row["sd"]]
    cells = {}
    for row in sorted(rows, key=lambda row: row["place"] != "tab2"):
        cells.setdefault((row["method"], row["task"]), row)
    return list(cells.values())


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """DiRA's printed numbers through the stranger's door: claim line of the file → audited claims."""
    folder = tmp_path_factory.mktemp("own")
    columns = ["method", "task", "metric", "mean", "sd", "n", "place", "mark_imagenet", "mark_supervised"]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(own_rows())
    bases = ["moco_v2", "barlow_twins", "simsiam"]
    four = ["chestxray14", "chexpert", "siim_acr", "montgomery"]
    lines = [("better", f"dira_{base}", base, task, "fig4") for base in bases for task in four]
    lines += [("improves", f"{base}_dir", base, task, "res") for base in bases for task in four]
    lines += [("improves", f"dira_{base}", f"{base}_dir", task, "adv") for base in bases for task in four]
    lines += [("improves", "dira_transvw", "transvw", "*", "tab3")]
    claims = ["type,method,reference,task,where,mark,rule,column", *(",".join([*line, "", "", ""]) for line in lines)]
    for reference, column in (("imagenet", "mark_imagenet"), ("chestxray14_supervised", "mark_supervised")):
        for mark, rule in (("↑", "better"), ("*", "not different"), ("*", "equivalent")):
            claims.append(f"marks,*,{reference},*,{column},{mark},{rule},{column}")
    return audited(folder, stream.getvalue(), "\n".join(claims))


def test_the_papers_own_numbers_give_the_known_answers_through_a_strangers_door(own):
    count = {(source, kind): 0 for source in ("fig4", "res", "adv", "tab3") for kind in ("of", "supported", "p < .05")}
    for row in own:
        if row.source in {"fig4", "res", "adv", "tab3"}:
            count[row.source, "of"] += 1
            count[row.source, "supported"] += row.outcome == "supported"
            count[row.source, "p < .05"] += row.p_value < 0.05
    assert [count["fig4", kind] for kind in ("of", "supported", "p < .05")] == [12, 9, 9]
    assert [count["res", kind] for kind in ("of", "supported", "p < .05")] == [12, 11, 6]
    assert [count["adv", kind] for kind in ("of", "supported", "p < .05")] == [12, 12, 5]
    assert [count["tab3", kind] for kind in ("of", "supported", "p < .05")] == [5, 4, 0]


def test_the_papers_own_marks_give_the_known_answers_through_a_strangers_door(own):
    marks = [row for row in own if row.source.startswith("mark_")]
    assert Counter(row.outcome for row in marks if row.type == "significance") == {"supported": 15, "contradicted": 1}
    assert Counter(row.outcome for row in marks if row.type == "equivalence") == {"supported": 8, "not shown": 1}


def test_every_number_and_verdict_is_the_committed_audits(own):
    committed = {}
    for row in read_rows(PUBLISHED / "audit.csv", AuditedClaim):
        committed.setdefault((row.type, row.method, row.reference, row.task, row.source != "text"), row)
    compared = 0
    for row in own:
        theirs = committed[row.type, row.method, row.reference, row.task, True]
        for name in ("effect", "p_value", "p_welch", "p_ddof0", "p_one_sided"):
            mine, other = getattr(row, name), getattr(theirs, name)
            assert mine == (None if other is None else pytest.approx(other, rel=1e-5, abs=1e-9)), (row.id, name)
        assert (row.outcome, row.robust) == (theirs.outcome, theirs.robust), row.id
        compared += 1
    assert compared == 12 + 12 + 12 + 5 + 16 + 9


# The worked example.


def example_words() -> list[str]:
    """The command of the page, without what installs it."""
    block = re.search(r"## A worked example.*?```bash\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S).group(1)
    lines = block.strip().splitlines()
    assert len(lines) <= 10
    (line,) = [line for line in lines if line.startswith("nox -s audit -- ")]
    return line.removeprefix("nox -s audit -- ").split()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The page's command, run outside a checkout where nothing that trains can be imported."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "docs" / "examples").mkdir(parents=True)
    for path in EXAMPLES.glob("models-genesis*.csv"):
        (folder / "docs" / "examples" / path.name).write_bytes(path.read_bytes())
    return folder, bench(folder, "audit", *example_words())


def test_the_worked_example_runs_without_torch_outside_a_checkout_and_prints_what_the_page_shows(example):
    folder, done = example
    assert done.returncode == 0, done.stderr
    shown = re.search(r"shortened\):\n\n```text\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S).group(1)
    printed = done.stdout.splitlines()
    assert [line for line in shown.splitlines() if line not in printed] == []
    assert "9 of 9 rows do not state their runs" in done.stderr
    written = folder / "docs" / "examples" / "audit-models-genesis"
    assert sorted(path.name for path in written.iterdir()) == sorted(FILES)


def test_the_worked_examples_p_values_are_scipys_at_each_number_of_runs(example):
    rows = read_rows(example[0] / "docs" / "examples" / "audit-models-genesis" / "audit.csv", TableClaim)
    tested = [row for row in rows if row.type == "significance" and row.p_value is not None]
    assert len(tested) == 3
    for row in tested:

        def p(runs: int, row: TableClaim = row) -> float:
            return stats.ttest_ind_from_stats(
                row.mean_method, row.sd_method, runs, row.mean_reference, row.sd_reference, runs
            ).pvalue

        assert (row.p_n3, row.p_n5, row.p_n10) == tuple(pytest.approx(p(runs), rel=1e-5) for runs in (3, 5, 10))
        assert row.p_value == row.p_n3
        assert p(row.enough_runs) < 0.05 <= p(row.enough_runs - 1)
        assert row.robust == (len({p(runs) < 0.05 for runs in (3, 5, 10)}) == 1)
        assert "not stated" in row.note
    assert [row.task for row in tested if not row.robust] == ["Liver", "Lung"]


def test_the_example_holds_the_numbers_of_its_page():
    table = read_table(EXAMPLES / "models-genesis.csv")
    pretrained = {n.cell.task: (n.mean, n.sd) for n in table.numbers if n.cell.method == "Pre-trained nnU-Net"}
    scratch = {n.cell.task: (n.mean, n.sd) for n in table.numbers if n.cell.method == "nnU-Net (reproduced)"}
    assert pretrained == {
        "Liver": (Decimal("96.16"), Decimal("0.02")),
        "Liver tumour": (Decimal("64.47"), Decimal("0.45")),
        "Lung": (Decimal("71.80"), Decimal("1.40")),
    }
    assert scratch == {
        "Liver": (Decimal("95.74"), Decimal("0.34")),
        "Liver tumour": (Decimal("62.61"), Decimal("0.51")),
        "Lung": (Decimal("69.50"), Decimal("1.13")),
    }
    assert {number.n for number in table.numbers} == {None}


def test_both_templates_can_be_audited_as_they_are(tmp_path):
    table = read_table(EXAMPLES / "table-template.csv")
    rows = audit_table(table, read_claim_lines(EXAMPLES / "claims-template.csv", table), MARGINS)
    assert {row.type for row in rows} == {"significance", "equivalence", "direction", "arithmetic"}


# Laws.


def test_a_metric_of_which_less_is_better_gives_the_same_answers_with_every_sign_turned(tmp_path):
    claims = CLAIMS + "".join(f"{kind},A,B,*\n" for kind in ("better", "improves", "not worse", "equivalent"))
    rows = "A,T1,{m},4.10,0.30,5\nB,T1,{m},5.00,0.35,5\nA,T2,{m},5.02,0.20,8\nB,T2,{m},5.00,0.10,8\n"
    lower = audited(tmp_path, HEADER + rows.format(m="hd95"), claims, {"hd95": 0.5})
    turned = re.sub(r"(hd95|x),(\d)", r"x,-\2", rows.format(m="x"))
    header = HEADER.replace("n\n", "n,better\n")
    higher = audited(tmp_path, header + turned.replace("\n", ",higher\n"), claims, {"x": 0.5})
    assert [row.outcome for row in lower] == [row.outcome for row in higher]
    assert {row.outcome for row in lower} >= {"supported", "contradicted"}
    for ours, theirs in zip(lower, higher, strict=True):
        assert ours.effect == pytest.approx(-theirs.effect)
        assert ours.p_value == pytest.approx(theirs.p_value)
    assert all("less is better" in row.note for row in lower)
    assert not any("less is better" in row.note for row in higher)
    assert (lower[0].outcome, lower[0].unit, lower[0].effect) == ("supported", "mm", pytest.approx(-0.9))


def test_fractions_give_the_answers_of_points(tmp_path):
    claims = CLAIMS.strip() + ",printed\nbetter,B,A,*,\nequivalent,B,A,*,\n"
    fractions = HEADER + "A,Heart,dice,0.9000,0.0050,5\nB,Heart,dice,0.9100,0.0050,5\n"
    one = audited(tmp_path, TABLE, claims + "gain,B,A,*,1.00\n")
    other = audited(tmp_path, fractions, claims + "gain,B,A,*,0.0100\n", scale="fractions")
    assert [row.model_dump() for row in one] == [row.model_dump() for row in other]


def test_a_byte_order_mark_other_line_ends_blank_rows_and_capitals_change_nothing(tmp_path):
    plain = audited(tmp_path, TABLE, CLAIMS + "better,B,A,*\n")
    excel = (
        "\ufeff"
        + TABLE.replace("method,task", "Method,Task").replace("\n", "\r\n").replace("\r\n", ",,\r\n")
        + ",,,,,\r\n\r\n"
    )
    assert audited(tmp_path, excel, "\ufeff" + CLAIMS + "Better,B,A,*\n") == plain


def test_an_outcome_that_depends_on_the_unstated_runs_is_not_robust_and_one_that_does_not_is(tmp_path):
    unstated = TABLE.replace(",5\n", ",unstated\n").replace("0.50", "0.60")
    (row,) = audited(tmp_path, unstated, CLAIMS + "better,B,A,*\n")
    assert (row.outcome, row.robust) == ("contradicted", False)
    assert row.p_n3 >= 0.05 > row.p_n5
    assert "5 runs a side" in row.note
    (row,) = audited(tmp_path, unstated.replace("91.00", "99.00"), CLAIMS + "better,B,A,*\n")
    assert (row.outcome, row.robust) == ("supported", True)
    (row,) = audited(tmp_path, unstated.replace("unstated", "4", 1), CLAIMS + "better,B,A,*\n")
    assert "the runs of the method are not stated" in row.note
    (row,) = audited(tmp_path, TABLE, CLAIMS + "better,B,A,*\n")
    assert (row.p_n3, row.enough_runs) == (None, None)
    assert "not stated" not in row.note


def test_with_one_side_stated_runs_suffice_only_from_where_no_more_of_them_undo_it(tmp_path):
    table = HEADER + "A,Heart,dice,90.00,0.10,10\nB,Heart,dice,93.20,5.00,unstated\n"
    (row,) = audited(tmp_path, table, CLAIMS + "better,B,A,*\n")
    p = [stats.ttest_ind_from_stats(93.2, 5, n, 90, 0.1, 10).pvalue for n in range(2, 1001)]
    assert min(p[:3]) < max(p)  # a pooled variance moves towards the side that grows
    assert row.enough_runs == max(n for n, value in enumerate(p, start=2) if value >= 0.05) + 1


def test_a_claim_is_about_each_label_fraction_or_the_one_it_names(tmp_path):
    cells = [
        f"{method},Heart,dice,{mean},0.50,5,{fraction}"
        for fraction in ("0.1", "1")
        for method, mean in (("A", "90.00"), ("B", "91.00"))
    ]
    table = HEADER.strip() + ",label_fraction\n" + "\n".join(cells)
    claims = CLAIMS.strip() + ",label_fraction\nbetter,B,A,Heart,\nbetter,B,A,*,0.1\n"
    rows = audited(tmp_path, table, claims)
    assert [row.label_fraction for row in rows] == [0.1, 1.0, 0.1]
    assert subject(rows[0]) == "B − A, Heart, 10\u00a0%"
    with pytest.raises(ConfigurationError, match=r"expected one of 0.1, 1, or \*"):
        audited(tmp_path, table, claims + "better,B,A,*,0.5\n")


def test_a_difference_that_is_significant_and_inside_the_margin_is_said_to_be_both(tmp_path):
    table = HEADER + "A,Heart,dice,90.00,0.10,10\nB,Heart,dice,90.30,0.10,10\n"
    rows = audited(tmp_path, table, CLAIMS + "better,B,A,*\nequivalent,B,A,*\nimproves,B,A,*\n")
    assert [row.outcome for row in rows] == ["supported"] * 3
    assert all("both significant and inside the margin (±1 points, dice)" in row.note for row in rows)
    (outside,) = audited(tmp_path, table.replace("90.30", "92.00"), CLAIMS + "better,B,A,*\n")
    assert "both" not in outside.note


def test_the_marks_of_a_table_are_held_to_the_rule_that_the_paper_states(tmp_path):
    table = HEADER.replace("n\n", "n,mark\n") + (
        "A,T1,dice,90.00,0.50,5,\nB,T1,dice,92.00,0.50,5,*\n"  # marked, and significant
        "A,T2,dice,90.00,0.50,5,\nB,T2,dice,90.10,0.50,5,* †\n"  # marked, and not
        "A,T3,dice,90.00,0.50,5,\nB,T3,dice,92.00,0.50,5,\n"  # not marked, though significant
    )
    claims = "type,method,reference,task,mark,rule\nmarks,B,A,*,*,better\nmarks,B,A,*,,not different\n"
    rows = audited(tmp_path, table, claims)
    assert [(row.task, row.outcome) for row in rows] == [
        ("T1", "supported"), ("T2", "contradicted"), ("T3", "contradicted"),
    ]  # fmt: skip


def test_numbers_that_are_absent_or_without_spread_are_listed_as_not_testable(tmp_path):
    table = TABLE + "A,Liver,dice,80.00,,5\nB,Liver,dice,81.00,0.50,5\nB,Lung,dice,70.00,0.50,5\n"
    rows = audited(tmp_path, table, CLAIMS + "better,B,A,*\n")
    assert [(row.task, row.outcome) for row in rows] == [
        ("Heart", "supported"), ("Liver", "not testable"), ("Lung", "not testable"),
    ]  # fmt: skip
    assert "no number of A" in rows[2].note
    (row,) = audited(tmp_path, TABLE.replace("0.50", "0.00"), CLAIMS + "better,B,A,*\n")
    assert (row.outcome, row.note) == ("not testable", "both printed spreads are zero")


def test_the_rounding_of_few_decimals_is_a_reading(tmp_path):
    (fine,) = audited(tmp_path, TABLE.replace("91.00", "90.80"), CLAIMS + "better,B,A,*\n")
    coarse = TABLE.replace("90.00", "90.0").replace("91.00", "90.8").replace("0.50", "0.5")
    (row,) = audited(tmp_path, coarse, CLAIMS + "better,B,A,*\n")
    assert row.p_value == pytest.approx(fine.p_value)
    assert "the rounding of the printed numbers" in row.note
    assert "the rounding of the printed numbers" not in fine.note


# Tables and claims that are none.


MALFORMED = {
    "a column is missing": (b"method,task,metric,mean,sd\nA,T,dice,90,1\n", "has no column n;"),
    "a column is misspelt": ((HEADER.strip() + ",lable_fraction\nA,T,dice,90,1,5,1\n").encode(), "label_fraction"),
    "text in a number": (TABLE.replace("90.00", "ninety").encode(), 'line 2, column mean: found "ninety"'),
    "mean and sd in one cell": (TABLE.replace("90.00", "90.00±0.5").encode(), "each in its own column"),
    "a number without end": (TABLE.replace("90.00", "nan").encode(), 'found "nan"'),
    "a negative spread": (TABLE.replace("0.50", "-0.50", 1).encode(), "line 2, column sd: found -0.50"),
    "one run": (TABLE.replace(",5\n", ",1\n", 1).encode(), "one run has no spread"),
    "no word for the runs": (TABLE.replace(",5\n", ",\n", 1).encode(), "unstated"),
    "half a run": (TABLE.replace(",5\n", ",2.5\n", 1).encode(), 'column n: found "2.5"'),
    "a row twice": ((TABLE + "A,Heart,dice,90.00,0.50,5\n").encode(), "line 4: A on Heart stands in line 2 already"),
    "a mean out of bounds": (TABLE.replace("90.00", "190.00").encode(), "found 190.00 for dice; expected a value from 0 to 100"),
    "a negative distance": (HEADER.encode() + b"A,T,hd95,-1,0.5,5\n", "expected at least 0"),
    "fractions": (HEADER.encode() + b"A,T,dice,0.90,0.01,5\n", "--scale fractions"),
    "a spread wider than the metric": (TABLE.replace("0.50", "150", 1).encode(), "more than all of its range"),
    "an empty file": (b"", "is empty"),
    "a header alone": (HEADER.encode(), "no row"),
    "a spreadsheet": (b"PK\x03\x04" + b"\x00" * 40, "is an xlsx or ods spreadsheet"),
    "UTF-16": (TABLE.encode("utf-16"), "not UTF-8"),
    "Latin-1": (TABLE.replace("Heart", "Hérz").encode("latin-1"), "not UTF-8"),
    "semicolons": (TABLE.replace(",", ";").encode(), "by semicolons; expected commas"),
    "tabs": (TABLE.replace(",", "\t").encode(), "by tabs; expected commas"),
    "a decimal comma": (TABLE.replace("90.00", '"90,00"').encode(), "write 90.00"),
    "a decimal comma without quotes": (TABLE.replace("90.00", "90,00").encode(), "line 2 has 7 values and the header 6"),
    "an open quote": (TABLE.replace("A,Heart", '"A,Heart').encode(), "is not CSV"),
    "mixed metrics on one task": (TABLE.replace("B,Heart,dice", "B,Heart,auc").encode(), "expected one metric a task"),
    "an unknown metric": (TABLE.replace("dice", "dise").encode(), 'did you mean "dice"?'),
    "a metric turned round": (
        (HEADER.strip() + ",better\nA,T,dice,90,1,5,lower\n").encode(), "of dice higher values are better",
    ),
    "a label fraction in percent": (
        (HEADER.strip() + ",label_fraction\nA,T,dice,90,1,5,10\n").encode(), "10 % is 0.1",
    ),
    "a title above the header": (("Table 3,,,,,\n" + TABLE).encode(), "has no column method, task"),
    "a control character": (TABLE.replace("A,Heart", "A\x1b[2J,Heart").encode(), "line 2 holds a control character"),
    "a folder's worth of text": (b"Dear reader\n", "has no column method"),
    "no method": (TABLE.replace("A,Heart", ",Heart").encode(), "column method is empty"),
}  # fmt: skip


def said(error: ConfigurationError) -> str:
    """What is said of the first bad row: one line that ends as a sentence."""
    first = str(error).splitlines()[0]
    assert first[-1] in ".?"
    return first


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_table_gets_one_sentence(tmp_path, name):
    content, expected = MALFORMED[name]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_table(path)
    sentence = said(caught.value)
    assert expected in sentence
    assert str(path) in sentence


def test_each_bad_row_gets_its_own_sentence_and_a_flood_is_counted(tmp_path):
    (tmp_path / "t.csv").write_text(HEADER + "".join(f"A,T{i},dice,x,1,5\n" for i in range(100)))
    with pytest.raises(ConfigurationError) as caught:
        read_table(tmp_path / "t.csv")
    lines = str(caught.value).splitlines()
    assert [int(re.search(r"line (\d+)", line)[1]) for line in lines[:-1]] == list(range(2, 14))
    assert lines[-1] == "and 88 more like these."


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("better,C,A,*", 'no method "C"'),
        ("better,B,a,*", 'no reference "a"'),
        ("better,B,A,Haert", 'did you mean "Heart"?'),
        ("best,B,A,*", "type of claim"),
        ("better,A,A,*", "compares A with itself"),
        ("better,,A,*", "column method is empty"),
        ("better,B,*,*", 'no reference "*"'),
        ("gain,B,A,*", "each of them has one"),
        ("marks,B,A,*", "column rule"),
    ],
)
def test_a_malformed_claim_gets_one_sentence(tmp_path, claim, expected):
    with pytest.raises(ConfigurationError) as caught:
        audited(tmp_path, TABLE, CLAIMS + claim + "\n")
    assert len(str(caught.value).splitlines()) == 1
    assert expected in said(caught.value)


def test_equivalence_under_a_metric_without_a_margin_is_refused_and_says_how_to_give_one(tmp_path):
    table = TABLE.replace("dice", "hd95")
    with pytest.raises(ConfigurationError, match=r"--margin hd95=NUMBER"):
        audited(tmp_path, table, CLAIMS + "equivalent,B,A,*\n")
    (row,) = audited(tmp_path, table, CLAIMS + "equivalent,B,A,*\n", {"hd95": 3.0})
    assert "±3 mm, hd95" in row.note


# What is printed and written.


@pytest.fixture
def place(tmp_path):
    """A folder with a table and claims about it."""
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "c.csv").write_text(CLAIMS + "better,A,B,*\n")
    return tmp_path


def test_the_command_ends_with_0_whatever_the_claims_come_to_and_prints_json_alone(place):
    done = bench(place, "audit", "t.csv", "--claims", "c.csv", "--json", "--alpha", "0.01")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["outcome"], row["method"], row["task"]) == ("contradicted", "A", "Heart")


def test_the_command_refuses_with_2_and_one_sentence(place):
    (place / "bad.csv").write_text(TABLE.replace("90.00", "9O.00"))
    done = bench(place, "audit", "bad.csv", "--claims", "c.csv")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "bad.csv, line 2, column mean" in done.stderr
    assert not (place / "audit-bad").exists()


def test_names_from_a_table_are_safe_in_every_format_and_the_same_table_gives_the_same_bytes(tmp_path):
    evil = r"[2pt] \end{tabular} & 100%_{x} <script>alert(1)</script> |"
    table = TABLE.replace("\nB,", f'\n"{evil}",')
    rows = audited(tmp_path, table, CLAIMS + f'better,"{evil}",A,*\n')
    read = read_table(tmp_path / "t.csv")
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_table_audit(folder, read, rows, "c.csv", 0.05)
    texts = {name: (tmp_path / "one" / name).read_text(encoding="utf-8") for name in FILES}
    assert texts == {name: (tmp_path / "two" / name).read_text(encoding="utf-8") for name in FILES}
    assert "<script>alert" not in texts["audit.html"] + texts["audit.md"]
    assert texts["audit.tex"].count(r"\begin{tabular}") == texts["audit.tex"].count(r"\end{tabular}") == 2
    assert r"100\%\_\allowbreak{}\{x\}" in texts["audit.tex"]
    assert "\n{}[2pt] " in texts["audit.tex"]
    assert "\n[2pt]" not in texts["audit.tex"]
    for line in texts["audit.md"].splitlines():
        assert len(re.findall(r"(?<!\\)\|", line)) in {0, 9, 7}, line
    assert str(tmp_path) not in "".join(texts.values())
    assert read_rows(tmp_path / "one" / "audit.csv", TableClaim)[0].method == evil


def test_an_audit_is_written_anew_over_itself_and_over_nothing_else(place):
    for _ in range(2):
        audit(place / "t.csv", claims=place / "c.csv")
    assert sorted(path.name for path in (place / "audit-t").iterdir()) == sorted(FILES)
    (place / "mine").mkdir()
    (place / "mine" / "audit.md").write_text("mine")
    with pytest.raises(ConfigurationError, match="no audit of a table wrote"):
        audit(place / "t.csv", claims=place / "c.csv", out=place / "mine")
    assert [path.name for path in (place / "mine").iterdir()] == ["audit.md"]


def test_nothing_is_written_into_a_checkouts_own_folders(place):
    (place / "methods").mkdir()
    (place / "methods" / "registry.yaml").write_text("")
    for folder in ("results/published", "reports/other"):
        with pytest.raises(ConfigurationError, match="this project's own"):
            audit(place / "t.csv", claims=place / "c.csv", out=place / folder)
        assert not (place / folder).exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"claims": None}, "--claims CLAIMS.csv"),
        ({"margin": ["dice"]}, "METRIC=NUMBER above 0"),
        ({"margin": ["dice=-1"]}, "METRIC=NUMBER above 0"),
        ({"margin": ["dice=inf"]}, "METRIC=NUMBER above 0"),
        ({"margin": ["hd95=2"]}, "measures dice"),
        ({"scale": "percent"}, "points, fractions"),
        ({"table": None}, "no table"),
    ],
    ids=str,
)
def test_a_wrong_option_gets_one_sentence(place, options, expected):
    words = {"table": place / "t.csv", "claims": place / "c.csv", **options}
    with pytest.raises(ConfigurationError) as caught:
        audit(**words)
    assert len(str(caught.value).splitlines()) == 1
    assert expected in said(caught.value)
    assert not (place / "audit-t").exists()


def test_the_terminal_names_method_and_task_of_each_of_the_papers_claims(capsys):
    rows = read_rows(PUBLISHED / "audit.csv", AuditedClaim)
    with console.capture() as caught:
        print_audit(rows)
    lines = caught.get().splitlines()
    heads = [line for line in lines if re.match(r"(supported|contradicted|not shown|not testable) ", line)]
    assert len(heads) == len(rows) == 222
    for row, line in zip(rows, heads, strict=True):
        assert f"{row.method} − {row.reference}" in line
        assert not row.task or f", {row.task}" in line
    assert "fig4 significance: 9 supported, 3 contradicted" in lines
    assert lines[-1].startswith("222 claims: ")
