"""Where each planned trial's encoder, labels and draws come from, read from its specification.

Statistics asks it what two cells share, so that the unit of a test follows the seeds and not a switch.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.identity import digest
from harness.plan import Plan
from harness.published import CellKey
from harness.spec import Item, SubsetOutline
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
    return frozenset(identity for item in chain for identity in (item.outline.uses or {}).values())


def _lineage(plan: Plan, item: Item, ancestors: frozenset[str]) -> Lineage:
    told = item.outline
    anew = plan.methods[told.method or ""].reinitialised
    subset, seeds = told.subset or SubsetOutline(), told.seeds or {}
    per_repeat = subset.rule == "per_repeat" and (told.label_fraction or 1.0) < 1
    return Lineage(
        encoder="" if anew else told.phase or digest(item.spec["encoder"]),
        ancestors=ancestors,
        subset=str(subset.seed) if per_repeat else "",
        draws=" ".join(str(seeds[role]) for role in sorted(seeds)),
    )
