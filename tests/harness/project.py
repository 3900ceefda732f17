"""A copy of the project's YAML in a temporary folder, for tests that edit registries."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from harness.own_tables import read_own_tables
from harness.plan import Plan, make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry

ROOT = Path(__file__).resolve().parents[2]


METHODS = ("random", "moco_v2", "moco_v2_dir", "dira_moco_v2")
TASKS = ("chestxray14", "montgomery")


def copy(folder: Path, methods: tuple[str, ...] = METHODS, tasks: tuple[str, ...] = TASKS) -> Path:
    """Copy what a plan is made from, with a registry small enough to reason about."""
    for side in ("methods", "tasks"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for path in (ROOT / side).glob("*.yaml"):
            shutil.copy(path, folder / side)
    (folder / "reports").mkdir(exist_ok=True)
    for name in ("families.yaml", "margins.yaml"):
        shutil.copy(ROOT / "reports" / name, folder / "reports")
    shutil.copy(ROOT / "params.yaml", folder)
    for side, names in (("methods", methods), ("tasks", tasks)):
        path = folder / side / "registry.yaml"
        entries = yaml.safe_load(path.read_text())[side]
        path.write_text(yaml.safe_dump({side: {name: entries[name] for name in names}}, sort_keys=False, width=1000))
    return folder


def plan(root: Path, **overrides: object) -> Plan:
    """Make the plan of a copied project; no entry points."""
    registry = load_registry(root, points=lambda group: [])
    families = load_families(root / "reports" / "families.yaml")
    return make_plan(registry, load_parameters(root, overrides), families, own_tables=read_own_tables(root))


def append(path: Path, text: str) -> None:
    """Append YAML to a registry."""
    path.write_text(path.read_text().rstrip("\n") + "\n" + text)
