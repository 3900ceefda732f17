"""Reads what a run and its statistics left in ``results/``; nothing else is ever read but ``reports/*.yaml``.

An absent file is an absent part of the report (a profile may have no pretraining at all); a malformed one is an error
with its place.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import Field

from harness.descriptions import CohortDescription, PretrainingDescription
from harness.errors import ConfigurationError, DataError
from harness.gates import NO_GATES, GateRow, Verdict, verdicts
from harness.own_tables import OwnTable
from harness.results.descriptions import read_cohort, read_pretraining
from harness.results.leakage import LEAKAGE, Leak
from harness.results.table import TrialRow, read_trial_rows
from harness.spec import KEY, Frozen
from harness.statistics.audit import AuditedClaim
from harness.statistics.schema import CellSummary, Comparison, Prospect, View
from harness.statistics.summary import read_cells, read_comparisons
from harness.typed import read
from harness.typed_csv import Row, read_rows
from harness.yaml_files import load_yaml
from reports.render.panels import Maps, read_maps, shared

CellKey = tuple[str, str, float]  # method, task, label fraction
OTHER_FILES = ("added", "answers", "gates")  # beside the tables that have a key


@dataclass(frozen=True)
class CurvePoint:
    """One value of a pretraining curve."""

    method: str
    pretrain_seed: int
    phase: str
    step: int
    name: str
    value: float


@dataclass(frozen=True)
class Results:
    """Everything one profile's report is made from.

    Attributes:
        profile: Its name.
        cells, contrasts: What statistics left, in its order.
        views, prospects: What statistics left beside them; empty where they were not made.
        trials, curves: Every row of the registered methods.
        cohorts, pretraining: Task or method → what its file tells.
        claims: The audit of the paper's own numbers; empty where it was not made.
        maps: Method → task → evidence maps of the first repeat, of methods that were localized.
        leaks: How many images a pretraining has seen; empty where no real ones were compared.
        gates: What each phase measured beside what its gates ask; empty where statistics are of an older version.
    """

    profile: str
    cells: tuple[CellSummary, ...]
    contrasts: tuple[Comparison, ...]
    views: tuple[View, ...]
    prospects: tuple[Prospect, ...]
    trials: tuple[TrialRow, ...]
    curves: tuple[CurvePoint, ...]
    cohorts: Mapping[str, CohortDescription]
    pretraining: Mapping[str, PretrainingDescription]
    claims: tuple[AuditedClaim, ...]
    maps: Mapping[str, Mapping[str, Maps]] = field(default_factory=dict)
    leaks: tuple[Leak, ...] = ()
    gates: tuple[GateRow, ...] = ()

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """Method → what its gates come to, of every method that has any."""
        return verdicts(self.gates)

    @cached_property
    def labelled(self) -> dict[tuple[str, float], set[int]]:
        """Task and label fraction → how many labelled training images its trials had."""
        found: dict[tuple[str, float], set[int]] = {}
        for trial in self.trials:
            if trial.labelled is not None:
                found.setdefault((trial.task, trial.label_fraction), set()).add(trial.labelled)
        return found

    def cohort(self, task: str) -> CohortDescription:
        """Return what is told of a task's images; nothing where it has no file."""
        return self.cohorts.get(task, CohortDescription())

    def verdict(self, method: str) -> Verdict:
        """Return what a method's gates come to."""
        return self.verdicts.get(method, NO_GATES)


class Facts(Frozen):
    """Columns that a table prints beside its rows, as the paper does."""

    headings: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]


class TableLayout(Frozen):
    """One entry of ``reports/tables.yaml``: how a table of ``families.yaml`` is shown.

    Attributes:
        title, caption: As printed. marks: Families whose Findings are printed as marks, in this order.
        metrics: Metrics that form its columns; empty means each task's primary metric.
        facts: What stands beside the rows. beside: Rows of other tables repeated below for orientation.
        averages: Family whose average gains the paper puts into its text; empty: none.
    """

    title: str
    caption: str
    marks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    facts: Facts = Facts(headings=(), rows={})
    beside: tuple[str, ...] = ()
    averages: str = ""


class Overlap(Frozen):
    """What a pretraining cohort and a task share, of ``reports/overlaps.yaml``.

    Attributes:
        relation: In words, by where the data come from.
        computed: Two facts of the task's cohort: how many test cases are shared, and of how many; or None.
    """

    relation: str
    computed: tuple[str, str] | None = None


class _Overlaps(Frozen):
    overlaps: dict[str, dict[str, Overlap]]


def read_overlaps(path: Path) -> dict[str, dict[str, Overlap]]:
    """Read ``reports/overlaps.yaml``: pretraining cohort → task → what they share.

    Raises:
        ConfigurationError: It is absent or malformed.
    """
    return read(_Overlaps, load_yaml(path), f"{path}, ").overlaps


class FigureLayout(Frozen):
    """One bar figure of ``reports/tables.yaml``: the contrasts of one family; ``column``: as wide as a column, too."""

    title: str
    caption: str
    family: str
    column: bool = False


class Question(Frozen):
    """One question of ``reports/tables.yaml`` that the report answers from contrasts.

    Attributes:
        question: As a reader would ask it.
        families: Whose contrasts answer it; each is corrected within itself.
        against: Only contrasts with these references; empty: all but those with ``not_against``.
        not_against: References that another question is about.
        open: It has no yes or no; the answer is a count.
    """

    question: str
    families: tuple[str, ...] = Field(min_length=1)
    against: tuple[str, ...] = ()
    not_against: tuple[str, ...] = ()
    open: bool = False


class PanelLayout(Frozen):
    """One figure of evidence maps: the pairs of one family.

    Attributes:
        title, caption: As printed. family: Whose pairs are drawn.
        classes: Show so many classes, evenly spaced from the one whose panel loses most to the one that gains most;
            None: all.
        column: Drawn once more, as wide as one column of a paper.
    """

    title: str
    caption: str
    family: str
    column: bool = False
    classes: int | None = Field(default=None, ge=2)


class Layouts(Frozen):
    """``reports/tables.yaml``.

    Attributes:
        labels: What the paper calls methods and tasks that are not registered here.
        everywhere: Rows that every table repeats for orientation where they have a cell in its columns; LaTeX twins
            of the paper's tables leave them out.
        tables, added: The paper's tables, and those of tasks that the paper does not have.
        own: Tables of one's own, in the added block.
        answers: Questions that the report answers in words.
        figures, panels: Bar figures and figures of evidence maps.
    """

    labels: dict[str, str]
    everywhere: tuple[str, ...] = ()
    tables: dict[str, TableLayout]
    added: dict[str, TableLayout] = Field(default_factory=dict)
    own: dict[str, OwnTable] = Field(default_factory=dict)
    answers: dict[str, Question] = Field(default_factory=dict)
    figures: dict[str, FigureLayout] = Field(default_factory=dict)
    panels: dict[str, PanelLayout] = Field(default_factory=dict)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); rerun the stage that writes it.") from error


def _curve(path: Path) -> list[CurvePoint]:
    try:
        return [
            CurvePoint(
                method=path.stem,
                pretrain_seed=int(row.get("pretrain_seed") or 0),
                phase=row["phase"],
                step=int(float(row["step"])),
                name=row["name"],
                value=float(row["value"]),
            )
            for row in _rows(path)
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}; write the file again with `dira-bench run`.") from error


def read_claims(results: Path) -> tuple[AuditedClaim, ...]:
    """Read the audit of the paper's own numbers; empty if it was not made yet."""
    path = results / "published" / "audit.csv"
    return tuple(read_rows(path, AuditedClaim)) if path.is_file() else ()


def read_results(results: Path, profile: str, methods: Mapping[str, str], tasks: Mapping[str, str]) -> Results:
    """Read one profile's results; files of methods and tasks that are no longer registered are passed over.

    Args:
        results: The folder ``results/``.
        profile: Which profile's folder in it.
        methods: Registry name → label; the order is the order of the report.
        tasks: The same for tasks.

    Raises:
        ConfigurationError: ``cells.csv`` or ``comparisons.csv`` is absent or malformed.
        DataError: Another file is malformed.
    """
    folder = results / profile

    def present(kind: str, names: Mapping[str, str], suffix: str) -> list[Path]:
        return [path for name in names if (path := folder / kind / f"{name}{suffix}").is_file()]

    cells = read_cells(folder / "cells.csv")
    contrasts = read_comparisons(folder / "comparisons.csv")
    return Results(
        profile=profile,
        cells=tuple(c for c in cells if c.method in methods and c.task in tasks),
        contrasts=tuple(c for c in contrasts if c.method in methods and c.reference in methods and c.task in tasks),
        views=tuple(_beside(folder / "views.csv", View)),
        prospects=tuple(_beside(folder / "outlook.csv", Prospect)),
        trials=tuple(
            row for path in present("trials", methods, ".csv") for row in read_trial_rows(path) if row.task in tasks
        ),
        curves=tuple(point for path in present("curves", methods, ".csv") for point in _curve(path)),
        cohorts={path.stem: read_cohort(path) for path in present("cohorts", tasks, ".json")},
        pretraining={path.stem: read_pretraining(path) for path in present("pretraining", methods, ".json")},
        claims=read_claims(results),
        maps=shared(
            {
                path.stem: {task: maps for task, maps in found.items() if task in tasks}
                for path in present("localization", methods, ".npz")
                if (found := read_maps(path))
            }
        ),
        leaks=tuple(
            row for row in _beside(folder / LEAKAGE, Leak) if row.task in tasks and row.pretraining_cohort in tasks
        ),
        gates=tuple(row for row in _beside(folder / "gates.csv", GateRow) if row.method in methods),
    )


def _beside(path: Path, model: type[Row]) -> list[Row]:
    return read_rows(path, model) if path.is_file() else []


def read_layouts(path: Path) -> Layouts:
    """Read ``reports/tables.yaml``.

    Raises:
        ConfigurationError: It is absent or malformed; every error is listed.
    """
    layouts = read(Layouts, load_yaml(path), f"{path}, ")
    crooked = [
        f"tables.{name}.facts.rows.{method}: found {len(row)} facts, expected {len(table.facts.headings)}"
        for name, table in {**layouts.tables, **layouts.added}.items()
        for method, row in table.facts.rows.items()
        if len(row) != len(table.facts.headings)
    ]
    if crooked:
        raise ConfigurationError(f"{path}: {'; '.join(crooked)}.")
    taken = {*layouts.tables, *layouts.added, *OTHER_FILES}
    bad = [name for name in layouts.own if name in taken or not re.match(KEY, name)]
    if bad:
        raise ConfigurationError(
            "\n".join(
                f"{path}, own.{name}: the name is taken or holds characters other than a-z, 0-9 and _; choose another."
                for name in bad
            )
        )
    return layouts
