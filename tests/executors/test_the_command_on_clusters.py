"""``dira-bench run`` on real clusters: the same ids and values as on this machine, by pilots, by Slurm and by Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.store import Store
from tests.executors.conformance import wait_until
from tests.executors.slurm_on_loopback import Cluster, slurm
from tests.executors.test_ray import LOOPBACK, SMALL

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
FEW = ("--profile", "smoke", "--method", "moco_v2", "--task", "montgomery", "--repeats", "1")
PILOT = """\
#!/bin/bash
#SBATCH --array=0-1
#SBATCH --signal=B:USR2@20
#SBATCH --time=5
#SBATCH --output={home}/pilot-%a.txt
exec {python} -m harness.cli run {few} --slots 1 --exit-when-idle --until 4m
"""


def _checkout(folder: Path) -> Path:
    """A checkout with a store of its own."""
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(folder)], check=True)
    return folder


def _run(home: Path, *more: str, environment: Mapping[str, str] | None = None) -> None:
    words = [sys.executable, "-m", "harness.cli", "run", *FEW, *more]
    said = {**os.environ, **(environment or {}), "PYTHONPATH": str(home)}
    done = subprocess.run(words, cwd=home, env=said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _found(home: Path) -> dict[str, tuple[Any, ...]]:
    """Id → values and weights of each phase and trial."""
    store = Store(home / ".trials", home / ".cohorts")
    found: dict[str, tuple[Any, ...]] = {}
    for kind in ("phase", "trial"):
        for id in store.done_ids(kind):  # type: ignore[arg-type]
            records = [record for record in store.attempts(kind, id) if record.status == "ok"]  # type: ignore[arg-type]
            assert len(records) == 1
            found[id] = (records[0].values, records[0].facts.get("encoder_sha256"), records[0].files.get("arrays.npz"))
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    home = _checkout(tmp_path_factory.mktemp("local") / "checkout")
    _run(home, "--slots", "2")
    found = _found(home)
    assert len(found) >= 4  # phases, and a trial of each label fraction
    return found


@pytest.fixture(scope="module")
def queue() -> Iterator[Cluster]:
    with slurm() as found:
        yield found


def test_an_array_of_pilots_shares_one_store(queue: Cluster, here: dict[str, tuple[Any, ...]], tmp_path: Path) -> None:
    home = _checkout(tmp_path / "checkout")
    script = tmp_path / "pilot.sh"
    script.write_text(PILOT.format(home=tmp_path, python=sys.executable, few=" ".join(FEW)))
    said = {**queue.environment, "PYTHONPATH": str(home)}
    subprocess.run(["sbatch", str(script)], cwd=home, env=said, check=True, stdout=subprocess.DEVNULL)
    wait_until(lambda: queue.ask("squeue", "--noheader") == "", 280.0)
    told = "".join(path.read_text() for path in sorted(tmp_path.glob("pilot-*.txt")))
    states = queue.ask("squeue", "--noheader", "--states=all", "--format", "%T").split()
    assert set(states) == {"COMPLETED"}, told
    assert _found(home) == here, told


def test_slurm_gives_the_same_ids_and_values(queue: Cluster, here: dict[str, tuple[Any, ...]], tmp_path: Path) -> None:
    home = _checkout(tmp_path / "checkout")
    options = tmp_path / "slurm.yaml"
    options.write_text("minutes: 5\npoll_seconds: 1\nbundle: 2\n")
    _run(home, "--engine", "slurm", "--max-jobs", "2", "--engine-options", str(options), environment=queue.environment)
    assert _found(home) == here


def test_ray_gives_the_same_ids_and_values(
    here: dict[str, tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in LOOPBACK.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster as RayCluster

    cluster = RayCluster(initialize_head=True, head_node_args=SMALL)
    try:
        cluster.add_node(**SMALL)
        home = _checkout(tmp_path / "checkout")
        options = tmp_path / "ray.yaml"
        options.write_text(f"address: {cluster.address}\n")
        _run(home, "--engine", "ray", "--engine-options", str(options))
    finally:
        cluster.shutdown()
    assert _found(home) == here
