"""A copy of the project's YAML in a temporary folder, for tests that edit registries."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.plan import Plan, make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry

ROOT = Path(__file__).resolve().parents[2]


def copy(folder: Path) -> Path:
    """Copy what a plan is made from."""
    for side in ("methods", "tasks"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for path in (ROOT / side).glob("*.yaml"):
            shutil.copy(path, folder / side)
    (folder / "reports").mkdir(exist_ok=True)
    shutil.copy(ROOT / "reports" / "families.yaml", folder / "reports")
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


def plan(root: Path, **overrides: object) -> Plan:
    """Make the plan of a copied project; no entry points."""
    registry = load_registry(root, points=lambda group: [])
    return make_plan(registry, load_parameters(root, overrides), load_families(root / "reports" / "families.yaml"))


def append(path: Path, text: str) -> None:
    """Append YAML to a registry."""
    path.write_text(path.read_text().rstrip("\n") + "\n" + text)
