"""The plan: every cohort, phase and trial that the registries, the profile and the parameters imply.

Nothing is executed here and nothing is looked up in the store: a plan is a function of files in the repository (and,
for real data, of the data roots; where one is not given, of the committed cohort), so ``dira-bench verify`` can
recompute every id. What is *done* is asked of the store afterwards (``Plan.needed``).

The crossing is data. A method meets a task if their dimensions agree, the task's labels were not part of the method's
training, and the label fraction is one the method declares. Every cell left out carries its reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from harness.errors import BrokenProject, ConfigurationError, DiraBenchError, Unavailable, unknown
from harness.identity import ItemIds, canonical_json, digest, item_id
from harness.metrics import metric_of, stored_metric
from harness.own_tables import Known, OwnTable, mistakes
from harness.published import CellKey, Families
from harness.registry import Registry, from_entry_point
from harness.seeding import SeedsBelow, seed, subset_seed
from harness.spec import (
    NO_TRANSFER,
    Item,
    Kind,
    MethodEntry,
    MethodPlan,
    Parameters,
    PhaseOutline,
    PhasePlan,
    TaskEntry,
    TaskPlan,
    percent,
)
from harness.store.committed import standing_content
from harness.store.files import parse_json

Block = Literal["published", "added"]
SubsetRule = Literal["fixed", "per_repeat"]
NO_TABLES: Mapping[str, OwnTable] = MappingProxyType({})


class TrialKey(NamedTuple):
    """Which trial an item is, in the words of ``trials.csv``."""

    method: str
    task: str
    label_fraction: float
    pretrain_seed: int
    repeat: int


@dataclass(slots=True)
class Cell:
    """One cell of the crossing and its trials; ``skipped`` or ``unavailable`` says why it has none."""

    key: CellKey
    block: Block
    tables: tuple[str, ...]
    skipped: str | None = None
    unavailable: str | None = None
    trials: dict[TrialKey, Item] = field(default_factory=dict)


@dataclass
class Plan:
    """Everything that is to be run, by id, and the cells it serves."""

    parameters: Parameters
    registry: Registry
    families: Families
    methods: dict[str, MethodPlan]
    tasks: dict[str, TaskPlan]
    items: dict[str, Item] = field(default_factory=dict)
    cohorts: dict[str, Item] = field(default_factory=dict)  # task → its cohort
    phases: dict[tuple[str, int], list[Item]] = field(default_factory=dict)  # (method, pretraining seed) → chain
    cells: dict[CellKey, Cell] = field(default_factory=dict)
    later: dict[str, tuple[str, ...]] = field(default_factory=dict)  # task → metrics that came later; never identity

    @property
    def profile(self) -> str:
        """The profile's name."""
        return self.parameters.profile

    def trials(self, keep: Callable[[Cell], bool] = lambda cell: True) -> dict[TrialKey, Item]:
        """Return the trials of the cells that ``keep`` accepts, in planned order."""
        return {key: item for cell in self.cells.values() if keep(cell) for key, item in cell.trials.items()}

    def measured(self, task: str) -> tuple[str, ...]:
        """Return the metrics of a task: those that its trials record, then those computed from what trials stored."""
        return (*self.tasks[task].metrics, *self.later.get(task, ()))

    def seeds(self, method: str) -> int:
        """Return a method's number of pretraining seeds: what the parameters or its profile ask, whichever is more.

        An encoder that is drawn anew for each trial has no pretraining, so one.
        """
        resolved = self.methods[method]
        return 1 if resolved.reinitialised else max(self.parameters.pretrain_seeds, resolved.pretrain_seeds)

    def without_images(self, item: Item, done: Collection[str]) -> str | None:
        """Say why an item that is not done cannot run here, if it needs images that cannot be read; else None."""
        if item.id in done:
            return None
        if item.kind == "cohort":
            return self.tasks[item.outline.task or ""].no_images
        found = (self.without_images(self.items[need], done) for need in item.needs)
        return next((reason for reason in found if reason), None)

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the tasks' images, one sentence each."""
        return [note for task in self.tasks.values() for note in (task.no_images, task.other_images) if note]

    def needed(self, targets: Iterable[Item], done: Collection[str]) -> list[Item]:
        """Return the targets that are not done, with whatever they need and is not done, needs first.

        Args:
            targets: Items asked for.
            done: Ids that count as done: in the store, or adopted. What only a done item needs is not run.
        """
        wanted: dict[str, Item] = {}

        def visit(item: Item) -> None:
            if item.id in done or item.id in wanted:
                return
            for need in item.needs:
                visit(self.items[need])
            wanted[item.id] = item

        for target in targets:
            visit(target)
        return list(wanted.values())

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the paper's own matrix and the added block, before availability, with every pretraining seed.

        ``naive`` counts a cell once for each table that prints it; ``distinct`` counts it once. Only cells whose method
        and task are registered count: 116 and 134 once every entry of the paper is there. ``unavailable`` counts the
        distinct ones that have no trial here, so that the others are the trials of the plan.
        """
        registered = [
            (table, key)
            for table, keys in self.families.table_cells().items()
            for key in keys
            if key.method in self.registry.methods and key.task in self.registry.tasks
        ]
        added = [cell.key for cell in self.cells.values() if cell.block == "added" and not cell.skipped]
        return {
            "published": self._counted({key for _, key in registered}, [key for _, key in registered]),
            "added": self._counted(added, added),
        }

    def _counted(self, distinct: Collection[CellKey], naive: Collection[CellKey]) -> dict[str, int]:
        without = [key for key in distinct if key not in self.cells or not self.cells[key].trials]
        return {
            "distinct_cells": len(distinct),
            "naive_cells": len(naive),
            "distinct_trials": sum(self._runs(key) for key in distinct),
            "naive_trials": sum(self._runs(key) for key in naive),
            "unavailable_cells": len(without),
            "unavailable_trials": sum(self._runs(key) for key in without),
        }

    def _runs(self, key: CellKey) -> int:
        """Return how many trials a cell has."""
        return self.seeds(key.method) * self.parameters.repeats


def make_plan(
    registry: Registry,
    parameters: Parameters,
    families: Families,
    margin_of: Callable[[str], object] = lambda metric: None,
    own_tables: Mapping[str, OwnTable] = NO_TABLES,
) -> Plan:
    """Cross the registries under the parameters' profile.

    Args:
        registry: Both registries.
        parameters: ``params.yaml``.
        families: What the paper prints, and which contrasts are corrected together.
        margin_of: Raises ``ConfigurationError`` for a metric without an equivalence margin, so that this is found
            before anything is trained and not in its statistics.
        own_tables: Tables of one's own, checked for the same reason.

    Raises:
        ConfigurationError: Every entry that makes no sense under the profile, at once.
    """
    registry = registry.under(parameters.profile)
    problems = _unknown_in_own_families(registry, families)
    methods = _resolved_methods(registry, parameters.profile, problems)
    tasks = _resolved_tasks(registry, parameters.profile, problems, margin_of)
    later = _asked_later(own_tables, registry, tasks)
    problems += mistakes(own_tables, _known(registry, tasks, later))
    if problems:
        raise ConfigurationError("\n".join(problems))
    plan = Plan(parameters, registry, families, methods, tasks, later=later)
    for task in registry.tasks:
        _plan_cohort(plan, task)
    for method in registry.methods:
        _plan_pretraining(plan, method)
    _plan_cells(plan)
    return plan


def _plan_cells(plan: Plan) -> None:
    """Cross every method with every task and label fraction, and plan the trials of each cell that can have some."""
    printed: dict[CellKey, tuple[str, ...]] = {}
    for table, keys in plan.families.table_cells().items():
        for key in dict.fromkeys(keys):
            printed[key] = (*printed.get(key, ()), table)
    of_tasks = {task.name: _Part.of(_of_task(plan, task)) for task in plan.registry.tasks if task.name in plan.cohorts}
    for method in plan.registry.methods:
        of_method = _Part.of(_of_method(plan, method))
        lacking, of_phases = plan.methods[method.name].unavailable, _without_cohort(plan, method)
        for task in plan.registry.tasks:
            unavailable = lacking or plan.tasks[task.name].unavailable or of_phases
            for fraction in task.label_fractions:
                key = CellKey(method.name, task.name, fraction)
                tables = printed.get(key, ())
                cell = Cell(key, "published" if tables else "added", tables)
                plan.cells[key] = cell
                cell.skipped = _skip(method, task, fraction)
                cell.unavailable = unavailable
                if not cell.skipped and not cell.unavailable:
                    _plan_trials(plan, cell, of_method, of_tasks[task.name])


def _asked_later(
    own_tables: Mapping[str, OwnTable], registry: Registry, tasks: Mapping[str, TaskPlan]
) -> dict[str, tuple[str, ...]]:
    """Return task → metrics that tables of one's own ask for, which its trials do not record but store enough for."""
    found: dict[str, tuple[str, ...]] = {}
    for table in own_tables.values():
        for name in table.tasks:
            recorded = tasks[name].metrics if name in tasks else (table.metric,)
            if table.metric and table.metric not in recorded and _is_stored(registry.tasks[name], table.metric):
                found[name] = tuple(dict.fromkeys((*found.get(name, ()), table.metric)))
    return found


def _is_stored(task: TaskEntry, name: str) -> bool:
    """Say whether any trial of a task stores what a metric is computed from, whatever the trial was run for."""
    try:
        metric = stored_metric(name)
    except DiraBenchError:
        return False
    return metric.of_masks is None and metric.delta is None and metric.kind == task.transfer


def _known(registry: Registry, tasks: Mapping[str, TaskPlan], later: Mapping[str, tuple[str, ...]]) -> Known:
    """Return what a table of one's own may name."""
    return Known(
        registry.methods.known_names(),
        registry.tasks.known_names(),
        {entry.name: entry.label_fractions for entry in registry.tasks},
        {name: (*task.metrics, *later.get(name, ())) for name, task in tasks.items() if task.unavailable is None},
    )


def _unknown_in_own_families(registry: Registry, families: Families) -> list[str]:
    """Return a sentence for each name in families of one's own that no registry has."""
    problems = []
    for name, family in families.own.items():
        where = f"reports/families.yaml, own.{name}"
        methods = [method for pair in family.pairs for method in pair]
        for names, entries in ((methods, registry.methods), (family.tasks, registry.tasks)):
            known = entries.known_names()
            problems += [
                str(unknown(entries.kind, wrong, known, where)) for wrong in dict.fromkeys(names) if wrong not in known
            ]
    return problems


def _resolved_methods(registry: Registry, profile: str, problems: list[str]) -> dict[str, MethodPlan]:
    """Resolve every method; what is wrong with one from a package makes it unavailable and is nobody else's problem."""
    resolved: dict[str, MethodPlan] = {}
    for entry in registry.methods:
        try:
            found = registry.resolve_method(entry.name, profile)
            _check_canonical(entry, found.encoder, *(phase.configuration for phase in found.phases))
            _check_pretraining_cohorts(registry, entry, found)
            resolved[entry.name] = found
        except BrokenProject:
            raise
        except DiraBenchError as error:
            if not isinstance(error, Unavailable) and not from_entry_point(entry):
                problems.append(str(error))
            resolved[entry.name] = MethodPlan(encoder={}, unavailable=_one_line(error))
    return resolved


def _resolved_tasks(
    registry: Registry, profile: str, problems: list[str], margin_of: Callable[[str], object]
) -> dict[str, TaskPlan]:
    """Resolve every task, as methods are."""
    resolved: dict[str, TaskPlan] = {}
    for entry in registry.tasks:
        try:
            committed = partial(_committed_cohort, registry.root, profile, entry.name)
            found = registry.resolve_task(entry.name, profile, committed)
            _check_canonical(entry, found.cohort, found.transfer)
            _check_margins(entry, found, margin_of)
            resolved[entry.name] = found
        except BrokenProject:
            raise
        except DiraBenchError as error:
            if not isinstance(error, Unavailable) and not from_entry_point(entry):
                problems.append(str(error))
            resolved[entry.name] = _unavailable_task(entry, _one_line(error))
    return resolved


def _committed_cohort(root: Path, profile: str, task: str) -> Mapping[str, object] | None:
    """Return the manifest of a task's cohort as the committed results have it; None if none stands there."""
    content = standing_content(root, root / "results" / profile / "cohorts" / f"{task}.json")
    with contextlib.suppress(ValueError):
        found = parse_json(content or b"")
        return found if isinstance(found, dict) else None
    return None


def _unavailable_task(entry: TaskEntry, reason: str) -> TaskPlan:
    return TaskPlan(
        cohort_run="", cohort={}, synthetic=False, stamp="", trial_run="", transfer={}, metrics=(entry.metric,),
        unavailable=reason,
    )  # fmt: skip


def _check_margins(entry: TaskEntry, found: TaskPlan, margin_of: Callable[[str], object]) -> None:
    """What is compared needs a margin: the primary metric, and localization at each overlap."""
    compared = [name for name in found.metrics if metric_of(name).delta is not None]
    for metric in (*found.metrics[:1], *compared):
        try:
            margin_of(metric)
        except ConfigurationError as error:
            raise ConfigurationError(f"{entry.origin} (task {entry.name}): {error}") from None


def _one_line(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines())


def _check_canonical(entry: MethodEntry | TaskEntry, *parts: Mapping[str, object]) -> None:
    """What an entry resolves to is identity: it must have a canonical form."""
    try:
        canonical_json(parts)
    except TypeError as error:
        raise ConfigurationError(
            f'"{entry.name}" ({entry.origin}) resolves to something that cannot be part of an id: {error}; return JSON '
            "values only."
        ) from None


def _check_pretraining_cohorts(registry: Registry, entry: MethodEntry, resolved: MethodPlan) -> None:
    broken = {task.name: task.reason for task in registry.tasks.broken}
    for phase in () if resolved.unavailable else resolved.phases:
        if phase.cohort in broken:
            raise Unavailable(f"it pretrains on {phase.cohort}, which is unavailable: {broken[phase.cohort]}")
        if phase.cohort in registry.tasks.elsewhere:
            raise ConfigurationError(
                f'method "{entry.name}" ({entry.origin}) pretrains on "{phase.cohort}", which '
                f"{registry.tasks.elsewhere[phase.cohort]}, or name another cohort."
            )
        if phase.cohort and phase.cohort not in registry.tasks:
            raise ConfigurationError(
                f'method "{entry.name}" ({entry.origin}) pretrains on "{phase.cohort}", which is no registered task; '
                "add that task to tasks/registry.yaml or name another cohort."
            )
        if phase.cohort and registry.tasks[phase.cohort].dimensions != entry.dimensions:
            raise ConfigurationError(
                f'method "{entry.name}" ({entry.origin}) has {entry.dimensions} dimensions and pretrains on '
                f'"{phase.cohort}", which has {registry.tasks[phase.cohort].dimensions}; name another cohort.'
            )


def _skip(method: MethodEntry, task: TaskEntry, fraction: float) -> str | None:
    if task.transfer == NO_TRANSFER:
        return f"{task.label} is there to pretrain on: its entry has transfer {NO_TRANSFER}"
    if method.dimensions != task.dimensions:
        return f"{method.dimensions}D method, {task.dimensions}D task"
    if method.transfer == "encoder_only" and task.transfer == "classification":
        return "classification uses no decoder, so here this method would be the same as the one it is an ablation of"
    if task.name in method.saw_labels_of:
        return f"{method.label} was trained on the labels of {task.label}"
    if method.label_fractions == "full" and fraction != 1.0:
        return "the method declares the full label set only"
    return None


def _without_cohort(plan: Plan, method: MethodEntry) -> str | None:
    """Say why a cohort that a method pretrains on is unavailable; None if all are there."""
    asked = (plan.tasks[phase.cohort] for phase in plan.methods[method.name].phases if phase.cohort in plan.tasks)
    return next((task.unavailable for task in asked if task.unavailable), None)


def _add(
    plan: Plan,
    kind: Literal["cohort", "phase"],
    title: str,
    run: str,
    spec: Mapping[str, object],
    needs: tuple[str, ...],
    cost: float,
) -> Item:
    item = Item(kind=kind, id=item_id(kind, spec), title=title, run=run, spec=dict(spec), needs=needs, cost=cost)
    return plan.items.setdefault(item.id, item)


def _plan_cohort(plan: Plan, task: TaskEntry) -> None:
    resolved = plan.tasks[task.name]
    if resolved.unavailable:
        return
    spec = {"task": task.name, "configuration": resolved.cohort}
    plan.cohorts[task.name] = _add(plan, "cohort", f"cohort {task.name}", resolved.cohort_run, spec, (), 10.0)


def _plan_pretraining(plan: Plan, method: MethodEntry) -> None:
    resolved = plan.methods[method.name]
    if resolved.unavailable:
        return
    for phase in resolved.phases:
        if phase.cohort and phase.cohort not in plan.cohorts:
            return
    for index in range(plan.seeds(method.name)):
        chain: list[Item] = []
        for phase in resolved.phases:
            chain.append(_plan_phase(plan, phase, chain, index))
        plan.phases[method.name, index] = chain


def _plan_phase(plan: Plan, phase: PhasePlan, before: list[Item], index: int) -> Item:
    """A phase is known by its specification, not by its method: two methods that share one train it once."""
    cohort = plan.cohorts[phase.cohort].id if phase.cohort else None
    ancestry = before[-1].id if before else None
    told = phase.outline
    used = {name: item.id for item in before if (name := str(item.spec["phase"])) in phase.uses}
    specification = digest({"configuration": phase.configuration, "cohort": cohort, "parent": ancestry})
    spec = {
        "phase": phase.name,
        "configuration": phase.configuration,
        "cohort": cohort,
        "parent": ancestry,
        "base_seed": plan.parameters.base_seed,
        "pretrain_seed": index,
        "seed": seed(plan.parameters.base_seed, "phase", index, specification),
    }
    if used:
        spec["uses"] = used
    needs = tuple(dict.fromkeys(need for need in (cohort, ancestry, *used.values()) if need))
    amount, unit = _budget(told)
    cost = 0.1 * amount if unit == "steps" else 60.0 * amount
    title = f"pretrain {_words(phase.name, told)} · seed {index}"
    return _add(plan, "phase", title, phase.run, spec, needs, cost)


def _budget(told: PhaseOutline) -> tuple[float, str]:
    """Return how much a phase trains, as its configuration says: a count and its unit; 1 if it does not say."""
    budget = told.budget
    return (1.0, "unit") if budget is None or budget.count is None else (budget.count, budget.unit)


def _words(name: str, told: PhaseOutline) -> str:
    """Describe a phase for people: its terms and its budget."""
    types = [path.rpartition(":")[2] for path in told.types]
    amount, unit = _budget(told)
    terms_named = f" ({', '.join(types)})" if types else ""
    return f"{name}{terms_named}, {amount:g} {unit}"


def _of_task(plan: Plan, task: TaskEntry) -> dict[str, Any]:
    """Return the part of a trial's spec that all trials of a task have alike."""
    judged = plan.tasks[task.name]
    return {
        "task": task.name,
        "task_version": task.version,
        "cohort": plan.cohorts[task.name].id,
        "transfer": judged.transfer,
        "metrics": list(judged.metrics),
        "resample_seed": seed(plan.parameters.base_seed, "resample", task.name),
    }


def _of_method(plan: Plan, method: MethodEntry) -> dict[str, Any]:
    """Return the part of a trial's spec that all trials of a method have alike."""
    encoder = plan.methods[method.name].encoder
    return {"method": method.name, "method_version": method.version, "encoder": encoder}


def _written(spec: Mapping[str, object]) -> dict[str, str]:
    """Return the canonical JSON of each key."""
    return {key: canonical_json(value) for key, value in spec.items()}


@dataclass(frozen=True)
class _Part:
    """A part of a trial's spec and its canonical JSON, key by key: both are made once for many trials."""

    spec: Mapping[str, Any]
    written: Mapping[str, str]

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> _Part:
        """Write a part."""
        return cls(spec, _written(spec))


def _plan_trials(plan: Plan, cell: Cell, of_method: _Part, of_task: _Part) -> None:
    method, task, fraction = cell.key
    parameters, seeds = plan.parameters, plan.seeds(method)
    cohort, rule, repeats = plan.cohorts[task].id, plan.registry.tasks[task].subset, range(parameters.repeats)
    subsets = _subsets_written(parameters.base_seed, task, rule, parameters.repeats)
    for index in range(seeds):
        chain = plan.phases.get((method, index), [])
        phase = chain[-1].id if chain else None
        shared = _Repeats(
            of_method.spec,
            of_task.spec,
            {"label_fraction": fraction, "phase": phase, "pretrain_seed": index},
            parameters,
            rule,
            f" · pretraining seed {index}" if seeds > 1 else "",
            plan.tasks[task].trial_run,
            (cohort, phase) if phase else (cohort,),
        )
        own = {"label_fraction": _number(fraction), "phase": canonical_json(phase), "pretrain_seed": str(index)}
        ids = ItemIds("trial", {**of_method.written, **of_task.written, **own}, OF_A_REPEAT)
        drawn = _seeds_written(parameters.base_seed, shared.seed_names, parameters.repeats)
        for repeat, seeds_text, subset_text in zip(repeats, drawn, subsets, strict=True):
            item = PlannedTrial(ids.of(str(repeat), seeds_text, subset_text), shared, repeat)
            cell.trials[TrialKey(method, task, fraction, index, repeat)] = item
            plan.items.setdefault(item.id, item)


ROLES = ("init", "order", "augment")
OF_A_REPEAT = ("repeat", "seeds", "subset")  # keys of a trial's spec that its repeats do not share, in order


@lru_cache(maxsize=64, typed=True)
def _number(value: float) -> str:
    return canonical_json(value)


@lru_cache(maxsize=1024)  # all label fractions of a task ask for the same
def _seeds_written(base_seed: int, names: tuple[str | int, ...], repeats: int) -> tuple[str, ...]:
    """Return the canonical JSON of each repeat's seeds: text, because there are many."""
    drawn = SeedsBelow(base_seed, *names)
    form = "{" + ",".join(f'"{role}":%d' for role in sorted(ROLES)) + "}"
    return tuple(form % tuple(map(drawn.after, rest)) for rest in _names_below(repeats))


@lru_cache(maxsize=8)
def _names_below(repeats: int) -> tuple[tuple[bytes, ...], ...]:
    """Return the last names of each repeat's seeds, as ``SeedsBelow.after`` takes them."""
    return tuple(tuple(f',{repeat},"{role}"]'.encode() for role in sorted(ROLES)) for repeat in range(repeats))


@lru_cache(maxsize=1024)
def _subsets_written(base_seed: int, task: str, rule: SubsetRule, repeats: int) -> tuple[str, ...]:
    """Return the canonical JSON of each repeat's subset of the labels."""
    return tuple(canonical_json(_subset(base_seed, task, rule, repeat)) for repeat in range(repeats))


def _subset(base_seed: int, task: str, rule: SubsetRule, repeat: int) -> dict[str, str | int]:
    """Return by which rule and seed a repeat's labels are drawn."""
    return {"rule": rule, "seed": subset_seed(base_seed, task, repeat if rule == "per_repeat" else None)}


@dataclass(frozen=True, slots=True)
class _Repeats:
    """What the repeats of a cell with one pretraining seed share, and what each has of its own.

    Attributes:
        of_method, of_task, own: The keys of the spec that all of them have alike: those of all trials of the method,
            of all of the task, and the rest.
        parameters: For the seeds.
        subset: By which rule labels are drawn.
        which: Names the pretraining seed in titles, if there are several.
        run, needs: As an item has them.
    """

    of_method: Mapping[str, Any]
    of_task: Mapping[str, Any]
    own: Mapping[str, Any]
    parameters: Parameters
    subset: SubsetRule
    which: str
    run: str
    needs: tuple[str, ...]

    def spec(self, repeat: int) -> dict[str, Any]:
        """Return the whole spec of one repeat."""
        drawn = SeedsBelow(self.parameters.base_seed, *self.seed_names)
        return {
            **self.of_method,
            **self.of_task,
            **self.own,
            "subset": _subset(self.parameters.base_seed, self.of_task["task"], self.subset, repeat),
            "repeat": repeat,
            "seeds": {role: drawn.seed(repeat, role) for role in ROLES},
        }

    @property
    def seed_names(self) -> tuple[str | int, ...]:
        """The names of the seeds before the repeat.

        Under ``shared`` the method and the pretraining seed are left out, so that two methods can be paired.
        """
        method, task = self.of_method["method"], self.of_task["task"]
        shared = self.parameters.seed_plan == "shared"
        return ("trial", task) if shared else ("trial", method, task, self.own["pretrain_seed"])

    def title(self, repeat: int) -> str:
        """Return the title of one repeat."""
        method, task, fraction = self.of_method["method"], self.of_task["task"], self.own["label_fraction"]
        return f"{method} × {task} · {percent(fraction)}{self.which} · repeat {repeat}"


class PlannedTrial(Item):
    """A trial as it is planned: its title and spec are made when they are asked for, because there are many."""

    __slots__ = ("_repeat", "_shared")
    _shared: _Repeats
    _repeat: int
    kind: Kind = "trial"
    cost: float = 1.0

    def __init__(self, id: str, of: _Repeats, repeat: int) -> None:
        """Keep what is its own and what it shares with the other repeats."""
        _set_id(self, id)  # it is frozen, and there are many
        _set_shared(self, of)
        _set_repeat(self, repeat)

    @property
    def run(self) -> str:
        """Dotted path of the work."""
        return self._shared.run

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of its cohort and of its last phase."""
        return self._shared.needs

    @property
    def title(self) -> str:
        """For people."""
        return self._shared.title(self._repeat)

    @property
    def spec(self) -> dict[str, Any]:
        """What changes its numbers."""
        return self._shared.spec(self._repeat)

    def __reduce__(self) -> tuple[type[Item], tuple[object, ...]]:
        """Cross to another process as a plain item."""
        return Item, (self.kind, self.id, self.title, self.run, self.spec, self.needs, self.cost)


_set_id, _set_shared, _set_repeat = (
    vars(owner)[name].__set__ for owner, name in ((Item, "id"), (PlannedTrial, "_shared"), (PlannedTrial, "_repeat"))
)
