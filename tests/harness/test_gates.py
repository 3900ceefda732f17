"""Was it learnt? What ``methods/gates.yaml`` asks, and what it says of networks that learnt nothing, something, all."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import harness.cli.gates as command
import harness.cli.session as session_module
from harness.cli.application import application
from harness.cli.session import Session
from harness.cli.stages import write_statistics
from harness.descriptions import PretrainingDescription
from harness.errors import ConfigurationError, DataError
from harness.gates import GateRow, judge, read_gates, required, verdicts
from harness.registry import load_parameters
from harness.statistics.summary import read_cells, read_comparisons
from harness.typed_csv import read_rows, table_text
from tests.harness import project
from tests.repository.blocks import blocks

ROOT = Path(__file__).resolve().parents[2]
GATES = read_gates(ROOT / "methods" / "gates.yaml")
MOCO, RESTORATION = "methods.terms.moco_v2:MocoV2", "methods.terms.restoration:Restoration"
ADVERSARY = "methods.terms.adversary:Adversary"
# measure → (chance, start, value of a network that learnt it well), as methods.training.measurements has them
MEASURES = {
    "own_key": (1 / 256, 0.023, 0.137),
    "key_cross_entropy": (5.545, 5.534, 3.9),
    "spread": (None, 0.31, 0.9),
    "on_diagonal": (0.0, 0.2, 0.8),
    "restoration_over_mean": (1.0, 3.1, 0.3),
    "restoration_over_copy": (1.0, 2.2, 0.4),
    "word_accuracy": (0.2, 0.19, 0.9),
    "discriminator_accuracy": (0.5, 0.5, 0.7),
    "supervised_auc": (0.5, None, 0.8),
}
GATED = [(term, gate) for term, own in GATES.items() for gate in own if gate.conditions]


def measurement(term, measure, value, views="undistorted", **changes):
    chance, start, _ = MEASURES.get(measure, (None, None, None))
    given = {"measure": measure, "role": "discrimination", "term": term, "views": views, "value": value}
    return {**given, "chance": chance, "start": start, "images": 1024, "among": None, **changes}


def moco(own_key=0.137, entropy=3.9, spread=0.9):
    values = {"own_key": own_key, "key_cross_entropy": entropy, "spread": spread}
    return [measurement(MOCO, name, value) for name, value in values.items()]


def restored(over_mean=0.3, over_copy=0.4):
    values = {"restoration_over_mean": over_mean, "restoration_over_copy": over_copy}
    return [measurement(RESTORATION, name, value, "distorted") for name, value in values.items()]


def phase(name, terms, measurements, status="ok"):
    configuration = {"terms": [{"configuration": {"type": term}} for term in terms]}
    return {"name": name, "status": status, "configuration": configuration, "measurements": measurements}


def pretraining(*chains):
    seeds = [{"pretrain_seed": seed, "phases": list(phases)} for seed, phases in enumerate(chains)]
    return PretrainingDescription.model_validate({"method": "mine", "pretraining_seeds": seeds})


def verdict(*chains, gates=GATES):
    return verdicts(judge(pretraining(*chains), gates, "mine.json"))["mine"]


@pytest.mark.parametrize(
    ("term", "gate", "value"),
    [(term, gate, value) for term, gate in GATED for value in MEASURES[gate.measure][:2] if value is not None],
    ids=lambda one: str(getattr(one, "measure", one)),
)
def test_a_network_that_has_what_chance_or_its_start_has_fails_every_condition(term, gate, value):
    rows = judge(pretraining([phase("p", [], [measurement(term, gate.measure, value)])]), GATES, "")
    assert [row.passed for row in rows if row.measure == gate.measure] == [False] * len(gate.conditions)


@pytest.mark.parametrize("term", GATES)
def test_what_a_network_that_learnt_has_passes_every_gate_of_its_term(term):
    own = [measurement(term, gate.measure, MEASURES[gate.measure][2]) for gate in GATES[term]]
    found = verdict([phase("p", [term], own)])
    expected = "not gated" if term == ADVERSARY else "learnt"
    assert found.word == expected, found


@pytest.mark.parametrize("term", [term for term in GATES if term != ADVERSARY])
def test_a_term_of_which_one_gate_was_not_measured_is_never_learnt(term):
    own = [measurement(term, gate.measure, MEASURES[gate.measure][2]) for gate in GATES[term]]
    for left_out in range(len(own)):
        kept = own[:left_out] + own[left_out + 1 :]
        assert verdict([phase("p", [term], kept)]).word == "not gated"


def test_the_declared_bounds_are_those_that_were_chosen_beforehand():
    rows = judge(pretraining([phase("p", [], [measurement(MOCO, "own_key", 0.049)])]), GATES, "")
    by_chance, by_start = [row for row in rows if row.measure == "own_key"]
    assert (by_chance.bound, by_start.bound) == (pytest.approx(0.05), pytest.approx(0.046))
    assert (by_chance.passed, by_start.passed) == (False, True)
    assert required(by_chance) == "at least 0.05 (12.8 × chance)"
    assert required(by_start) == "at least 0.046 (2 × start)"


def test_a_share_is_never_asked_for_more_than_it_can_be():
    few = measurement(MOCO, "own_key", 0.7, chance=1 / 8, start=0.6, among=8)
    rows = [row for row in judge(pretraining([phase("p", [], [few])]), GATES, "") if row.value]
    assert [row.bound for row in rows] == [pytest.approx((1 / 8 + 1) / 2), pytest.approx(0.8)]


def test_spread_alone_passes_nobody():
    assert verdict([phase("p", [MOCO], moco(own_key=0.01, entropy=5.5, spread=1.0))]).word == "not learnt"
    assert verdict([phase("p", [MOCO], [measurement(MOCO, "spread", 1.0)])]).word == "not gated"


def test_the_last_phase_decides_and_those_before_are_listed():
    first, last = phase("dis", [MOCO], moco(own_key=0.01)), phase("dis+res", [MOCO, RESTORATION], moco() + restored())
    assert verdict([first, last]).word == "learnt"
    lost = verdict([{**last, "name": "a"}, {**first, "name": "b"}])
    assert lost.word == "not learnt"
    assert lost.why == (
        "own key, undistorted 0.01, asked at least 0.05 (12.8 × chance); "
        "own key, undistorted 0.01, asked at least 0.046 (2 × start)"
    )
    rows = judge(pretraining([first, last]), GATES, "")
    assert {(row.phase, row.decides) for row in rows} == {("dis", False), ("dis+res", True)}


def test_one_pretraining_seed_that_failed_is_enough_and_is_named():
    good, bad = phase("dis", [MOCO], moco()), phase("dis", [MOCO], moco(entropy=5.0))
    found = verdict([good], [bad])
    assert found.word == "not learnt"
    assert found.why == "key cross entropy, undistorted 5, asked at most 4.54 (chance − 1) in pretraining seed 1"


def test_restoration_that_fails_beside_a_discrimination_that_passes_is_not_learnt():
    found = verdict([phase("dis+res", [MOCO, RESTORATION], moco() + restored(over_mean=0.7))])
    assert found.word == "not learnt" and found.why.startswith(
        "restoration over mean, distorted 0.7, asked at most 0.6"
    )


def test_distorted_views_are_reported_beside_the_gate_on_undistorted_ones():
    rows = judge(
        pretraining([phase("p", [MOCO], [*moco(), measurement(MOCO, "own_key", 0.02, "distorted")])]), GATES, ""
    )
    distorted = [row for row in rows if row.views == "distorted"]
    assert [(row.condition, row.passed) for row in distorted] == [("", None)]
    assert verdicts(rows)["mine"].word == "learnt"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "dis", "status": "ok", "configuration": {}}, "nothing was measured"),  # a record of an older version
        (phase("dis", [MOCO], [], status="diverged"), "phase diverged"),
        (phase("dis", [MOCO], [], status="missing"), "phase missing"),
        (phase("dis", ["mine:Own"], []), "nothing was measured"),
        (
            phase("dis", ["mine:Own", RESTORATION], restored()),
            "Own: methods/gates.yaml has no gate for this term",
        ),
    ],
)
def test_what_cannot_be_judged_is_not_gated_and_says_why(given, why):
    found = verdict([given])
    assert (found.word, found.why) == ("not gated", why)


def test_a_method_without_phases_has_no_row_and_no_verdict():
    rows = judge(pretraining([]), GATES, "")
    assert rows == [] and verdicts(rows) == {}


def test_an_own_term_is_gated_by_its_dotted_type(tmp_path):
    path = tmp_path / "gates.yaml"
    path.write_text(
        'terms:\n  "mine.terms:Own":\n    - {measure: own_key, times_chance: 4, why: "a quarter of what it finds"}\n'
    )
    for value, word in ((0.02, "learnt"), (0.01, "not learnt")):
        own = [measurement("mine.terms:Own", "own_key", value)]
        assert verdict([phase("p", ["mine.terms:Own"], own)], gates=read_gates(path)).word == word


@pytest.mark.parametrize("text", ["NaN", "Infinity"])
def test_a_value_that_is_not_finite_fails(text):
    own = json.loads(json.dumps(moco()).replace("3.9", text))
    found = verdict([phase("p", [MOCO], own)])
    assert found.word == "not learnt" and found.why.startswith("key cross entropy, undistorted –")


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        ("terms: [a]\n", r"found no mapping under \"terms:\""),
        ('terms:\n  "a:B": 3\n', r":2 \(term \"a:B\"\): found 3; expected a list of gates"),
        ('terms:\n  "a:B":\n    - {measure: x, at_lest: 1, why: y}\n', r":3 \(term \"a:B\"\): at_lest: unknown key; did you mean"),
        ('terms:\n  "a:B":\n    - {measure: x, why: y}\n    - {measure: x, at_least: "1", why: y}\n', r":4 .*at_least: found '1'; expected a number"),
        ('terms:\n  "a:B":\n    - {measure: x, at_least: 1}\n', r":3 .*why: missing; add it"),
        ('terms:\n  "a:B":\n    - {measure: x, times_chance: 0, why: y}\n', r":3 .*times_chance: found 0; expected"),
        ('terms:\n  "a:B":\n    - {measure: x, at_least: 1, at_best: 1, why: y}\n', r":3 .*at_best without times_chance"),
        ('terms:\n  "a:B":\n    - {measure: spread, at_least: 1, suffices: false, why: y}\n', r":2 .*found spread alone, which passes nobody"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_yaml_is_one_sentence_with_its_line(tmp_path, yaml, sentence):
    path = tmp_path / "gates.yaml"
    path.write_text(yaml)
    with pytest.raises(ConfigurationError, match=sentence) as error:
        read_gates(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", [[{"measure": 1}], [3], 3, [measurement(MOCO, "own_key", "much")]])
def test_a_malformed_measurement_names_its_file_and_phase(given):
    with pytest.raises(DataError, match=r"mine\.json, phase dis: .*dira-bench report"):
        judge(pretraining([phase("dis", [MOCO], given)]), GATES, "mine.json")


def test_the_table_reads_back_as_it_was_written(tmp_path):
    rows = judge(pretraining([phase("dis", [MOCO], moco(0.01)), phase("none", [], [])]), GATES, "")
    path = tmp_path / "gates.csv"
    path.write_text(table_text(GateRow, rows))
    again = read_rows(path, GateRow)
    assert [row.passed for row in again] == [row.passed for row in rows]
    assert verdicts(again) == verdicts(rows)


def test_the_gates_of_the_page_about_own_terms_are_read_as_they_stand(tmp_path):
    (block,) = [text for text in blocks("docs/adding-a-method.md", "yaml") if text.startswith("# methods/gates.yaml")]
    path = tmp_path / "gates.yaml"
    path.write_text((ROOT / "methods" / "gates.yaml").read_text() + block)
    assert [gate.measure for gate in read_gates(path)["my_package.alignment:Alignment"]] == ["own_key", "spread"]


@pytest.fixture
def session(tmp_path):
    """A project in which two methods were pretrained and nothing was judged."""
    root = project.copy(tmp_path)
    shutil.copytree(ROOT / "results" / "published", root / "results" / "published")
    folder = root / "results" / "miniature" / "pretraining"
    folder.mkdir(parents=True)
    for name, own_key in (("moco_v2", 0.01), ("dira_moco_v2", 0.137)):
        content = {**pretraining([phase("dis", [MOCO], moco(own_key))]).model_dump(exclude={"whole"}), "method": name}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Session(root, load_parameters(root, {"profile": "miniature", "repeats": 1}))


@pytest.mark.parametrize("width", [80, 120])
def test_the_command_prints_every_gate_at_a_terminals_width_and_ends_with_0(session, monkeypatch, width):
    for module in (session_module, command):
        monkeypatch.setattr(module, "console", Console(width=width, file=(text := io.StringIO())), raising=False)
    monkeypatch.setattr(session_module, "project_root", lambda: session.root)
    assert CliRunner().invoke(application, ["gates", "--profile", "miniature"]).exit_code == 0
    lines = text.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    assert any(line.startswith("MoCo-v2: not learnt (own key, undistorted 0.01") for line in lines)
    assert any(line.startswith("DiRA (MoCo-v2): learnt") for line in lines)
    words = " ".join(text.getvalue().split())
    assert "0.00391" in words and "failed" in words and "passed" in words


def test_a_pretraining_file_that_is_none_is_one_sentence_with_its_name(session):
    (session.root / "results/miniature/pretraining/moco_v2.json").write_text("[]")
    with pytest.raises(DataError, match=r"moco_v2\.json: cannot be read as a method's pretraining"):
        command.judged(session)


def test_statistics_write_the_table_and_it_is_summed_with_the_others(session):
    write_statistics(session)
    folder = session.root / "results" / "miniature"
    rows = read_rows(folder / "gates.csv", GateRow)
    assert {method: found.word for method, found in verdicts(rows).items()} == {
        "moco_v2": "not learnt",
        "dira_moco_v2": "learnt",
    }
    digest = hashlib.sha256((folder / "gates.csv").read_bytes()).hexdigest()
    assert f"{digest}  gates.csv" in (folder / "SHA256SUMS").read_text().splitlines()
    gates = {cell.method: cell.gate for cell in read_cells(folder / "cells.csv")}
    assert gates == {
        "random": "not gated",
        "moco_v2": "not learnt",
        "moco_v2_dir": "not gated",
        "dira_moco_v2": "learnt",
    }
    fig4 = [row.gate for row in read_comparisons(folder / "comparisons.csv") if row.family == "fig4"]
    assert fig4 and set(fig4) == {"reference not learnt"}
    (folder / "gates.csv").write_text((folder / "gates.csv").read_text().replace("false", "true"))
    with pytest.raises(DataError, match=r"gates\.csv is not what"):
        session.refuse_edits(may_lack=None)


def test_gates_ask_for_measures_that_are_made_and_terms_that_are_there():
    """The names in the YAML are text; one that is misspelt would gate nobody, in silence."""
    source = (ROOT / "methods/training/measurements.py").read_text() + (ROOT / "methods/supervised.py").read_text()
    for term, own in GATES.items():
        module, _, name = term.partition(":")
        assert (
            f"class {name}" in (ROOT / (module.replace(".", "/") + ".py")).read_text()
            or term == "methods.supervised:Supervised"
        )
        assert all(f'"{gate.measure}"' in source for gate in own)
