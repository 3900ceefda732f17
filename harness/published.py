"""What the paper prints, and families of one's own: cells by table, contrasts by family (``reports/families.yaml``).

The plan asks it which cells form the published block, statistics which contrasts share one correction for
multiplicity. The paper's lists are closed: a method that is added later changes neither. Each added method has a
family of its own, so that entering one moves no p value of another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from harness.errors import ConfigurationError
from harness.spec import KEY, Frozen
from harness.typed import read
from harness.yaml_files import load_yaml


class CellKey(NamedTuple):
    """One cell: a method judged by a task at a label fraction in (0, 1]."""

    method: str
    task: str
    label_fraction: float


class ContrastKey(NamedTuple):
    """One contrast: method − reference on a task at a label fraction, within one family.

    ``delta`` is the IoU threshold of a localization contrast (Tab. 5), None for the task's primary metric.
    """

    family: str
    method: str
    reference: str
    task: str
    label_fraction: float
    delta: float | None = None


class Table(Frozen):
    """The cells of one of the paper's tables: a full crossing, less the pairs it leaves blank.

    Attributes:
        label: The table as the paper calls it, with its subject.
        methods, tasks, label_fractions: The crossing, in the paper's order.
        except_pairs: ``[method, task]`` pairs that the table marks as not applicable.
    """

    label: str = Field(min_length=1)
    methods: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    label_fractions: tuple[float, ...] = Field(min_length=1)
    except_pairs: tuple[tuple[str, str], ...] = Field(default=(), alias="except")

    def cells(self) -> tuple[CellKey, ...]:
        """List the cells, method by method, in the paper's order."""
        left_out = set(self.except_pairs)
        return tuple(
            CellKey(method, task, fraction)
            for method in self.methods
            for task in self.tasks
            for fraction in self.label_fractions
            if (method, task) not in left_out
        )


class Family(Frozen):
    """A closed list of contrasts that are corrected together.

    Attributes:
        label: What the family asks.
        place: Where the paper shows or states it.
        pairs: ``[method, reference]`` pairs.
        tasks, label_fractions: Crossed with the pairs.
        deltas: IoU thresholds, for localization only; empty for the tasks' primary metrics.
    """

    label: str = Field(min_length=1)
    place: str = Field(min_length=1)
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    label_fractions: tuple[float, ...] = Field(min_length=1)
    deltas: tuple[float, ...] = ()

    def contrasts(self, family: str) -> tuple[ContrastKey, ...]:
        """List the contrasts under the family's name, pair by pair, in the paper's order."""
        return tuple(
            ContrastKey(family, method, reference, task, fraction, delta)
            for method, reference in self.pairs
            for task in self.tasks
            for fraction in self.label_fractions
            for delta in (self.deltas or (None,))
        )


class AddedFamily(Frozen):
    """A family of contrasts on tasks that no table of the paper has: a question of the paper's, asked there too.

    Attributes:
        label: What the family asks.
        like: The published family whose pairs and IoU thresholds it takes; empty where it has ``against``.
        against: What every method of the paper is compared with; empty where it has ``like``.
    """

    label: str = Field(min_length=1)
    like: str = ""
    against: tuple[str, ...] = ()


class OwnFamily(Frozen):
    """A family of one's own: contrasts in which no family of the paper's is, corrected together.

    Attributes:
        label: What the family asks.
        pairs: ``[method, reference]`` pairs.
        tasks: Crossed with the pairs; empty: every task, less the contrasts that another family holds.
        label_fractions: Crossed with both; empty: those of each task.
    """

    label: str = Field(min_length=1)
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    tasks: tuple[str, ...] = ()
    label_fractions: tuple[float, ...] = ()


OF_METHODS = "added"  # the families of added methods, one a method, as reports name them all


def method_family(method: str) -> str:
    """Name the family of an added method; no name of a file can have a dot."""
    return f"{OF_METHODS}.{method}"


def in_families(family: str, names: Collection[str]) -> bool:
    """Say whether a family is among some, ``added`` standing for that of every added method."""
    return family in names or (OF_METHODS in names and family.startswith(method_family("")))


class Families(Frozen):
    """``reports/families.yaml``: tables of cells, families of contrasts, on added tasks, and of one's own.

    Attributes:
        profile: The one whose numbers are claimed to be the paper's experiment; empty if none's are.
        tables, families, added, own: By name.
    """

    profile: str = ""
    tables: dict[str, Table]
    families: dict[str, Family]
    added: dict[str, AddedFamily] = Field(default_factory=dict)
    own: dict[str, OwnFamily] = Field(default_factory=dict)

    def tasks(self) -> frozenset[str]:
        """Name the tasks that any table or family has; every other task is an added one."""
        groups: list[Table | Family] = [*self.tables.values(), *self.families.values()]
        return frozenset(task for group in groups for task in group.tasks)

    def added_pairs(self, name: str, methods: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """List the pairs of an added family.

        Args:
            name: Its name.
            methods: The registered methods, in their order.
        """
        family = self.added[name]
        if family.like:
            return self.families[family.like].pairs
        published = self.published_methods()
        rows = [method for method in methods if method in published and method not in family.against]
        return tuple((method, reference) for reference in family.against for method in rows)

    def added_deltas(self, name: str) -> tuple[float | None, ...]:
        """List the IoU thresholds of an added family; None alone where it is about the task's primary metric."""
        like = self.added[name].like
        return (self.families[like].deltas if like else ()) or (None,)

    def table_cells(self) -> dict[str, tuple[CellKey, ...]]:
        """Return each table's cells; a cell may stand in several tables."""
        return {name: table.cells() for name, table in self.tables.items()}

    def published_cells(self) -> frozenset[CellKey]:
        """Return the distinct cells of all tables: the published block."""
        return frozenset(cell for cells in self.table_cells().values() for cell in cells)

    def cell_order(self) -> tuple[CellKey, ...]:
        """Return the distinct cells in order of first appearance, table by table."""
        return tuple(dict.fromkeys(cell for cells in self.table_cells().values() for cell in cells))

    def published_methods(self) -> frozenset[str]:
        """Name the methods that any table prints."""
        return frozenset(cell.method for cell in self.published_cells())

    def contrasts(self) -> tuple[ContrastKey, ...]:
        """Return every contrast of every family, in the file's order."""
        return tuple(key for name, family in self.families.items() for key in family.contrasts(name))

    def size(self, family: str) -> int:
        """Return m of Holm's correction: the length of the closed list, whatever has been run."""
        return len(self.families[family].contrasts(family))


def load_families(path: Path) -> Families:
    """Read and validate ``reports/families.yaml``.

    Raises:
        ConfigurationError: If the file is absent or malformed; the text lists every error, one sentence each.
    """
    document = load_yaml(path)
    families = read(Families, document, f"{path}, ")
    problems = [f"{path}, {problem}" for problem in _problems(families)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return families


def _problems(families: Families) -> Iterator[str]:
    """Yield what the types cannot say, one sentence each."""
    groups: list[tuple[str, Table | Family]] = [
        *((f"tables.{name}", table) for name, table in families.tables.items()),
        *((f"families.{name}", family) for name, family in families.families.items()),
    ]
    for where, group in groups:
        names = {where.split(".", 1)[1], *group.tasks}
        names |= set(group.methods) if isinstance(group, Table) else {name for pair in group.pairs for name in pair}
        for name in sorted(names):
            if not re.match(KEY, name):
                yield f'{where}: the name "{name}" holds characters other than a-z, 0-9 and _; use the registry name.'
        for fraction in group.label_fractions:
            if not 0 < fraction <= 1:
                yield f"{where}: the label fraction {fraction:g} lies outside (0, 1]; write 1 % as 0.01."
    yield from _added_problems(families)
    yield from _own_problems(families)
    for name, table in families.tables.items():
        for method, task in table.except_pairs:
            if method not in table.methods or task not in table.tasks:
                yield f"tables.{name}: except names {method} × {task}, which the table does not cross; remove the pair."
        for cell, count in Counter(table.cells()).items():
            if count > 1:
                yield f"tables.{name}: {' × '.join(map(str, cell))} is listed {count} times; list it once."
    cells = families.published_cells()
    owner: dict[tuple[object, ...], str] = {}
    for key in families.contrasts():
        bare = key[1:]
        what = f"{key.method} − {key.reference} on {key.task} at {key.label_fraction:g}"
        if bare in owner:
            yield (
                f"families.{key.family}: {what} already belongs to {owner[bare]}; a contrast has one family, "
                "because it is corrected once."
            )
        owner.setdefault(bare, key.family)
        if key.method == key.reference:
            yield f"families.{key.family}: {what} compares a method with itself; name another reference."
        for method in sorted({key.method, key.reference}):
            if CellKey(method, key.task, key.label_fraction) not in cells:
                yield (
                    f"families.{key.family}: {what} needs the cell of {method}, which no table prints; "
                    "add the cell to a table or remove the contrast."
                )
        if key.delta is not None and not 0 < key.delta < 1:
            yield f"families.{key.family}: the IoU threshold {key.delta:g} lies outside (0, 1); write 10 % as 0.1."


RESERVED = (OF_METHODS, "added_random")  # lists that the registries alone make (harness.statistics.summary)


def _added_problems(families: Families) -> Iterator[str]:
    """Yield what is wrong with the families on added tasks, one sentence each."""
    for name, family in families.added.items():
        where = f"added.{name}"
        if not re.match(KEY, name) or name in families.families or name in RESERVED:
            yield (
                f'{where}: the name "{name}" is taken or holds characters other than a-z, 0-9 and _; choose another.'
            )
        if bool(family.like) == bool(family.against):
            yield f'{where}: found {"both" if family.like else "neither"} of "like" and "against"; write one of them.'
        if family.like and family.like not in families.families:
            yield f'{where}: found like "{family.like}"; expected a family of this file; choose one.'


def _own_problems(families: Families) -> Iterator[str]:
    """Yield what is wrong with families of one's own, one sentence each."""
    owner: dict[tuple[str, str, str, float], str] = {
        key[1:5]: key.family for key in families.contrasts() if key.delta is None
    }
    for name, family in families.own.items():
        where = f"own.{name}"
        if not re.match(KEY, name) or name in {*families.families, *families.added, *RESERVED}:
            yield f'{where}: the name "{name}" is taken or holds characters other than a-z, 0-9 and _; choose another.'
        for fraction in family.label_fractions:
            if not 0 < fraction <= 1:
                yield f"{where}: the label fraction {fraction:g} lies outside (0, 1]; write 1 % as 0.01."
        for method, reference in family.pairs:
            if method == reference:
                yield f"{where}: {method} is compared with itself; name another reference."
            for task in family.tasks:
                for fraction in family.label_fractions:
                    first = owner.setdefault((method, reference, task, fraction), name)
                    if first != name:
                        yield (
                            f"{where}: {method} − {reference} on {task} at {fraction:g} already belongs to {first}; a "
                            "contrast has one family, because it is corrected once; remove it here."
                        )
