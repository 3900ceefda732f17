from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.contracts import Context
from harness.registry import load_registry
from harness.spec import TaskPlan
from tasks.cohorts.build import build
from tasks.specs import CohortConfiguration

torch.set_num_threads(1)


def context(folder: Path, **inputs: Path) -> Context:
    return Context(device="cpu", folder=folder, inputs=inputs, resume=folder)


def plan_of(task: str, profile: str = "smoke", **transfer: Any) -> TaskPlan:
    plan = load_registry().resolve_task(task, profile)
    changed = copy.deepcopy(plan.transfer)
    for key, value in transfer.items():
        usual = changed.get(key)
        of_one_kind = (
            isinstance(value, dict) and isinstance(usual, dict) and value.get("name") in (None, usual.get("name"))
        )
        changed[key] = {**usual, **value} if of_one_kind else value
    return plan.model_copy(update={"transfer": changed})


def cohort_of(said: Mapping[str, Any]) -> CohortConfiguration:
    """A configuration of real files of which a test says a part."""
    return CohortConfiguration.model_validate({"source": "data_root", "adapter": "mine", "versions": {}, **said})


def built(task: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    build({"task": task, "configuration": plan_of(task).cohort}, context(folder))
    return folder


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two smoke cohorts, built once."""
    root = tmp_path_factory.mktemp("cohorts")
    return {task: built(task, root / task) for task in ("chestxray14", "montgomery")}
