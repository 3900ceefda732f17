"""The doors of the command line: bounds of every number, names before anything runs, and what the exit code says."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from rich.console import Console
from typer.testing import CliRunner

import harness.cli.listing as listing
import harness.cli.session as session_module
from harness.cli import execution, stages
from harness.cli.application import application
from harness.cli.session import Session
from harness.errors import ConfigurationError, DiraBenchError
from harness.executors import together
from harness.pretrainings import pretrainings, read_probes
from harness.registry import load_parameters
from harness.spec import Status
from tests.harness import project
from tests.harness.test_commands import leave

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = typer.main.get_command(application)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A copied project on which commands work."""
    root = project.copy(tmp_path)
    shutil.copytree(ROOT / "results" / "published", root / "results" / "published")
    monkeypatch.setattr(session_module, "project_root", lambda: root)
    monkeypatch.setattr(session_module, "console", Console(width=200))
    return root


def bench(*words: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it said."""
    done = CliRunner().invoke(application, list(words))
    if isinstance(done.exception, DiraBenchError):
        return 2, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def number_options(command: typer.core.TyperCommand) -> list[tuple[str, str]]:
    """Return the options of a command that take a number, and its type's name."""
    kinds = {o.opts[-1]: o.type_descriptor.annotation for o in command.params}
    return [(name, kind.__name__) for name, kind in kinds.items() if kind in (int, float)]


ALL = {
    **{(name,): command for name, command in COMMANDS.commands.items() if not hasattr(command, "commands")},
    **{
        (name, inner): command
        for name, group in COMMANDS.commands.items()
        for inner, command in getattr(group, "commands", {}).items()
    },
}
NUMBERS = [(words, *option) for words, command in ALL.items() for option in number_options(command)]


def test_the_numbers_that_commands_take_are_all_tested_here():
    assert {(words, option) for words, option, _ in NUMBERS} == {
        (("run",), "--slots"), (("run",), "--max-jobs"), (("run",), "--workers"), (("run",), "--timeout"), (("run",), "--repeats"), (("run",), "--sample"),
        (("export",), "--pretrain-seed"), (("plan",), "--target"),
        (("plan",), "--pretraining-spread"), (("audit",), "--alpha"),
        (("data", "verify"), "--workers"), (("data", "verify"), "--sample"), (("data", "prepare"), "--workers"),
    }  # fmt: skip


@pytest.mark.parametrize(("words", "option", "kind"), NUMBERS, ids=str)
def test_a_number_that_makes_no_sense_is_refused_by_its_option_and_nothing_runs(root, words, option, kind):
    bad = ["-3", "-1", "1000000000000"] + (["nan", "inf", "-inf", "-1e-9"] if kind == "float" else [])
    bad += ["0"] if option == "--timeout" else []
    needed = {
        ("export",): ["random", "--layout", "torchvision"],
        ("audit",): ["table.csv"],
        ("data", "verify"): ["montgomery"],
        ("data", "prepare"): ["montgomery"],
    }.get(words, [])
    for value in bad:
        code, said = bench(*words, *needed, f"{option}={value}")
        assert code == 2 and f"found {option}" in said and "expected" in said, (value, said)
        assert len(said.splitlines()) == 1
    assert not (root / ".trials").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--block", "foo"), ("run", "--block", "foo"), ("plan", "--device", "tpu"), ("run", "--device", "tpu"),
        ("plan", "--profile", "foo"), ("run", "--profile", "foo"), ("list", "--profile", "foo"),
        ("status", "--profile", "foo"), ("show", "abc", "--profile", "foo"), ("list", "foo"),
        ("run", "--method", "foo"), ("run", "--task", "foo"), ("export", "foo", "--layout", "torchvision"),
        ("export", "random", "--layout", "foo"), ("check", "foo"),
        ("data", "phantom", "foo", "x"), ("data", "verify", "foo"), ("data", "prepare", "foo"), ("data", "fetch", "foo"),
        ("stage", "cohorts", "foo"), ("stage", "pretrain", "foo"), ("stage", "trials", "foo"),
        ("stage", "report", "foo"), ("stage", "statistics", "foo"),
        ("run", "--engine", "together", "--method", "foo"), ("run", "--engine", "foo"), ("run", "--until", "foo"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_name_that_nothing_has_is_refused_by_every_command_alike(root, words):
    code, said = bench(*words)
    assert code == 2
    assert (re.search(r'"foo"|tpu', said) and "expected" in said) or "did you mean" in said


def test_what_is_asked_for_and_failed_is_an_exit_code_of_1_also_when_it_is_skipped(root):
    session = Session(root, load_parameters(root, {"profile": "smoke"}))
    trial = next(iter(session.plan.trials(lambda cell: cell.key.method == "random").values()))
    leave(session, trial, Status.TIMEOUT, {"type": "Timeout", "message": "took longer than 1 s"})
    code, said = bench("run", "--profile", "smoke", "--trial", trial.id)
    assert code == 1 and "it failed" in said and "run --retry-failed --profile smoke" in said


def test_an_entry_that_the_profile_has_not_leaves_files_without_a_row_and_no_door_knows_it(root):
    for side, name in (("methods", "moco_v2_dir"), ("tasks", "montgomery")):
        path = root / side / "registry.yaml"
        entries = yaml.safe_load(path.read_text())
        entries[side][name]["profiles"] = ["anatomy"]
        path.write_text(yaml.safe_dump(entries, sort_keys=False, width=1000))
    session = Session(root, load_parameters(root, {"profile": "smoke"}))
    for write in (stages.write_cohorts, stages.write_pretrainings, stages.write_all_trials):
        write(session)
    folder = root / "results" / "smoke"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix}
    assert {name for name in names if Path(name).stem in ("montgomery", "moco_v2_dir")} == {
        "cohorts/montgomery.json", "pretraining/moco_v2_dir.json", "curves/moco_v2_dir.csv", "trials/moco_v2_dir.csv",
        "resamples/moco_v2_dir.npz", "localization/moco_v2_dir.npz",
    }  # fmt: skip
    assert "not of this profile" in (folder / "cohorts/montgomery.json").read_text()
    assert len((folder / "trials/moco_v2_dir.csv").read_text().splitlines()) == 1
    for words in (("list", "tasks"), ("list", "methods"), ("plan", "--json")):
        code, said = bench(*words, "--profile", "smoke")
        assert code == 0 and "montgomery" not in said and '"moco_v2_dir"' not in said
    for words in (("run", "--task", "montgomery"), ("data", "phantom", "montgomery", "x"), ("check", "moco_v2_dir")):
        code, said = bench(*words, "--profile", "smoke")
        assert code == 2 and "is not of profile smoke" in said and "its entry names anatomy" in said, words


def test_the_exit_codes_are_documented_as_they_are():
    text = (ROOT / "docs" / "commands.md").read_text()
    for code in ("0", "1", "2", "130"):
        assert f"| {code} |" in text
    for words in ALL:
        assert f"`{' '.join(words)}" in text, words


def test_help_names_no_option_that_the_page_of_commands_leaves_out():
    text = (ROOT / "docs" / "commands.md").read_text()
    for words, command in ALL.items():
        for option in command.params:
            name = option.opts[-1]
            if name.startswith("--") and name != "--help":
                assert f"`{name}" in text, (words, name)


@pytest.mark.parametrize(("repeats", "seeds"), [(1, 1), (10, 2), (3, 3)])
def test_the_plan_counts_what_it_plans(root, repeats, seeds, capsys):
    """1160 + 380 trials stood above "runnable 2820" when there were two pretraining seeds."""
    parameters = (root / "params.yaml").read_text()
    parameters = re.sub(r"(?m)^repeats:.*$", f"repeats: {repeats}", parameters)
    (root / "params.yaml").write_text(re.sub(r"(?m)^pretrain_seeds:.*$", f"pretrain_seeds: {seeds}", parameters))
    session = Session(root, load_parameters(root, {"profile": "smoke"}))
    counts = listing.counted(session)
    runs = {"random": repeats}
    cells = [cell for cell in session.plan.cells.values() if not cell.skipped]
    expected = sum(runs.get(cell.key.method, repeats * seeds) for cell in cells)
    assert counts.published.distinct_trials + counts.added.distinct_trials == expected
    assert counts.runnable == expected  # everything of this small registry is available
    assert bench("plan", "--profile", "smoke")[0] == 0


@pytest.mark.parametrize("width", [60, 80, 100])
def test_every_name_is_whole_on_a_narrow_terminal(root, monkeypatch, width, capsys):
    narrow = Console(width=width, highlight=False, soft_wrap=False)
    for module in (listing, session_module):
        monkeypatch.setattr(module, "console", narrow)
    session = Session(root, load_parameters(root, {"profile": "smoke"}))
    listing.print_pretrainings(pretrainings(session.plan, read_probes(session.root)))
    listing.print_plan(session, listing.counted(session))
    for kind in ("methods", "tasks"):
        listing._list_narrowly(kind, listing._entries(session, kind), "smoke")
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= width
    trained = {name for (name, _), chain in session.plan.phases.items() if chain}
    for name in (*trained, *session.plan.tasks):
        assert name in re.findall(r"\w+", said)


def test_a_label_and_a_reason_are_printed_as_text_whatever_rich_makes_of_brackets(root):
    project.append(
        root / "methods/registry.yaml",
        '  mine: {label: "[red]Mine[/] [/b]", dimensions: 2, recipe: "no_module:X", version: 1, source: s}\n',
    )
    code, said = bench("list", "methods")
    assert code == 0 and "[red]Mine[/] [/b]" in said and "no_module:X" in said


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    "beside", [("--task", "montgomery"), ("--block", "added"), ("--again",), ("--trial", "abc"), ("--repeats", "3")]
)
def test_pretraining_together_refuses_what_has_no_effect_beside_it(root, beside):
    code, said = bench("run", "--engine", "together", "--method", "moco_v2", *beside)
    assert code == 2 and f"found {beside[0]} with --engine together" in said
    assert bench("run", "--engine", "together")[0] == 2
    code, said = bench("run", "--engine", "together", "--method", "random")
    assert code == 2 and "random has no phase to train" in said


@pytest.mark.parametrize(("method", "said_of"), [("moco_v2", "1 phase is"), ("dira_moco_v2", "3 phases are")])
def test_pretraining_together_says_which_phases_one_process_trains_alone(root, monkeypatch, method, said_of):
    monkeypatch.setattr(execution, "run_items", lambda *given: None)
    words = ("run", "--engine", "together", "--slots", "2", "--method", method)
    assert "note:" not in bench(*words)[1]
    monkeypatch.setattr("methods.together.DIVIDED", frozenset())
    assert f"note: {said_of} in 3D or supervised; one process alone trains such a phase" in bench(*words)[1]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--detach",), "found --detach with engine local, whose jobs end with this command"),
        (("--slots", "2", "--max-jobs", "2"), "found --slots and --max-jobs; expected one of them"),
        (("--again", "--until", "1h", "--exit-when-idle"), "found --until and --exit-when-idle with --again"),
        (("--engine-options", "none.yaml"), "--engine-options none.yaml: there is no such file"),
        (("--engine-options", "."), "--engine-options .: it is a folder"),
    ],
    ids=str,
)
def test_options_of_an_engine_that_make_no_sense_are_one_sentence_and_nothing_runs(root, words, found):
    code, said = bench("run", "--method", "random", *words)
    assert code == 2 and found in said and len(said.splitlines()) == 1
    assert not (root / ".trials" / "trial").exists()


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(together, "gpus", lambda: [("0", "A"), ("1", "A")])
    assert together.place(0)[0].visible == "0,1" and together.place(0)[1] == 2
    with pytest.raises(ConfigurationError, match="found --slots 3 with --engine together; expected at most 2"):
        together.place(3)
    slot, count = together.place(3, "cpu")
    assert (slot.device_class, slot.visible, count) == ("cpu", "", 3)


def test_the_version_and_a_completion_script_are_there():
    code, said = bench("--version")
    assert code == 0 and re.fullmatch(r"dira-bench (\d+\.\d+\.\d+|\(a checkout .*\))\n", said)
    done = program("harness.cli", _HARNESS_CLI_COMPLETE="", _DIRA_BENCH_COMPLETE="source_bash")
    assert done.returncode in (0, 2)
    options = {name for option in COMMANDS.params for name in option.opts}
    assert {"--version", "--install-completion", "--show-completion"} <= options


def test_every_command_says_what_it_does():
    for words, command in ALL.items():
        assert inspect.cleandoc(command.help or ""), words
