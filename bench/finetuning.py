"""Fine-tuning and evaluation on synthetic pictures: images a second of a profile's trial, in training and in test."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.pictures import write_cohort
from harness.contracts import Context
from harness.registry import load_registry, project_root
from harness.seeding import seed
from methods.configuration import resolve
from tasks.transfer.run import run_trial

TRAIN, VALIDATION = 256, 32
WARM_UP = 10  # steps


def labelled_cohort(folder: Path, *, test: int, px: int, labels: int) -> Path:
    """Write pictures with random labels, and with masks of their bright pixels, as ``harness.pixels`` reads them."""
    write_cohort(folder, train=TRAIN, validation=VALIDATION + test, px=px)
    cases = pd.read_csv(folder / "cases.csv")
    cases.loc[cases.index >= TRAIN + VALIDATION, "split"] = "test"
    generator = np.random.Generator(np.random.PCG64(0))
    names = [f"finding {number}" for number in range(labels)]
    for name in names:
        cases[name] = generator.integers(0, 2, len(cases))
    cases.to_csv(folder / "cases.csv", index=False)
    np.save(folder / "masks.npy", (np.load(folder / "pixels.npy", mmap_mode="r") > 128).astype(np.uint8))
    manifest = {"recipe": "bench", "labels": names, "sha256": {"pixels.npy": "", "masks.npy": ""}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def trial_of(task: str, profile: str, steps: int, batch: int | None) -> dict[str, Any]:
    """Return a trial of a task from random weights, of so many steps and one evaluation on validation."""
    registry = load_registry(project_root())
    plan, method = registry.resolve_task(task, profile), resolve(registry.methods["random"], profile)
    transfer = {**plan.transfer, "steps": steps, "epochs": None, "evaluate_every": steps}
    if "localization" in transfer:
        transfer["localization"] = None
    transfer["batch"] = batch or transfer["batch"]
    return {
        "method": "random",
        "method_version": 1,
        "task": task,
        "task_version": 1,
        "encoder": method.encoder,
        "phase": None,
        "cohort": "cohort",
        "transfer": transfer,
        "metrics": list(plan.metrics[:1]),
        "label_fraction": 1.0,
        "subset": {"rule": "fixed", "seed": 0},
        "pretrain_seed": 0,
        "repeat": 0,
        "seeds": {role: seed("bench", role) for role in ("init", "order", "augment")},
        "resample_seed": 0,
    }


def tuned(task: str, cohort: Path, scratch: Path, device: str, *, profile: str, steps: int, batch: int | None) -> Any:
    """Run a trial; return its rates, its score and the losses of its curve."""
    scratch.mkdir(parents=True, exist_ok=True)
    spec, told = trial_of(task, profile, steps, batch), dict[int, float]()

    def report(done: int, total: int, what: str) -> None:
        told[done] = time.perf_counter()  # a GPU is waited for at every tenth step: the tenth and the last are true

    context = Context(
        device=device, folder=scratch, inputs={"cohort": cohort}, resume=scratch / "resume", report=report
    )
    begun = time.perf_counter()
    outcome = run_trial(spec, context)
    ended, size = time.perf_counter(), spec["transfer"]["batch"]
    first = min(WARM_UP, steps - 1)
    tested = len(outcome.arrays["case_hash"])
    return {
        "status": outcome.status.value,
        "batch": size,
        "precision": spec["transfer"]["precision"],
        "images_per_second": (steps - first) * size / (told[steps] - told[first]),
        "test_time_augmentation": spec["transfer"]["test_time_augmentation"],
        "test_images": tested,
        "test_images_per_second": (tested + VALIDATION) / (ended - told[steps]),
        "seconds": ended - begun,
        "values": outcome.values,
        "training_loss": [row["training_loss"] for row in outcome.curve],
    }


def difference(one: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """Return how far two runs of one trial are apart: what a comparison between GPUs must tolerate."""
    values = {name: abs(value - other["values"][name]) for name, value in one["values"].items()}
    losses = [abs(a - b) for a, b in zip(one["training_loss"], other["training_loss"], strict=True)]
    return {**values, "training loss": max(losses)}
