"""What a run can answer, as ``plan`` shows it: family by family, and contrast by contrast with ``--answer``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import plan as planned
from harness.cli.session import Session, say
from harness.errors import unknown
from harness.identity import digest
from harness.metrics.registered import localization
from harness.published import ContrastKey
from harness.spec import percent
from harness.statistics.estimate import Group, smallest_detectable, student
from harness.statistics.margins import margin_of, read_margins
from harness.statistics.outlook import Contrast, Outlook, Plan, Proposal, cheapest, contrast_of, outlook
from harness.statistics.paper import Paper, read_paper
from harness.store.files import parse_json
from harness.whole_files import write_whole

TARGET = 0.8


@dataclass(frozen=True)
class Question:
    """What is asked before a run.

    Attributes:
        paper: The printed numbers.
        keys: The published contrasts that the registries hold.
        margins: Of each, as printed.
        pretraining_spread: Assumed between checkpoints, in standard deviations of the runs.
    """

    paper: Paper
    keys: tuple[ContrastKey, ...]
    margins: tuple[float, ...]
    pretraining_spread: float


def ask(session: Session, pretraining_spread: float = 0.0) -> Question:
    """Collect the published contrasts with their margins."""
    margins = read_margins(session.root / "reports" / "margins.yaml")
    metrics = {entry.name: entry.metric for entry in session.registry.tasks}
    known = session.registry.methods
    contrasts = session.families.contrasts()
    keys = tuple(key for key in contrasts if key.task in metrics and key.method in known and key.reference in known)
    names = (metrics[key.task] if key.delta is None else localization(key.delta).name for key in keys)
    paper = read_paper(session.root / "results" / "published" / "paper.csv")
    return Question(paper, keys, tuple(margin_of(name, margins) for name in names), pretraining_spread)


def outlooks(session: Session, question: Question) -> list[Outlook]:
    """Return what each contrast can be told; kept beside the store by the digest of all that it follows from."""
    parameters = session.parameters
    seeds = {
        name: 0 if resolved.reinitialised else session.plan.seeds(name)
        for name, resolved in session.plan.methods.items()
    }
    published = (session.root / "results" / "published" / "paper.csv").read_text(encoding="utf-8")
    inputs = {
        "paper": published, "keys": [list(key) for key in question.keys], "margins": list(question.margins),
        "repeats": parameters.repeats, "seeds": seeds, "alpha": parameters.alpha,
        "base_seed": parameters.base_seed, "pretraining_spread": question.pretraining_spread, "version": 2,
    }  # fmt: skip
    path = _place(session, inputs)
    kept = _kept(path)
    if kept is not None:
        return kept
    found = outlook(
        question.keys, question.paper, question.margins, Plan(parameters.repeats, parameters.pretrain_seeds),
        alpha=parameters.alpha, base_seed=parameters.base_seed, pretraining_spread=question.pretraining_spread,
        seeds=seeds,
    )  # fmt: skip
    _keep(path, [row.model_dump() for row in found])
    return found


def detectable(session: Session) -> float:
    """Return the smallest difference, in standard deviations, that the planned repeats find with power .80.

    Kept as the outlooks are: SciPy, which computes it, takes longer to import than the rest of a plan to make.
    """
    repeats, alpha = session.parameters.repeats, session.parameters.alpha
    path = _place(session, {"detectable": "two-sided, power .80", "repeats": repeats, "alpha": alpha})
    with contextlib.suppress(OSError, ValueError):  # absent or damaged: computed again
        kept = parse_json(path.read_text())
        if isinstance(kept, float) and kept > 0:
            return kept
    arm = Group(repeats, 0.0, 1.0)
    found = smallest_detectable(student(arm, arm), alpha)
    _keep(path, found)
    return found


def _place(session: Session, inputs: Mapping[str, object]) -> Path:
    """Return where something is kept beside the store, by the digest of all that it follows from."""
    return session.root / ".trials" / "outlook" / f"{digest(inputs)}.json"


def _keep(path: Path, value: object) -> None:
    with contextlib.suppress(OSError):  # for the next time alone
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(value).encode())


def _kept(path: Path) -> list[Outlook] | None:
    try:
        return [Outlook.model_validate(row) for row in parse_json(path.read_text())]
    except (OSError, ValueError, TypeError):
        return None  # absent or damaged: computed again


def print_outlook(session: Session, found: Sequence[Outlook]) -> None:
    """Write one line a family: how often a true reproduction would be called one, and the ceiling."""
    parameters = session.parameters
    if parameters.repeats < 2 or not found:  # the profile may have none of the paper's contrasts
        return
    seeds = _seeds(session.plan, found)
    say(
        ", were the paper's effects true (rates by its printed spreads):",
        heading=f"what {parameters.repeats} repeats on {' or '.join(map(str, seeds))} pretraining "
        f"seed{'s' * (seeds[-1] > 1)} can answer",
    )
    faithful = session.families.profile
    if parameters.profile != faithful:
        say(f"(of the profile {faithful} alone; here Agreement reads not comparable)", 2)
    for family in dict.fromkeys(row.family for row in found):
        say(f"{family}: {_family(session, [row for row in found if row.family == family])}", 2)


def _seeds(plan: planned.Plan, found: Sequence[Outlook]) -> list[int]:
    """Return the numbers of pretraining seeds that the contrasts' methods have, without those that pretrain nothing."""
    names = {name for row in found for name in (row.method, row.reference)} & set(plan.methods)
    counts = {plan.seeds(name) for name in names if not plan.methods[name].reinitialised}
    return sorted(counts) or [plan.parameters.pretrain_seeds]


def _family(session: Session, rows: Sequence[Outlook]) -> str:
    known = [row for row in rows if row.planned is not None and row.ceiling is not None]
    if not known:
        return "not known beforehand, no spread is printed"
    small = sum(abs(row.effect) <= row.margin for row in rows)
    planned, ceiling = (_mean(known, which) for which in ("planned", "ceiling"))
    never = f"; inside the margin: {small} of {len(rows)}" if small else ""
    return f"reproduced {planned:.0%}, endless runs {ceiling:.0%}{never}"


def _mean(rows: Sequence[Outlook], which: str) -> float:
    return float(sum(getattr(row, which).reproduced for row in rows) / len(rows))


def print_answer(session: Session, question: Question, found: Sequence[Outlook], name: str, target: float) -> None:
    """Write what each contrast of a family or table can be told, and the cheapest design that reaches a target.

    Raises:
        UnknownName: With near names.
    """
    rows = _asked(session, found, name)
    for row in rows:
        where = row.task + ("" if row.label_fraction == 1 else f" at {percent(row.label_fraction)}")
        where += "" if row.delta is None else f", δ = {row.delta:g}"
        say(f"{row.method} − {row.reference}, {where}: paper {row.effect:+.2f} ±{row.margin:g}")
        say(_words(row), 4)
    within = [row for row in rows if row.ceiling is not None and row.ceiling.reproduced >= target]
    contrasts = [contrast for row in within if (contrast := contrast_of(question.paper, row)) is not None]
    proposal = cheapest(
        contrasts, target, _costs(session, rows), alpha=session.parameters.alpha,
        base_seed=session.parameters.base_seed, pretraining_spread=question.pretraining_spread,
    )  # fmt: skip
    say(_proposed(proposal, contrasts, rows, target))


def _asked(session: Session, found: Sequence[Outlook], name: str) -> list[Outlook]:
    families, tables = session.families.families, session.families.tables
    if name in families:
        return [row for row in found if row.family == name]
    matching = [family for family in families if family.startswith(f"{name}_") or name in families[family].place]
    printed = name.replace("tab", "Tab. ").replace("fig", "Fig. ")
    matching += [family for family in families if printed in families[family].place]
    if not matching:
        raise unknown("family or table", name, [*families, *tables], "reports/families.yaml")
    return [row for row in found if row.family in matching]


def _words(row: Outlook) -> str:
    if row.planned is None or row.ceiling is None:
        return "not known beforehand: no spread is printed"
    rates = row.planned
    said = {
        "reproduced": rates.reproduced,
        "different": rates.different,
        "too small to tell": rates.too_small,
        "inconclusive": rates.inconclusive,
    }
    parts = [f"{word} {rate:.0%}" for word, rate in said.items() if rate >= 0.005]
    spread = "" if row.spread == "printed" else f"; spread of {row.spread}"
    return f"{', '.join(parts)}; with endless runs reproduced {row.ceiling.reproduced:.0%}{spread}"


def _costs(session: Session, rows: Sequence[Outlook]) -> tuple[float, float]:
    """Return the planned cost of one pretraining of every method named, and of one repeat on every cell."""
    plan = session.plan
    methods = {name for row in rows for name in (row.method, row.reference)}
    phases = {item.id: item.cost for name in methods for item in plan.phases.get((name, 0), [])}
    cells = {(name, row.task, row.label_fraction) for row in rows for name in (row.method, row.reference)}
    costs = (next(iter(cell.trials.values()), None) for key, cell in plan.cells.items() if tuple(key) in cells)
    trials = [item.cost for item in costs if item is not None]
    return sum(phases.values()), sum(trials)


def _proposed(proposal: Proposal | None, contrasts: Sequence[Contrast], rows: Sequence[Outlook], target: float) -> str:
    judged = f"the {len(contrasts)} of {len(rows)} contrasts that can reach it"
    if not contrasts:
        return (
            f"No design can call any of these reproduced at a rate of {target:.0%}: even with endless runs the paper's "
            "own spread, or an effect inside the margin, stands in the way."
        )
    if proposal is None:
        return f"No design of up to 100 repeats on up to 10 pretraining seeds reaches {target:.0%} on {judged}."
    plan = proposal.plan
    return (
        f"Cheapest design for a mean rate of {target:.0%} on {judged}: repeats: {plan.repeats}, pretrain_seeds: "
        f"{plan.seeds} (gives {proposal.rate:.0%})."
    )
