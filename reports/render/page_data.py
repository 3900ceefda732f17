"""What the report page shows, as one JSON document: it stands in the page once and a script draws from it on demand.

Every text is written here, by ``wording``, so that the page says a number as the tables and LaTeX say it. Numbers stand
beside texts only where the page sorts by them. Rows of one kind are stored as lists below one list of their fields.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from harness.metrics import metric_of
from harness.spec import percent
from harness.statistics.schema import CellSummary, Comparison
from reports.render import frames, learnt, wording
from reports.render.anchors import cell_anchor, contrast_anchor
from reports.render.drawers import Drawer
from reports.render.formats import effect
from reports.render.gains import Gain
from reports.render.inputs import Results
from reports.render.tables import Column, Entry, Row, Table, labels_of

DIGITS = 4  # of a number that the page sorts by or draws; no reader sees more

DETAIL_HEADINGS = (
    "Method", "Reference", "95 % over runs", "95 % over patients", "95 % over both", "Beyond the margin",
    "p, primary test", "Design", "p, Student", "p, Welch", "p, Holm", "p, TOST", "Hedges’ g", "Detectable",
    "Power of TOST", "Correlation of runs", "p over pretrainings", "Spread", "Paper’s p", "p of ours − paper",
)  # fmt: skip


class PageMethod(NamedTuple):
    """A method; ``base``: whose pretext it extends; ``gate``: learnt, not learnt, not gated."""

    name: str
    label: str
    base: str
    gate: str


class PageContrast(NamedTuple):
    """A contrast; ``size``: effect over margin, above 0 is better. Keys of methods and tasks, texts as printed.

    ``details`` are the texts below ``DETAIL_HEADINGS``; empty where one does not apply.
    """

    anchor: str
    family: str
    method: str
    reference: str
    task: str
    fraction: str
    metric: str
    tested: bool
    finding: str
    mark: str
    effect: float | None
    effect_text: str
    margin: float
    size: float | None
    p: float | None
    p_text: str
    agreement: str
    reason: str
    paper: float | None
    paper_text: str
    difference: float | None
    difference_text: str
    gate: str
    why: str
    stamp: str
    details: tuple[str, ...]


class PageSummary(NamedTuple):
    """A cell under one metric."""

    metric: str
    n: int
    mean: float | None
    text: str
    population: str
    runs: str
    patients: str
    paper: float | None
    paper_text: str
    place: str
    difference: float | None
    difference_text: str
    agreement: str
    reason: str
    notes: str


class PageTrial(NamedTuple):
    """A trial; ``values`` are below the cell's ``metrics``."""

    seed: int
    repeat: int
    status: str
    id: str
    labelled: int | None
    cohort: str
    values: tuple[str, ...]


class PageCell(NamedTuple):
    """A cell with its summaries, the primary metric first, and its trials."""

    anchor: str
    method: str
    task: str
    fraction: str
    labels: str
    gate: str
    done: str
    stamp: str
    device: str
    metrics: tuple[str, ...]
    summaries: tuple[PageSummary, ...]
    trials: tuple[PageTrial, ...]


class PageEntry(NamedTuple):
    """One number of a table: ours, the paper's and their difference, with what leads on from it."""

    cell: str
    mean: float | None
    text: str
    rank: str
    marks: str
    done: str
    paper: float | None
    paper_text: str
    difference: float | None
    difference_text: str
    contrasts: tuple[str, ...]


class PageRow(NamedTuple):
    """One row of a table; ``added``: not in the paper's table."""

    method: str
    gate: str
    against: str
    added: bool
    facts: tuple[str, ...]
    entries: tuple[PageEntry | None, ...]


class PageColumn(NamedTuple):
    """One column of a table."""

    heading: str
    measured: str
    labels: str
    stamp: str
    task: str
    fraction: str


class PageTable(NamedTuple):
    """One table with what holds for all of it."""

    name: str
    title: str
    caption: str
    setting: str
    facts: tuple[str, ...]
    columns: tuple[PageColumn, ...]
    rows: tuple[PageRow, ...]
    gains: tuple[tuple[str, str, str, str], ...]
    notes: tuple[str, ...]


class TextTable(NamedTuple):
    """A table of texts; ``numeric``: columns that are sorted as numbers; ``filters``: columns with a choice above."""

    name: str
    label: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    filters: tuple[int, ...] = ()


class Curve(NamedTuple):
    """One recorded quantity of one phase of a pretraining, as steps and values."""

    method: str
    seed: int
    phase: str
    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


class Facts(NamedTuple):
    """A part of what stands below a line that opens: names with texts, and perhaps a table."""

    title: str
    pairs: tuple[tuple[str, str], ...]
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class PageData(NamedTuple):
    """All that the page draws from; ``mixed``: some images are real, so that each made-up part says so itself."""

    profile: str
    provenance: str
    mixed: bool
    alpha: str
    detail_headings: tuple[str, ...]
    methods: tuple[PageMethod, ...]
    tasks: tuple[tuple[str, str], ...]
    families: tuple[tuple[str, str, str], ...]
    contrasts: tuple[PageContrast, ...]
    cells: tuple[PageCell, ...]
    tables: tuple[PageTable, ...]
    texts: tuple[TextTable, ...]
    curves: tuple[Curve, ...]
    facts: Mapping[str, tuple[Facts, ...]]
    figures: Mapping[str, str]


def rounded(value: float | None) -> float | None:
    """Return a number with the digits that the page needs; None for none and for what is not finite."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return float(f"{value:.{DIGITS}g}")


def _minus(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs


def _short_stamp(rows: Sequence[CellSummary | Comparison]) -> str:
    return wording.stamp_of(rows).split(":")[0]


def _size(c: Comparison) -> float | None:
    return None if c.effect is None or not c.margin else metric_of(c.metric).sign * c.effect / c.margin


def contrast_details(c: Comparison, alpha: float) -> tuple[str, ...]:
    """Write all that a test says, below ``DETAIL_HEADINGS``; empty texts where it was not tested."""
    if c.effect is None:
        return ("",) * len(DETAIL_HEADINGS)
    lost = f" ({c.resamples_lost} resamples not scorable)" if c.resamples_lost else ""
    holm = f"{wording.probability(c.p_holm)} (m = {c.family_size})"
    holm += ": not significant after correction" if wording.lost_to_holm(c, alpha) else ""
    beyond = f"P(> margin) {wording.number(c.probability_above)}, P(< −margin) {wording.number(c.probability_below)}"
    df = "" if c.df_pretraining is None else f" (df {c.df_pretraining:g})"
    spreads = f"between pretrainings {wording.number(c.sd_pretraining)}, between repeats {wording.number(c.sd_repeat)}"
    return (
        f"{wording.spread(c.mean_method, c.sd_method)} (n {c.n_method})",
        f"{wording.spread(c.mean_reference, c.sd_reference)} (n {c.n_reference})",
        wording.interval(c.ci_low, c.ci_high),
        wording.interval(c.patient_low, c.patient_high) + lost,
        wording.interval(c.joint_low, c.joint_high),
        "" if c.probability_above is None else beyond,
        wording.probability(c.p),
        c.design,
        wording.probability(c.p_student),
        wording.probability(c.p_welch),
        holm,
        f"{wording.probability(c.p_tost)} (margin ±{c.margin:g})",
        wording.number(c.hedges_g),
        wording.number(c.smallest_detectable),
        "" if c.tost_power is None else wording.probability(c.tost_power),
        "" if c.correlation is None else wording.number(c.correlation),
        "" if c.p_pretraining is None else wording.probability(c.p_pretraining) + df,
        "" if c.p_pretraining is None else spreads,
        "" if c.published_p is None else wording.probability(c.published_p),
        "" if c.difference_p is None else wording.probability(c.difference_p),
    )


def _contrast(c: Comparison, alpha: float) -> PageContrast:
    paper = effect(c.published_effect, c.published_low, c.published_high)
    assumed = ", σ assumed" if c.published_sd_assumed and c.published_effect is not None else ""
    # Where the two may not be compared there is no test; the plain difference still says how far apart they are.
    apart = c.difference if c.difference is not None else _minus(c.effect, c.published_effect)
    return PageContrast(
        anchor=contrast_anchor(c),
        family=c.family,
        method=c.method,
        reference=c.reference,
        task=c.task,
        fraction=percent(c.label_fraction),
        metric=wording.measured(c.metric),
        tested=wording.answered(c),
        finding=c.finding if wording.answered(c) else "not tested",
        mark=wording.mark(c) if wording.answered(c) else "·",
        effect=rounded(c.effect),
        effect_text=effect(c.effect, c.ci_low, c.ci_high),
        margin=c.margin,
        size=rounded(_size(c)),
        p=rounded(c.p),
        p_text=wording.probability(c.p),
        agreement=c.agreement,
        reason=c.agreement_reason,
        paper=rounded(c.published_effect),
        paper_text=paper + assumed,
        difference=rounded(apart),
        difference_text=effect(apart, c.difference_low, c.difference_high),
        gate=c.gate,
        why=wording.why(c),
        stamp=_short_stamp([c]),
        details=contrast_details(c, alpha),
    )


def _summary(c: CellSummary) -> PageSummary:
    notes = [c.missing, c.flags]
    if c.scored_classes is not None:
        notes.append(f"{wording.counted(c.scored_classes, 'class', 'classes')} scored")
    if c.worst_low is not None:
        notes.append(f"worst case {wording.plain_interval(c.worst_low, c.worst_high)}")
    apart = _minus(c.mean, c.published_mean)
    return PageSummary(
        metric=wording.metric(c.metric),
        n=c.n,
        mean=rounded(c.mean),
        text=wording.absent(c) if c.mean is None else wording.spread(c.mean, c.sd),
        population=wording.number(c.sd_ddof0),
        runs=wording.plain_interval(c.ci_low, c.ci_high),
        patients=wording.plain_interval(c.patient_low, c.patient_high),
        paper=rounded(c.published_mean),
        paper_text=wording.published(c) or wording.NONE,
        place=", ".join(map(wording.source_label, filter(None, c.published_place.split(";")))),
        difference=rounded(apart),
        difference_text=wording.signed(apart),
        agreement=c.agreement,
        reason=c.agreement_reason,
        notes="; ".join(note for note in notes if note),
    )


def _cell(drawer: Drawer, results: Results) -> PageCell:
    first = drawer.cells[0]
    column = Column(first.task, first.label_fraction, first.metric, "", "")
    return PageCell(
        anchor=drawer.anchor,
        method=first.method,
        task=first.task,
        fraction=percent(first.label_fraction),
        labels=labels_of(results, column),
        gate=first.gate,
        done=wording.count(first),
        stamp=_short_stamp([first]),
        device=first.device_classes or "not recorded",
        metrics=tuple(wording.metric(name) for name in drawer.metrics),
        summaries=tuple(map(_summary, drawer.cells)),
        trials=tuple(
            PageTrial(
                seed=trial.pretrain_seed,
                repeat=trial.repeat,
                status=trial.status.replace("_", ", "),
                id=trial.id,
                labelled=trial.labelled,
                cohort=trial.cohort,
                values=tuple(trial.values.get(name, wording.NONE) for name in drawer.metrics),
            )
            for trial in drawer.trials
        ),
    )


def _entry(entry: Entry) -> PageEntry | None:
    c = entry.cell
    if c is None:
        return None
    apart = _minus(c.mean, c.published_mean)
    return PageEntry(
        cell=cell_anchor(c.method, c.task, c.label_fraction),
        mean=rounded(c.mean),
        text=wording.absent(c) if c.mean is None else wording.spread(c.mean, c.sd),
        rank="best" if entry.best else "second" if entry.second else "",
        marks=entry.marks if c.mean is not None else "",
        done=wording.count(c) if c.done else "",
        paper=rounded(c.published_mean),
        paper_text=wording.published(c) or wording.NONE,
        difference=rounded(apart),
        difference_text=wording.signed(apart),
        contrasts=tuple(contrast_anchor(contrast) for contrast in entry.contrasts),
    )


def _row(row: Row, *, added: bool) -> PageRow:
    against = ", then ".join(row.against)
    return PageRow(row.method, row.gate, against, added, row.facts, tuple(map(_entry, row.entries)))


def _column(column: Column, results: Results) -> PageColumn:
    inside = " (" in column.heading
    return PageColumn(
        heading=column.heading.rpartition(" (")[0] if inside else column.heading,
        measured=wording.measured(column.metric) if inside else wording.units([column.metric]),
        labels=column.labels or labels_of(results, column),
        stamp=column.stamp.split(":")[0],
        task=column.task,
        fraction=percent(column.label_fraction),
    )


def _table(table: Table, results: Results) -> PageTable:
    rows = (*(_row(r, added=False) for r in table.published), *(_row(r, added=True) for r in table.added))
    # A table of added rows alone has no rule to draw between two blocks.
    alone = not table.published
    return PageTable(
        name=table.name,
        title=table.title,
        caption=table.caption,
        setting=table.setting,
        facts=table.fact_headings,
        columns=tuple(_column(column, results) for column in table.columns),
        rows=tuple(row._replace(added=row.added and not alone) for row in rows),
        gains=tuple(map(_gain, table.gains)),
        notes=(*table.notes, *table.remarks, *table.added_notes, *table.absent),
    )


def _gain(gain: Gain) -> tuple[str, str, str, str]:
    where = f"{gain.where} ({gain.note})" if gain.note else gain.where
    return gain.pair, where, effect(gain.effect, gain.low, gain.high), gain.published or wording.NONE


def gates_table(results: Results, methods: Mapping[str, str]) -> TextTable:
    """Write every gate of every phase; a reader may sort it, so a phase is named in each of its rows."""
    rows: list[tuple[str, ...]] = []
    for one in learnt.methods_shown(results, methods):
        phase = ""
        for row in one.rows:
            phase = row.phase or phase
            rows.append((one.label, one.verdict.word, phase, *row[1:]))
    headings = (learnt.HEADINGS[0], "Verdict", *learnt.HEADINGS[1:])
    return TextTable("gates", "Gates, phase by phase", headings, tuple(rows), (4, 5, 6), (0, 1, 8))


def curves(results: Results) -> tuple[Curve, ...]:
    """Gather the recorded quantities of each pretraining, in the order of their files."""
    found: dict[tuple[str, int, str, str], list[tuple[int, float]]] = {}
    for point in results.curves:
        side, _, _ = point.name.partition("_")
        value = rounded(point.value)
        if side in ("train", "validation") and value is not None:
            key = (point.method, point.pretrain_seed, point.phase, point.name.replace("_", " "))
            found.setdefault(key, []).append((point.step, value))
    return tuple(
        Curve(*key, tuple(step for step, _ in points), tuple(value for _, value in points))
        for key, points in found.items()
    )


def packed(svg: str) -> str:
    """Compress a picture for the page, without a date, so that the same picture gives the same text."""
    return base64.b64encode(gzip.compress(svg.encode(), 9, mtime=0)).decode()


def page_data(
    results: Results,
    methods: Mapping[str, str],
    tasks: Mapping[str, str],
    tables: Sequence[Table],
    cells: Iterable[Drawer],
    texts: Sequence[TextTable],
    facts: Mapping[str, tuple[Facts, ...]],
    figures: Mapping[str, str],
    *,
    alpha: float,
    provenance: str,
) -> PageData:
    """Gather all that the page draws from.

    Args:
        results: What was measured.
        methods: Registry name → label.
        tasks: The same for tasks.
        tables: As built.
        cells: Every cell with its trials.
        texts: Tables of texts.
        facts: Anchor of a line that opens → what stands below it.
        figures: Name → picture, compressed.
        alpha: Level of the tests.
        provenance: Relative address of ``results/<profile>/provenance``.
    """
    bases = frames.bases(results, methods)
    families = {c.family: (c.family, c.family_label, c.block) for c in results.contrasts}
    return PageData(
        profile=results.profile,
        provenance=provenance,
        mixed=len({cell.synthetic for cell in results.cells}) > 1,
        alpha=wording.threshold(alpha),
        detail_headings=DETAIL_HEADINGS,
        methods=tuple(
            PageMethod(name, label, bases[name], results.verdict(name).word) for name, label in methods.items()
        ),
        tasks=tuple(tasks.items()),
        families=tuple(families.values()),
        contrasts=tuple(_contrast(c, alpha) for c in results.contrasts),
        cells=tuple(_cell(drawer, results) for drawer in cells),
        tables=tuple(_table(table, results) for table in tables),
        texts=tuple(texts),
        curves=curves(results),
        facts=facts,
        figures=figures,
    )


_ROWS: Mapping[str, type[NamedTuple]] = {
    "methods": PageMethod,
    "contrasts": PageContrast,
    "cells": PageCell,
    "summaries": PageSummary,
    "trials": PageTrial,
    "tables": PageTable,
    "columns": PageColumn,
    "rows": PageRow,
    "entries": PageEntry,
    "texts": TextTable,
    "curves": Curve,
    "facts": Facts,
}


def as_json(data: PageData) -> str:
    """Write the document so that it may stand in a page: no character in it ends an element or begins a comment.

    Named rows become lists; ``fields`` says once what their places mean.
    """
    fields = {name: list(kind._fields) for name, kind in _ROWS.items()}
    text = json.dumps({"fields": fields, **data._asdict()}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
