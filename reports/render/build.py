"""Builds every output of a profile from ``results/``: the two functions that the command line calls."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from harness.published import Families, load_families
from harness.spec import DataTerms, Parameters
from harness.typed_csv import table_text
from harness.whole_files import write_whole
from reports.render import learnt, pages, wording
from reports.render.answers import answers
from reports.render.answers import markdown as answers_markdown
from reports.render.bibliography import FILE, bibliography
from reports.render.formats import markdown
from reports.render.inputs import Layouts, Results, read_claims, read_layouts, read_overlaps, read_results
from reports.render.latex import latex, latex_details
from reports.render.own_tables import own_table
from reports.render.pictures import pictures
from reports.render.printed import PrintedCell, printed_cells
from reports.render.tables import Table, added_table, paper_table, task_table


def write(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all: into a neighbour, then renamed over it; an unchanged file is left alone."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data, durable=False)
    return path


def metrics(results: Results) -> dict[str, object]:
    """Return what ``metrics.json`` holds: each cell's mean as printed, by task, method and label fraction."""
    means: dict[str, dict[str, dict[str, float]]] = {}
    for cell in results.cells:
        if cell.mean is None:
            continue
        column = cell.metric if cell.label_fraction == 1.0 else f"{cell.metric} at {cell.label_fraction * 100:g} %"
        means.setdefault(cell.task, {}).setdefault(cell.method, {})[column] = round(cell.mean, 4)
    stamp = wording.stamp_of(results.cells)
    return {**({"stamp": stamp} if stamp else {}), "cells": means}


def build(
    results: Path,
    reports: Path,
    profile: str,
    *,
    parameters: Parameters,
    methods: Mapping[str, str],
    tasks: Mapping[str, str],
    families: Families | None = None,
    terms: Mapping[str, DataTerms] = MappingProxyType({}),
    sources: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Write tables, figures, pages and metrics of one profile into ``reports/<profile>/``.

    The same inputs give the same bytes. Files of an earlier build that this one does not write are removed from
    ``tables/`` and ``figures/``, so that nothing stale stands beside what is new.

    Args:
        results: The folder ``results/``; ``<profile>/`` and ``published/audit.csv`` in it are read.
        reports: The folder ``reports/``, with ``tables.yaml`` and ``families.yaml``.
        profile: Which profile.
        parameters: The run's parameters: α for the legend, the rest to be shown.
        methods: Registry name → label, in the order of the registry.
        tasks: The same for tasks.
        terms: Task → licence and citation of its data set, where they are known.
        sources: Method → where it is from, as its registry entry says.
        families: The paper's tables; read from ``reports/families.yaml`` if not given.

    Returns:
        Every file written.

    Raises:
        DataError: A table in ``results/`` is absent or malformed.
        ConfigurationError: ``tables.yaml`` or ``families.yaml`` is malformed.
    """
    layouts = read_layouts(reports / "tables.yaml")
    families = families or load_families(reports / "families.yaml")
    overlaps = read_overlaps(reports / "overlaps.yaml")
    data = read_results(results, profile, methods, tasks)
    folder = reports / profile
    tables, unshown = tables_of(layouts, families, data, methods, tasks)
    drawn = pictures(data, layouts, families, methods, tasks)
    found = answers(layouts.answers, data, methods, tasks, parameters.alpha)

    written = [path for table in tables for path in _write_table(folder, table, parameters.alpha)]
    if data.gates:
        stamp = wording.stamp_of([*data.cells, *data.contrasts])
        written.append(write(folder / "tables" / "gates.md", learnt.markdown(data, methods, stamp)))
    for picture in drawn:
        stem = folder / "figures" / picture.name
        written += [write(stem.with_suffix(f".{kind}"), picture.files[kind]) for kind in ("svg", "png", "pdf")]
        if picture.column:
            written.append(write(stem.with_name(f"{picture.name}_column.pdf"), picture.files["column"]))
    written += audit_pages(results, reports, folder)
    if found:
        written.append(write(folder / "tables" / "answers.md", answers_markdown(found)))
    provenance = Path(os.path.relpath(results / profile / "provenance", folder)).as_posix()
    page = pages.report_page(
        data, parameters, methods, tasks, tables, unshown, found, drawn, overlaps, provenance, terms
    )
    written.append(write(folder / "report.html", page))
    if references := bibliography(methods, sources, tasks, terms):
        written.append(write(folder / "tables" / FILE, references))
    text = json.dumps(metrics(data), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    written.append(write(folder / "metrics.json", text + "\n"))
    _remove_others(folder, written)
    return written


def tables_of(
    layouts: Layouts, families: Families, data: Results, methods: Mapping[str, str], tasks: Mapping[str, str]
) -> tuple[list[Table], list[str]]:
    """Build every table of a report, and name the paper's of which no cell was planned here."""
    found = [task_table(name, layout, families, data, methods, tasks) for name, layout in layouts.added.items()]
    unshown = []
    for name, layout in layouts.tables.items():
        printed = name in families.tables
        table = paper_table(name, layouts, families, data, methods, tasks) if printed else None
        found.append(table)
        unshown += [layout.title] if table is None else []
    found += [own_table(name, own, data, methods, tasks) for name, own in layouts.own.items()]
    found.append(added_table(families, data, methods, tasks, layouts.everywhere))
    return [table for table in found if table is not None], unshown


def _write_table(folder: Path, table: Table, alpha: float) -> list[Path]:
    """Write a table in each of its formats."""
    stem = folder / "tables" / table.name
    behind = latex_details(table)
    return [
        write(stem.with_suffix(".md"), markdown(table, alpha)),
        write(stem.with_suffix(".csv"), table_text(PrintedCell, printed_cells(table))),
        write(stem.with_suffix(".tex"), latex(table, alpha)),
        *([write(stem.with_name(f"{table.name}_details.tex"), behind)] if behind else []),
        write(stem.with_suffix(".html"), pages.table_page(table, alpha, "../report.html")),
    ]


def _remove_others(folder: Path, written: Collection[Path]) -> None:
    """Remove what an earlier build left beside the files that were written now."""
    for part in ("tables", "figures"):
        for path in sorted((folder / part).glob("*")):
            if path.is_file() and path not in written:
                path.unlink()


def audit_pages(results: Path, reports: Path, folder: Path | None = None) -> list[Path]:
    """Write ``audit.md`` and ``audit.html`` about the paper's own printed numbers.

    They concern what the paper printed about real images, whatever the profile, and so carry no stamp.

    Args:
        results: The folder ``results/``; only ``published/audit.csv`` is read.
        reports: The folder ``reports/``; ``tables.yaml`` in it holds the paper's names.
        folder: Where the two files go; ``reports`` itself if not given.

    Returns:
        Both files, or nothing if the audit was not made yet.
    """
    claims = read_claims(results)
    if not claims:
        return []
    labels = read_layouts(reports / "tables.yaml").labels
    target = folder or reports
    return [
        write(target / "audit.md", pages.audit_markdown(claims, labels)),
        write(target / "audit.html", pages.audit_page(claims, labels)),
    ]
