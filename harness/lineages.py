"""Where each planned trial's encoder, labels and draws come from, read from its specification.

Statistics asks it what two cells share, so that the unit of a test follows the seeds and not a switch.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.identity import digest
from harness.plan import Plan
from harness.published import CellKey
from harness.spec import Item
from harness.statistics.design import Lineage
from harness.statistics.trials import TrialIndex


def lineages(plan: Plan) -> dict[CellKey, dict[TrialIndex, Lineage]]:
    """Return the lineage of every planned trial, by cell and run."""
    chains = {key: frozenset(item.id for item in chain) | _used(chain) for key, chain in plan.phases.items()}
    return {
        cell.key: {
            TrialIndex(key.pretrain_seed, key.repeat): _lineage(
                plan, item, chains.get((cell.key.method, key.pretrain_seed), frozenset())
            )
            for key, item in cell.trials.items()
        }
        for cell in plan.cells.values()
    }


def _used(chain: Iterable[Item]) -> frozenset[str]:
    return frozenset(identity for item in chain for identity in item.spec.get("uses", {}).values())


def _lineage(plan: Plan, item: Item, ancestors: frozenset[str]) -> Lineage:
    spec = item.spec
    anew = plan.methods[spec["method"]].reinitialised
    per_repeat = spec["subset"]["rule"] == "per_repeat" and spec["label_fraction"] < 1
    return Lineage(
        encoder="" if anew else spec["phase"] or digest(spec["encoder"]),
        ancestors=ancestors,
        subset=str(spec["subset"]["seed"]) if per_repeat else "",
        draws=" ".join(str(spec["seeds"][role]) for role in sorted(spec["seeds"])),
    )
