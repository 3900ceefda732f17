"""Small scans and words for tests: smooth bodies with lungs, the layout of ``methods.volumes.scans``."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.contracts import Context, Outcome
from harness.dotted import import_dotted
from harness.seeding import seed
from harness.spec import MethodEntry
from methods.configuration import resolve


def write_scans(folder: Path, *, train: int = 8, validation: int = 4, shape=(32, 32, 20), seed: int = 0) -> Path:
    """Write scans of two kinds (large and small lungs) with vessels at random."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.Generator(np.random.PCG64(seed))
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    scans = []
    for number in range(train + validation):
        size = 0.75 if number % 2 else 0.55
        lungs = (x**2 + y**2 < size**2) & (abs(x) > 0.08)
        scan = np.where(lungs, 0.07, 0.52) + generator.normal(0, 0.01, shape)
        vessels = generator.random(shape) < 0.03
        scan[vessels & lungs] = 0.5
        scans.append(scan)
    np.save(folder / "scans.npy", np.rint(np.clip(scans, 0, 1) * 255).astype(np.uint8))
    rows = range(train + validation)
    split = ["train"] * train + ["validation"] * validation
    pd.DataFrame({"row": rows, "case": [f"s{i}" for i in rows], "patient": rows, "split": split}).to_csv(
        folder / "scans.csv", index=False
    )
    (folder / "manifest.json").write_text(json.dumps({"recipe": "test"}))
    return folder


def phases(profile: str = "smoke", **fields: Any) -> dict[str, Any]:
    """Resolve DiRA (TransVW), or what ``fields`` say: phase name → phase."""
    entry = {"visual_words": 1, "restoration": 100, "adversary": 1, **fields}
    method = MethodEntry(name="m", label="M", dimensions=3, recipe="volumes", version=1, source="test", **entry)
    return {phase.name: phase for phase in copy.deepcopy(resolve(method, profile)).phases}


def run(phase: Any, folder: Path, inputs: dict[str, Path], **more: Any) -> Outcome:
    """Run a phase; ``inputs``: cohort, discovery and parent → folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resume").mkdir(exist_ok=True)
    spec = {
        "phase": phase.name,
        "configuration": phase.configuration,
        "cohort": "cohort" if phase.cohort else None,
        "parent": "parent" if "parent" in inputs else None,
        "base_seed": 0,
        "pretrain_seed": 0,
        "seed": seed(more.pop("seed_name", "a")),
        **({"uses": {"discovery": "discovery"}} if phase.uses else {}),
    }
    context = Context(device=more.pop("device", "cpu"), folder=folder, inputs=inputs, resume=folder / "resume", **more)
    return import_dotted(phase.run)(spec, context)
