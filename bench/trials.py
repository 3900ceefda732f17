"""What a trial of the miniature costs, against another checkout: ``python -m bench.trials --against FOLDER``.

Both checkouts are copied, with the cohorts and pretrained phases of this one's store and no result. They run the same
36 trials in turn: every task, at every label fraction, from random weights and from DiRA's; ``--task`` takes some.
Counted is the processor time of all processes: of a whole run, start included, and of each trial by its record. Every
value and every file that the trials leave must have the same bytes.

``--where`` says of one trial a task what part of it PyTorch's operators take: no arrangement around them saves that.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bench.measuring import finish, one_thread, parser, ratio, words
from bench.processes import another_checkout
from harness.contracts import Context
from harness.dotted import import_work
from harness.plan import make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry
from harness.spec import Item
from harness.store import Store

ROOT = Path(__file__).resolve().parents[1]
PROFILE = "miniature"
METHODS = ("random", "dira_moco_v2", "random_3d", "dira_transvw")
CONVOLUTIONS = ("aten::convolution_backward", "aten::mkldnn_convolution")
SUBREAPER = 36  # prctl: descendants whose parent has gone become ours, and are counted


@dataclass(frozen=True)
class Run:
    """One run of all trials.

    Attributes:
        whole: Processor seconds of all its processes.
        trials: Of each trial by id, as its record says.
        left: What each trial left: its values and the SHA-256 of its files, as text.
    """

    whole: float
    trials: dict[str, float]
    left: dict[str, str]


def planned(root: Path, tasks: Collection[str]) -> tuple[dict[str, Item], set[str]]:
    """Return the trials that are run, by id, and the ids of the cohorts and phases that they need.

    Args:
        root: The checkout.
        tasks: Only theirs; none: all.
    """
    parameters = load_parameters(root, {"profile": PROFILE, "repeats": 1})
    plan = make_plan(load_registry(root), parameters, load_families(root / "reports" / "families.yaml"))
    cells = [cell for key, cell in plan.cells.items() if key.method in METHODS and key.task in (tasks or plan.tasks)]
    trials = {item.id: item for cell in cells for item in cell.trials.values()}
    return trials, {need for item in trials.values() for need in item.needs}


def copied(checkout: Path, into: Path) -> Path:
    """Copy a checkout without results, and link the cohorts and phases of this one's store into it."""
    listed = ["git", "-C", str(checkout), "ls-files", "-co", "--exclude-standard"]
    results = (f"results/{PROFILE}/", "dvc.lock", "reports/miniature/", "reports/radiographs/")
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines():
        if (checkout / name).is_file() and not name.startswith(results):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / name, into / name)
    shutil.copytree(ROOT / ".cohorts", into / ".cohorts", copy_function=os.link)
    shutil.copytree(ROOT / ".trials" / "phase", into / ".trials" / "phase", copy_function=os.link)
    return into


def run(folder: Path, tasks: Collection[str]) -> Run:
    """Run the trials of some tasks in a copy of a checkout, and forget them."""
    command = [sys.executable, "-m", "harness.cli", "run", "--profile", PROFILE, "--repeats", "1", "--slots", "1"]
    for method in METHODS:
        command += ["--method", method]
    for task in tasks:
        command += ["--task", task]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each run compiles every module: 10 s beside trials of 1 s
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    while _reaped():
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(
            f"the run in {folder} ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}"
        )
    trials, left = {}, {}
    for path in sorted((folder / ".trials" / "trial").glob("*/*/*/record.json")):
        record = json.loads(path.read_text())
        trials[record["id"]] = record["provenance"]["processor_seconds"]
        left[record["id"]] = json.dumps([record["values"], record["files"]], sort_keys=True)
    shutil.rmtree(folder / ".trials" / "trial")
    (folder / ".trials" / "index.jsonl").unlink(missing_ok=True)
    return Run(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, trials, left)


def _reaped() -> bool:
    try:
        os.wait()
    except ChildProcessError:
        return False
    return True


def compare(against: Path, tasks: Collection[str], repeats: int, out: Path | None) -> None:
    """Run both checkouts in turn, print the ratios, and end with 1 if anything that was left differs."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as name:
        sides = {which: copied(root, Path(name) / which) for which, root in (("other", against), ("this", ROOT))}
        runs: dict[str, list[Run]] = {"other": [], "this": []}
        for repeat in range(repeats):
            for which in list(sides) if repeat % 2 == 0 else list(sides)[::-1]:
                found = run(sides[which], tasks)
                runs[which].append(found)
                print(f"  {which}: {found.whole:.1f} s, of which trials {sum(found.trials.values()):.1f} s", flush=True)
    left = [found.left for found in (*runs["other"], *runs["this"])]
    equal = all(one == left[0] for one in left)
    whole = ratio([one.whole for one in runs["other"]], [one.whole for one in runs["this"]])
    mean = {which: [statistics.mean(one.trials.values()) for one in found] for which, found in runs.items()}
    a_trial = ratio(mean["other"], mean["this"])
    result = {
        "bench": "trials",
        "clock": "processor time of all processes, 1 thread, 1 slot",
        "repeats": repeats,
        "trials": len(left[0]),
        "equal": equal,
        "seconds": {which: [one.whole for one in found] for which, found in runs.items()},
        "seconds_a_trial": mean,
        "other_over_this": {"whole runs": whole, "a trial": a_trial},
    }
    print(f"{len(left[0])} trials, {repeats} pairs; the bytes they leave are {'equal' if equal else 'NOT equal'}")
    for which, seconds in runs.items():
        taken = [one.whole for one in seconds]
        print(
            f"  {which}: whole run {statistics.median(taken):.1f} s [{min(taken):.1f}..{max(taken):.1f}], "
            f"a trial {statistics.median(mean[which]):.2f} s [{min(mean[which]):.2f}..{max(mean[which]):.2f}]"
        )
    print(f"other over this: whole runs {words(whole)}, a trial {words(a_trial)}")
    finish(result, out)
    if not equal:
        raise SystemExit(1)


def where(tasks: Collection[str], out: Path | None) -> None:
    """Print, for one trial a task, what part PyTorch's operators take."""
    from torch.profiler import ProfilerActivity, profile

    one_thread()
    trials, _ = planned(ROOT, tasks)
    store = Store(ROOT / ".trials", ROOT / ".cohorts")
    whole = {item.spec["task"]: item for item in trials.values() if item.spec["label_fraction"] == 1.0}
    shares: dict[str, dict[str, float]] = {}
    print("shares of a trial, in this process, warm: convolutions, other operators, all else; processor seconds")
    for task, item in sorted(whole.items()):
        inputs = {
            need: store.folder(record)
            for need in item.needs
            for kind in ("cohort", "phase")
            if (record := store.ok(kind, need)) is not None
        }
        with tempfile.TemporaryDirectory() as name:
            context = Context(device="cpu", folder=Path(name), inputs=inputs, resume=Path(name) / "resume")
            work = import_work(item.run)
            work(item.spec, context)
            begun = time.process_time()
            work(item.spec, context)
            seconds = time.process_time() - begun
            with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
                begun = time.perf_counter()  # the profiler's own clock
                work(item.spec, context)
                wall = time.perf_counter() - begun
        events = profiled.key_averages()
        operators = sum(event.self_cpu_time_total for event in events if event.key.startswith("aten::")) / 1e6 / wall
        convolutions = sum(event.cpu_time_total for event in events if event.key in CONVOLUTIONS) / 1e6 / wall
        shares[task] = {"convolutions": convolutions, "other operators": operators - convolutions, "seconds": seconds}
        print(f"  {task:12} {convolutions:.0%} {operators - convolutions:.0%} {1 - operators:.0%}; {seconds:.2f} s")
    finish({"bench": "trials", "shares": shares}, out)


def main() -> None:
    """Measure, print and write."""
    options: argparse.ArgumentParser = parser((__doc__ or "").splitlines()[0], repeats=3)
    options.add_argument("--against", type=another_checkout, help="another checkout of this project")
    options.add_argument("--where", action="store_true", help="say where the time of one trial a task goes")
    options.add_argument("--task", action="append", default=[], help="only this task's trials; several times")
    asked = options.parse_args()
    store = Store(ROOT / ".trials", ROOT / ".cohorts")
    trials, needs = planned(ROOT, asked.task)
    lacking = [need for need in needs if store.ok("cohort", need) is None and store.ok("phase", need) is None]
    if lacking:
        raise SystemExit(
            f"{len(lacking)} of {len(needs)} cohorts and phases that {len(trials)} trials need are not in {ROOT}. "
            f"Expected all. Fix: dira-bench run --profile {PROFILE}"
        )
    if asked.where:
        where(asked.task, asked.out)
    elif asked.against is not None:
        compare(asked.against.resolve(), asked.task, asked.repeats, asked.out)
    else:
        options.error("expected --against FOLDER or --where")


if __name__ == "__main__":
    main()
