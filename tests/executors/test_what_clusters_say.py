"""What Slurm and Ray say of a job, read without either; their programs are scripts of a few lines here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, Unavailable
from harness.executors import bundle, slurm
from harness.executors import ray as engine_of_ray
from harness.executors.factory import make_executor
from harness.executors.options import load_options
from harness.spec import Ending
from harness.store import EngineJob


def _program(folder: Path, name: str, *lines: str) -> None:
    (folder / name).write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's programs, none of which answers yet."""
    for name in ("sbatch", "squeue", "scancel", "scontrol", "srun", "sacct"):
        _program(tmp_path, name, "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    slurm.cluster_name.cache_clear()
    return tmp_path


@pytest.mark.parametrize(
    ("shown", "told", "state", "code"),
    [
        ("JobId=3 JobState=FAILED Reason=NonZeroExitCode ExitCode=75:0", "", "FAILED", 75),
        ("JobId=3 JobState=FAILED ExitCode=0:9", "", "FAILED", -9),
        ("JobId=3 JobState=FAILED ExitCode=137:0", "", "FAILED", -9),  # what a shell says of SIGKILL
        ("", "CANCELLED by 1000|0:15", "CANCELLED", -15),  # the controller has forgotten it
        ("", "OUT_OF_MEMORY|0:125", "OUT_OF_MEMORY", -125),
        ("", "", "", None),
    ],
)
def test_how_a_job_ended_is_asked_of_the_controller_then_of_the_accounting(
    programs: Path, shown: str, told: str, state: str, code: int | None
) -> None:
    _program(programs, "scontrol", f"echo '{shown}'" if shown else "exit 1")
    _program(programs, "sacct", f"echo '{told}'" if told else "exit 1")
    assert slurm.look_up("3_1") == slurm.JobEnd(state, code)


def test_a_job_that_runs_after_all_has_not_ended(programs: Path) -> None:
    _program(programs, "scontrol", "echo JobId=3 JobState=COMPLETING ExitCode=0:0")
    assert slurm.look_up("3") is None


def test_a_controller_that_does_not_answer_says_nothing_of_a_job(programs: Path) -> None:
    job = EngineJob("slurm", "3_1", "here")
    assert slurm.alive(job) is None
    _program(programs, "scontrol", "echo 'ClusterName             = here'")
    assert slurm.alive(job) is None, "squeue does not answer"
    _program(programs, "squeue", "echo '3_1|PENDING|Resources'")
    assert slurm.alive(job) is True
    assert slurm.alive(EngineJob("slurm", "3_2", "here")) is False
    assert slurm.alive(EngineJob("slurm", "3_1", "elsewhere")) is None
    with pytest.raises(Unavailable, match="is of cluster elsewhere; expected here"):
        slurm.cancel(EngineJob("slurm", "3_1", "elsewhere"))


def test_an_option_that_the_engine_does_not_know_is_refused_before_slurm_is_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text("minuets: 5\n")
    with pytest.raises(ConfigurationError, match="minuets"):
        make_executor("slurm", 1, "cpu", (), load_options(path))
    with pytest.raises(ConfigurationError, match="minuets"):
        make_executor("ray", 1, "cpu", (), load_options(path))


@pytest.mark.parametrize(
    ("engine", "content", "said"),
    [
        ("slurm", "partiton: gpu\nbundel: 3\n", 'found "bundel", "partiton", which the engine does not know; did you mean'),
        ("slurm", "partiton: gpu\n", 'did you mean "partition"? expected options among account, bundle,'),
        ("slurm", "xyzzy: 1\n", "which the engine does not know; expected options among account, bundle,"),
        ("slurm", "cpus: two\n", "slurm.yaml: cpus: found 'two'; expected a whole number"),
        ("slurm", "", "the file is empty; expected a YAML mapping such as partition: gpu"),
        ("slurm", "# nothing\n\n", "the file is empty"),
        ("slurm", "- partition\n", "holds list; expected a mapping; see docs/engines.md."),
        ("local", "cpus: 2\nmemory: 3\n", 'found "cpus", "memory", and this engine has no options; leave --engine-options out'),
        ("together", "cpus: 2\n", "this engine has no options"),
        ("ray", "cpu: 2\n", 'did you mean "cpus"'),
    ],
)  # fmt: skip
def test_a_mistake_in_options_is_one_sentence(tmp_path: Path, engine: str, content: str, said: str) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as refusal:
        make_executor(engine, 1, "cpu", (), load_options(path))
    (line,) = str(refusal.value).splitlines()
    assert said in line and str(path) in line


def test_a_bundle_says_of_each_item_how_it_ended_among_whatever_else_is_printed() -> None:
    said = "submitit INFO - Starting\n0 /store/a/job.json\nloss 3\n-9 /store/b/job.json\n75 relative\n"
    assert bundle.statuses(said) == {"/store/a/job.json": 0, "/store/b/job.json": -9}


@pytest.mark.parametrize(
    ("said", "ending", "code"),
    [
        ("The actor died because of an error raised in its creation task, ...\nOver: <75|it left>", Ending.PREEMPTED, 75),
        ("... creation task ...\nOver: <0|>", Ending.EXIT, 0),
        ("... error raised in its creation task ...\nModuleNotFoundError: No module named 'x'", Ending.NOT_STARTED, None),
        ("The actor died because its node has died. Node Id: 1", Ending.NODE_LOST, None),
        ("The actor is dead because it was killed by `ray.kill`.", Ending.SIGNAL, None),
        ("The actor is dead because its worker process has died. OOM killer", Ending.GONE, None),
    ],
)  # fmt: skip
def test_rays_account_of_a_death_is_read(said: str, ending: Ending, code: int | None) -> None:
    found = engine_of_ray.read_death(said)
    assert (found.reason, found.code) == (ending, code)
