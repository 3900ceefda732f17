"""Two processes over gloo are one process at the same global batch; micro-batches are the batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.checkpoints import load_state
from harness.contracts import Outcome
from harness.environment import Slot
from harness.errors import ConfigurationError
from harness.executors.together import TogetherExecutor
from harness.identity import item_id
from harness.plan import make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry
from harness.runner import run
from harness.spec import Item
from harness.store import Store
from methods.together import DIVIDED
from methods.training import micro_batches
from methods.training.processes import Processes, check
from tests.methods.pretraining import configurations, train, typed

ROOT = Path(__file__).parents[2]
# Imports once, and forks before torch has a thread: a start of torchrun and of each process would import it anew.
CHILDREN = """
import json, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.methods.pretraining import train
root, cohort = Path(sys.argv[1]), Path(sys.argv[2])
other = os.fork()
rank = 0 if other else 1
os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
torch.distributed.init_process_group("gloo", init_method=f"file://{root}/rendezvous", rank=rank, world_size=2)
for name, (configuration, parent) in json.loads((root / "todo.json").read_text()).items():
    folder = root / name / str(rank)
    outcome = train(configuration, folder, cohort, parent=parent and root / parent / str(rank), seed_name="x", resume=root / name / "resume")
    (folder / "curve.json").write_text(json.dumps(outcome.curve))
torch.distributed.destroy_process_group()
if other:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
"""


def two_processes(root: Path, cohort: Path, todo: dict) -> None:
    root.mkdir()
    (root / "todo.json").write_text(json.dumps(todo))
    (root / "children.py").write_text(CHILDREN)
    command = [sys.executable, str(root / "children.py"), str(root), str(cohort)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr[-3000:]


def apart(one: Path, two: Path) -> float:
    """The largest difference of any entry of two states, in units of the largest entry of its tensor (at least 0.01)."""
    a, b = load_state(one / "last.pt")["state"], load_state(two / "last.pt")["state"]
    assert a.keys() == b.keys()
    return max(
        float((a[n].double() - b[n].double()).abs().max() / a[n].double().abs().max().clamp(min=0.01))
        for n in a
        if not n.endswith("num_batches_tracked")
    )


def phases(splits: int, steps: int, **fields) -> dict:
    options = {
        "norm_splits": splits,
        "optimiser": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
    }
    found = configurations(steps, options=options, **fields)
    for configuration in found.values():
        configuration["validation"] = {"unit": "steps", "every": 2, "images": 32}
    return found


# Name → configuration and how far apart two states may end. Sums are taken in another order, and the tiny network at a
# high rate stretches each rounding about a hundredfold a step (measured: 1e-5 after one, up to 4e-3 after two), so the
# longer objectives are held against each other after one step. Adam's first step divides a gradient by itself.
PLAIN = {"restoration": 0, "adversary": 0}
CASES = {
    "moco_v2, four norms": (lambda: phases(4, 3)["dis"], 1e-3),
    "moco_v2, one norm": (lambda: phases(1, 3)["dis"], 1e-3),
    "simsiam": (lambda: phases(1, 3, discrimination="simsiam", **PLAIN)["dis"], 1e-3),
    "barlow_twins": (lambda: phases(1, 2, discrimination="barlow_twins", **PLAIN)["dis"], 1e-3),
    "dis+res": (lambda: phases(4, 1)["dis+res"], 1e-4),
    "dis+res+adv": (lambda: phases(1, 1)["dis+res+adv"], 1e-2),
}


@pytest.fixture(scope="module")
def both(cohort, tmp_path_factory):
    """Name → folders of one process and of the two, and the curve of one, for every kind of batch norm and base."""
    root = tmp_path_factory.mktemp("distributed")
    todo = {name: (make(), None) for name, (make, _) in CASES.items()}
    curves = {name: train(c, root / "one" / name, cohort, seed_name="x").curve for name, (c, _) in todo.items()}
    two_processes(root / "two", cohort, todo)
    return {name: (root / "one" / name, root / "two" / name, curves[name]) for name in todo}


@pytest.mark.parametrize("name", list(CASES))
def test_two_processes_end_as_one_does_at_the_same_global_batch(both, name):
    one, two, curve = both[name]
    assert apart(two / "0", two / "1") == 0
    assert apart(one, two / "0") < CASES[name][1]
    theirs = json.loads((two / "0" / "curve.json").read_text())
    assert [row["step"] for row in theirs] == [row["step"] for row in curve] and curve
    for mine, other in zip(curve, theirs, strict=True):
        for key, value in mine.items():
            assert other[key] == pytest.approx(value, rel=1e-3, abs=1e-6), key


@pytest.mark.parametrize("phase", ["dis", "dis+res", "dis+res+adv"])
def test_micro_batches_end_as_the_whole_batch_does(cohort, tmp_path, monkeypatch, phase):
    configuration = phases(4, 1)[phase]
    whole = train(configuration, tmp_path / "whole", cohort)
    monkeypatch.setenv(micro_batches.VARIABLE, "4")
    parts = train(configuration, tmp_path / "parts", cohort)
    assert apart(tmp_path / "whole", tmp_path / "parts") < (1e-2 if "adv" in phase else 1e-4)
    for mine, other in zip(whole.curve, parts.curve, strict=True):
        for key, value in mine.items():
            assert other[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key


@pytest.mark.parametrize(
    ("base", "splits", "size"),
    [("moco_v2", 4, "3"), ("moco_v2", 1, "8"), ("simsiam", 4, "4"), ("barlow_twins", 4, "4")],
)
def test_a_micro_batch_that_would_change_a_number_is_refused(cohort, tmp_path, monkeypatch, base, splits, size):
    monkeypatch.setenv(micro_batches.VARIABLE, size)
    configuration = phases(splits, 1, discrimination=base, restoration=0, adversary=0)["dis"]
    with pytest.raises(ConfigurationError, match=micro_batches.VARIABLE):
        train(configuration, tmp_path, cohort)


def test_a_number_of_processes_that_would_change_a_number_is_refused():
    said = typed(configurations()["dis"])
    plain = said.model_copy(update={"batch": 16, "norm_splits": 1})
    check(plain, Processes(0, 2), 2)
    with pytest.raises(ConfigurationError, match="volumes"):
        check(plain, Processes(0, 2), 3)
    for batch, splits, count in ((16, 1, 3), (16, 4, 8), (12, 2, 3)):
        with pytest.raises(ConfigurationError, match="processes"):
            check(said.model_copy(update={"batch": batch, "norm_splits": splits}), Processes(0, count), 2)


def count_myself(spec, context):
    """The work of an item: write down which process it is, and whether it is one of several."""
    with Path(spec["file"]).open("a") as stream:
        stream.write(f"{os.environ['RANK']} {torch.distributed.is_initialized()}\n")
    return Outcome(values={"rank": float(os.environ["RANK"])})


@pytest.mark.thorough
def test_a_phase_that_cannot_be_divided_is_run_by_one_process_alone(tmp_path):
    """Two processes of a supervised phase or a discovery would write the same checkpoint."""
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    spec = {"phase": "supervised", "file": str(tmp_path / "ranks.txt")}
    item = Item(kind="phase", id=item_id("phase", spec), title="one", run=f"{__name__}:count_myself", spec=spec)
    executor = TogetherExecutor(2, Slot(0, "2 together", "cpu", "cpu", ""))
    try:
        summary = run([item], store, executor, workers=0, data_roots={})
    finally:
        executor.close()
    assert summary.complete, [record.error for record in summary.failed.values()]
    assert (tmp_path / "ranks.txt").read_text() == "0 False\n"


def test_only_the_phases_of_2d_pretext_are_divided():
    registry = load_registry(ROOT)
    families = load_families(ROOT / "reports" / "families.yaml")
    plan = make_plan(registry, load_parameters(ROOT, {"profile": "smoke"}), families)
    runs = {}
    for (method, _), chain in plan.phases.items():
        runs.setdefault(registry.methods[method].recipe, set()).update(item.run for item in chain)
    assert runs["pretext"] == DIVIDED and len(runs) > 2
    assert all(not DIVIDED & found for recipe, found in runs.items() if recipe in ("supervised", "volumes"))


@pytest.mark.parametrize(
    ("base", "precision"),
    [("simsiam", "float32"), ("barlow_twins", "bf16"), pytest.param("moco_v2", "fp16", marks=pytest.mark.thorough)],
)
def test_every_base_resumes_to_the_same_state(cohort, tmp_path, checkpoint_each_step, base, precision):
    configuration = configurations(5, discrimination=base)["dis+res+adv"] | {"precision": precision}

    def die(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(configuration, tmp_path / "killed", cohort, resume=tmp_path / "resume", report=die)
    resumed = train(configuration, tmp_path / "resumed", cohort, resume=tmp_path / "resume")
    whole = train(configuration, tmp_path / "whole", cohort)
    a, b = (load_state(tmp_path / n / "last.pt")["state"] for n in ("resumed", "whole"))
    assert all(torch.equal(a[name], b[name]) for name in b) and a.keys() == b.keys()
    assert resumed.curve == whole.curve and resumed.facts == whole.facts
