"""Run phases in a test: specs as the plan writes them, folders under ``tmp_path``."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.contracts import Context, Outcome
from harness.seeding import seed
from harness.spec import MethodEntry
from methods.configuration import resolve
from methods.phases import PretextConfiguration
from methods.pretext import run_phase


def configurations(steps: int = 12, **fields: Any) -> dict[str, dict[str, Any]]:
    """Resolve DiRA (MoCo-v2), or what ``fields`` say, under ``smoke``: phase name → configuration of ``steps`` steps."""
    entry = {
        "discrimination": "moco_v2",
        "restoration": 10,
        "adversary": 0.001,
        **fields,
    }
    plan = resolve(
        MethodEntry(name="m", label="M", dimensions=2, recipe="pretext", version=1, source="test", **entry), "smoke"
    )
    found = {phase.name: copy.deepcopy(phase.configuration) for phase in plan.phases}
    for configuration in found.values():
        configuration["budget"] = {"unit": "steps", "count": steps}
    return found


def typed(configuration: dict[str, Any]) -> PretextConfiguration:
    return PretextConfiguration.model_validate(configuration)


def train(
    configuration: dict[str, Any],
    folder: Path,
    cohort: Path,
    *,
    parent: Path | None = None,
    seed_name: str = "a",
    workers: int = 0,
    resume: Path | None = None,
    report: Any = None,
    device: str = "cpu",
    leaving: Callable[[], bool] = lambda: False,
) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "phase": "phase",
        "configuration": configuration,
        "cohort": "cohort-id",
        "parent": None if parent is None else "parent-id",
        "base_seed": 0,
        "pretrain_seed": 0,
        "seed": seed(seed_name),
    }
    inputs = {"cohort-id": cohort} | ({} if parent is None else {"parent-id": parent})
    context = Context(
        device=device,
        folder=folder,
        inputs=inputs,
        resume=resume or folder / "resume",
        workers=workers,
        report=report or (lambda done, total, what: None),
        leaving=leaving,
    )
    return run_phase(spec, context)
