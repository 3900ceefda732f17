"""The phases of a method and their loss curves, a chain a pretraining seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.plan import Plan
from harness.results.adoption import Adopted
from harness.results.files import parse_rows, profile_folder, table
from harness.results.standing import representing
from harness.spec import Item, Record, Status
from harness.store import Store
from harness.store.committed import assembling, replace, trusted

CURVE_COLUMNS = ("pretrain_seed", "phase", "phase_id", "step", "name", "value")


def write_pretraining(plan: Plan, root: Path, store: Store, adopted: Adopted, method: str) -> Path:
    """Write ``pretraining/<method>.json`` and ``curves/<method>.csv``.

    They hold phases, budgets, selected steps and digests of weights; no time, no host.
    """
    folder = profile_folder(root, plan.profile)
    path, curves = folder / "pretraining" / f"{method}.json", folder / "curves" / f"{method}.csv"
    resolved = plan.methods[method]
    chains = {index: chain for (name, index), chain in plan.phases.items() if name == method}
    with assembling(root):
        committed = parse_rows((trusted(root, curves) or b"").decode())
        seeds, curve = [], []
        for index, chain in sorted(chains.items()):
            if _stands(chain, store, adopted):
                phases = [adopted.phases[item.id] for item in chain]
                curve += _committed_curve(committed, chain, index)
            else:
                phases = [_phase_facts(item, representing(store, "phase", item.id)) for item in chain]
                records = [(item, store.ok("phase", item.id)) for item in chain]
                curve += [row for item, ok in records if ok for row in _curve_rows(item, index, store.curve(ok))]
            seeds.append({"pretrain_seed": index, "phases": phases})
        content = {
            "method": method,
            "label": plan.registry.methods[method].label,
            "unavailable": resolved.unavailable,
            "reinitialised": resolved.reinitialised,
            "cohorts": sorted({phase.cohort for phase in resolved.phases if phase.cohort}),
            "budget": resolved.budget,
            "encoder": resolved.encoder,
            "pretraining_seeds": seeds,
        }
        replace(root, path, json.dumps(content, indent=1, sort_keys=True) + "\n")
        replace(root, curves, table(CURVE_COLUMNS, curve))
    return path


def _stands(chain: list[Item], store: Store, adopted: Adopted) -> bool:
    """Say whether a chain is reported as it was committed: it was adopted, and the store does not hold all of it."""
    return all(item.id in adopted.phases for item in chain) and not all(store.ok("phase", item.id) for item in chain)


def _phase_facts(item: Item, record: Record | None) -> dict[str, object]:
    """Return what ``pretraining/<method>.json`` says of a phase."""
    facts = dict(record.facts) if record and record.status in (Status.OK, Status.DIVERGED) else {}
    return {
        "name": item.outline.phase,
        "id": item.id,
        "parent": item.outline.parent,
        "status": str(Status.MISSING if record is None else record.status),
        "configuration": item.spec["configuration"],
        **facts,
    }


def _committed_curve(rows: list[dict[str, str]], chain: list[Item], index: int) -> list[dict[str, str]]:
    """Return the rows of a committed curve that belong to a chain."""
    ids = {item.id[:12] for item in chain}
    return [row for row in rows if row["phase_id"] in ids and row["pretrain_seed"] == str(index)]


def _curve_rows(item: Item, index: int, curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Thin a curve to at most 100 points and write it long: one value a row."""
    stride = max(1, -(-len(curve) // 100))
    rows = []
    for point in curve[::stride]:
        for name in sorted(set(point) - {"step"}):
            if isinstance(point[name], int | float):
                rows.append({
                    "pretrain_seed": index,
                    "phase": item.outline.phase,
                    "phase_id": item.id[:12],
                    "step": point["step"],
                    "name": name,
                    "value": repr(float(point[name])),
                })  # fmt: skip
    return rows
