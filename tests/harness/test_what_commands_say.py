"""How a command's lines are laid out, what they advise, and which code says that something was not done."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from itertools import pairwise

import pytest

import harness.cli.session as session_module
from harness.advice import ask_for, command
from harness.cli import cleaning, execution, upkeep
from harness.cli.consoles import WHOLE, EndsClean, make_console
from harness.cli.listing import counted
from harness.cli.session import Session
from harness.errors import ConfigurationError, many
from harness.registry import load_parameters
from harness.results.table import profile_of_trial
from harness.runner import Summary
from harness.spec import Status
from tests.harness import project
from tests.harness.test_commands import leave
from tests.harness.test_doors import ROOT, bench
from tests.harness.test_doors import root as root
from tests.sharing.small_results import draws, write


@pytest.mark.parametrize(("written", "kept"), [
    ("a  \nb \n", "a\nb\n"),
    ("  a b  c\n", "  a b  c\n"),
    ("a \x1b[0m \n", "a \x1b[0m\n"),
    ("a \x1b[0m\n", "a\x1b[0m\n"),
    ("a\t \r\n", "a\r\n"),
    ("ends with no line ", "ends with no line "),
])  # fmt: skip
def test_no_line_ends_with_blanks_and_nothing_else_changes(written, kept):
    stream = io.StringIO()
    EndsClean(stream).write(written)
    assert stream.getvalue() == kept


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("", WHOLE), ("0", WHOLE), ("wide", WHOLE), ("-5", WHOLE)])
def test_in_a_pipe_the_variable_columns_sets_the_width(columns, width):
    made = make_console(io.StringIO(), {"COLUMNS": columns})
    assert made.width == width and made.soft_wrap == (width == WHOLE)


def test_the_plan_is_readable_at_80_columns_of_a_pipe():
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "plan"], cwd=ROOT, env={**os.environ, "COLUMNS": "80"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line != line.rstrip()]
    at = next(place for place, line in enumerate(lines) if line.startswith("  published"))
    assert lines[at + 1].startswith("      ")  # what is broken stands further in
    assert not lines[at + 1].startswith("       ")


def test_trials_of_both_blocks_less_those_that_cannot_run_are_the_runnable_ones(root):
    project.append(
        root / "methods/registry.yaml",
        '  absent: {label: Absent, dimensions: 2, recipe: "no_module:X", version: 1, source: s}\n',
    )
    session = Session(root, load_parameters(root, {"profile": "smoke"}))
    counts = counted(session)
    blocks = (counts.published, counts.added)
    assert sum(block.distinct_trials - block.unavailable_trials for block in blocks) == counts.runnable
    assert counts.added.unavailable_cells == len(counts.unavailable) > 0
    code, said = bench("plan", "--profile", "smoke")
    cells, trials = counts.added.unavailable_cells, counts.added.unavailable_trials
    assert code == 0 and f"of these {cells} cells with {trials} trials cannot be run here" in said


def test_what_is_advised_carries_the_profile_that_was_asked_for(root):
    code, said = bench("plan", "--profile", "smoke")
    assert code == 0 and '"dira-bench plan --probe --profile smoke"' in said
    code, said = bench("plan")
    assert code == 0 and '"dira-bench plan --probe"' in said
    ask_for("smoke")
    assert command("run --profile other") == '"dira-bench run --profile other"'
    ask_for(None)
    assert command("run", quoted=False) == "dira-bench run"


@pytest.mark.parametrize(("count", "said"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_one_is_singular(count, said):
    assert many(count, "trial") == said


def test_an_entry_that_could_not_be_checked_is_an_exit_code_of_1(root):
    project.append(
        root / "methods/registry.yaml",
        '  absent: {label: Absent, dimensions: 2, recipe: "no_module:X", version: 1, source: s}\n',
    )
    for words in (("check", "absent"), ("check", "absent", "--json")):
        code, said = bench(*words)
        assert code == 1 and "unavailable" in said and "no_module" in said


def test_all_entries_are_checked_that_are_available(root, monkeypatch):
    monkeypatch.setattr(upkeep, "_conformance", lambda session, kind, name: {"kind": kind, "name": name, "checks": []})
    project.append(
        root / "methods/registry.yaml",
        '  absent: {label: Absent, dimensions: 2, recipe: "no_module:X", version: 1, source: s}\n',
    )
    assert bench("check", "--all")[0] == 0


@pytest.mark.parametrize("words", [("check",), ("check", "random", "--all")])
def test_check_takes_a_name_or_all(root, words):
    code, said = bench(*words)
    assert code == 2 and "expected the name of a method or a task, or --all" in said


def test_a_metric_of_no_finished_trial_is_an_exit_code_of_1(root):
    for words in (("rescore", "auc"), ("rescore", "auc", "--json"), ("rescore", "auc", "--task", "montgomery")):
        code, _ = bench(*words, "--profile", "smoke")
        assert code == 1, words


def test_cohorts_that_were_not_compared_are_an_exit_code_of_1():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIRA_BENCH_DATA")}
    command = [sys.executable, "-m", "harness.cli", "data", "twins", "--profile"]
    done = [
        subprocess.run([*command, profile], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        for profile in ("radiographs", "miniature")
    ]
    decoded = "is not decoded" not in done[0].stdout
    assert done[0].returncode == (0 if decoded else 1)
    assert decoded or 'data prepare covid_lungs --profile radiographs"' in done[0].stdout
    assert done[1].returncode == 0 and "pretrains on no real image" in done[1].stdout


def test_clean_sweeps_the_store_only_when_told(root, monkeypatch):
    swept = []
    monkeypatch.setattr(session_module.Store, "sweep", lambda store: swept.append(store) or 2)
    (root / "results").mkdir(exist_ok=True)
    assert bench("clean")[0] == 0 and not swept
    code, said = bench("clean", "--yes")
    assert code == 0 and len(swept) == 1 and "swept 2 leftovers" in said
    assert cleaning.clean.__doc__ and "With --yes, leftovers" in cleaning.clean.__doc__


@pytest.mark.parametrize("place", [".trials", ".cohorts"])
@pytest.mark.parametrize("target", ["itself", "absent/disk"])
@pytest.mark.parametrize(
    "words", [("plan",), ("status",), ("run", "--method", "random"), ("clean", "--yes"), ("cancel",)]
)
def test_a_store_that_is_a_link_to_nothing_is_one_sentence(root, place, target, words):
    (root / place).symlink_to(place if target == "itself" else target)
    code, said = bench(*words, "--profile", "smoke") if words[0] != "clean" else bench(*words)
    assert code == 2 and f"{root / place} is a link to" in said and "where nothing is; expected a folder" in said
    assert len(said.splitlines()) == 1
    assert (root / place).is_symlink()


def test_a_link_to_itself_in_a_data_root_is_one_sentence(root, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "loop").symlink_to("loop")
    code, said = bench("data", "verify", "montgomery", str(data))
    assert code == 2 and f"{data / 'loop'} cannot be looked into (a link that leads to itself)" in said
    code, said = bench("data", "verify", "montgomery", str(data / "loop"))
    assert code == 2 and "no folder" in said


def test_an_orphan_that_is_a_link_to_itself_is_named_and_removed(root):
    (root / "results" / "old").symlink_to("old")
    code, said = bench("clean", "--yes")
    assert code == 0 and "removed  results/old" in said
    assert not (root / "results" / "old").is_symlink()


def test_a_layout_is_checked_before_anything_is_loaded(root, monkeypatch):
    monkeypatch.setattr("harness.cli.exporting.open_session", lambda profile: pytest.fail("a session was opened"))
    code, said = bench("export", "foo", "--layout", "tochvision")
    assert code == 2 and 'no layout "tochvision"' in said and 'did you mean "torchvision"' in said
    code, said = bench("export", "foo", "--layout", "x")
    assert code == 2 and "expected one of monai, smp, torchvision" in said


@pytest.mark.parametrize("words", [("list",), ("list", "--json")])
def test_a_reader_that_leaves_early_is_no_error_of_ours(words):
    command = [sys.executable, "-m", "harness.cli", *words]
    closed = "import os, subprocess, sys; r, w = os.pipe(); os.close(r); "
    closed += "sys.exit(subprocess.run(sys.argv[1:], stdout=w).returncode)"
    done = subprocess.run(
        [sys.executable, "-c", closed, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (141, "")


def test_one_cause_of_many_failures_is_said_once(root, capsys):
    session = Session(root, load_parameters(root, {"profile": "smoke"}))
    items = list(session.plan.trials().values())[:6]
    failed = {}
    for number, one in enumerate(items[:4]):
        leave(session, one, Status.FAILED, {"type": "E", "message": "no such file" if number < 3 else "another"})
        failed[one.id] = session.store.attempts("trial", one.id)[-1]
    summary = Summary(failed=failed, blocked={one.id: "its cohort failed" for one in items[4:]}, attempts=4)
    execution._say(session, items, summary, one=False)
    said = capsys.readouterr().out
    assert said.count("no such file") == 1 and " and 2 more items: no such file (dira-bench show" in said
    assert said.count("another") == 1
    assert said.count("its cohort failed") == 1 and " and 1 more item: its cohort failed" in said


@pytest.mark.parametrize(("others", "told"), [({"theirs": draws(2)}, True), ({"m": draws(2)}, False)])
def test_folders_that_share_no_cell_were_not_compared(tmp_path, others, told, root):
    a, b = write(tmp_path / "a", {"m": draws(1)}), write(tmp_path / "b", others)
    code, said = bench("compare-results", str(a), str(b))
    assert code == 0 and ("nothing was compared: no method on a task has runs in both" in said) == told


def test_an_id_of_another_profile_is_shown_without_naming_it():
    """The page of a profile that is not the one of params.yaml says ``dira-bench show ID``."""
    rows = (ROOT / "results" / "radiographs" / "trials" / "moco_v2.csv").read_text().splitlines()
    (first,) = csv.DictReader(rows[:2])
    told = {}
    for words in ([], ["--profile", "miniature"]):
        told[len(words)] = subprocess.run(
            [sys.executable, "-m", "harness.cli", "show", first["trial_id"], *words],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert told[0].returncode == 0
    assert "note: not of profile miniature; the results of profile radiographs have it." in told[0].stderr
    assert f"run just this: dira-bench run --profile radiographs --trial {first['trial_id'][:16]}" in told[0].stdout
    assert told[2].returncode == 2 and "under profile miniature" in told[2].stderr


def test_an_id_that_two_profiles_have_is_of_none_in_particular(tmp_path):
    for profile, ids in (("one", "a1\na2"), ("two", "a2\nb1")):
        (tmp_path / "results" / profile / "trials").mkdir(parents=True)
        (tmp_path / "results" / profile / "trials" / "m.csv").write_text(f"trial_id\n{ids}\n")
    found = {prefix: profile_of_trial(tmp_path, prefix) for prefix in ("a1", "b", "a", "a2", "c")}
    assert found == {"a1": "one", "b": "two", "a": None, "a2": None, "c": None}


def test_a_senseless_option_is_not_laid_to_the_file_of_parameters(root):
    with pytest.raises(ConfigurationError, match="^--profile: found 'Smoke'; expected small letters, digits and under"):
        load_parameters(root, {"profile": "Smoke"})
    path = root / "params.yaml"
    path.write_text(re.sub(r"(?m)^repeats: .*", "repeats: 0", path.read_text()))
    with pytest.raises(ConfigurationError, match="^params.yaml: repeats: found 0"):
        load_parameters(root, {"profile": "smoke"})


@pytest.mark.parametrize("words", [("run",), ("compare-results",), ("data", "twins")])
def test_help_breaks_lines_at_the_width_alone(words):
    """A paragraph as it stands in a docstring has breaks of its own, which would leave short lines."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words, "--help"],
        cwd=ROOT, env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    text = done.stdout.partition("╭")[0]
    for paragraph in re.split(r"\n *\n", text.strip()):
        lines = [line.strip() for line in paragraph.splitlines()]
        for line, following in pairwise(lines):
            assert len(line) + 1 + len(following.split()[0]) > 76, line


def test_a_metric_of_masks_is_not_said_to_be_had_of_trials_that_are_done(root):
    code, said = bench("new", "metric", "depth")
    assert code == 0 and "trials that are done lack it" in said and "rescore tasks.own" not in said
