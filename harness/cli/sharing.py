"""``compare-results``, ``bundle`` and ``unbundle``: results that come from, or go to, somebody else."""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness.cli.listing import AsJson, Profile
from harness.cli.session import Session, console, notes, open_session, print_json, shown
from harness.errors import many
from harness.registry import DOTTED
from harness.sharing.bundles import bundle, unbundle
from harness.sharing.comparing import NOWHERE, CellDifference, Differences, compare_results
from harness.sharing.folders import ResultsFolder, open_results, refuse_code
from harness.spec import percent
from harness.statistics.margins import margin_of, read_margins
from harness.store.files import writing
from harness.typed_csv import table_text
from harness.whole_files import write_whole

SHOWN = 20  # cells; --out and --json have them all
OutFile = Annotated[Path | None, typer.Option(help="CSV file to write, a row a cell and metric.")]


def compare_results_command(
    a: Annotated[Path, typer.Argument(help="Results of one machine, version or person: results/<profile>.")],
    b: Annotated[Path, typer.Argument(help="The others.")],
    out: OutFile = None,
    as_json: AsJson = False,
    profile: Profile = None,
) -> None:
    """Compare two folders of results cell by cell: how many values are bit-equal, and whether B differs from A.

    A cell that both hold is tested as a contrast of two methods is, with the same margins. Exit code 0 whatever comes
    out; "compare" holds a run from scratch against the committed results.
    """
    session = open_session()
    folders = [open_results(path, profile) for path in (a, b)]
    own_metrics = _own_metrics(session)
    for folder in folders:
        refuse_code(folder.path, own_metrics)
        _say_unlisted(folder)
    margins = read_margins(session.root / "reports" / "margins.yaml")
    found = compare_results(folders[0], folders[1], partial(margin_of, margins=margins), session.parameters)
    if out is not None:
        with writing(out):
            write_whole(out, table_text(CellDifference, found.rows).encode())
    if as_json:
        print_json({"summary": found.sentence(), "cells": [row.model_dump() for row in found.rows]})
        return
    console.print(shown(found.sentence()))
    if all(row.verdict in NOWHERE for row in found.rows):
        console.print(
            shown(f"nothing was compared: no method on a task has runs in both {folders[0].path} and {folders[1].path}")
        )
    if found.without_margin:
        console.print(shown(f"no margin, so only bit-equality counts: {', '.join(found.without_margin)}"))
    _print_largest(found)
    if out is not None:
        console.print(shown(f"all cells: {out}"))


def _own_metrics(session: Session) -> frozenset[str]:
    """Return the dotted paths that this checkout's entries name."""
    written = DOTTED.findall((session.root / "tasks" / "registry.yaml").read_text(encoding="utf-8"))
    return frozenset({*written, *(entry.metric for entry in session.whole_registry.tasks)})


def _say_unlisted(folder: ResultsFolder) -> None:
    if folder.unlisted:
        notes.print(
            shown(
                f"note: no SHA256SUMS lists {folder.unlisted[0]}{_more(len(folder.unlisted) - 1)} of {folder.path}; "
                "seals of rows alone vouch for what is not listed."
            )
        )


def _more(count: int) -> str:
    return f" and {many(count, 'more file')}" if count else ""


def _print_largest(found: Differences) -> None:
    """Print the cells that differ most, in margins."""
    rows = [row for row in found.rows if row.effect and row.verdict not in NOWHERE]
    rows.sort(key=lambda row: -abs(row.effect or 0.0) / row.margin)
    if not rows:
        return
    table = Table(box=None, pad_edge=False, title="largest differences, B − A", title_justify="left")
    for column in ("cell", "A", "B", "B − A", "p (Holm)", "verdict"):
        table.add_column(column, overflow="fold")
    for row in rows[:SHOWN]:
        cell = f"{row.method} × {row.task} {percent(row.label_fraction)} · {row.metric}"
        table.add_row(
            shown(cell), _mean(row.mean_a, row.sd_a), _mean(row.mean_b, row.sd_b), f"{row.effect:+.2f}",
            "–" if row.p_holm is None else f"{row.p_holm:.2g}", row.verdict,
        )  # fmt: skip
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"{len(rows) - SHOWN} more: --out FILE or --json")


def _mean(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def bundle_command(
    target: Annotated[Path, typer.Argument(help="The archive to write, e.g. miniature.zip.")],
    profile: Profile = None,
) -> None:
    """Write the results of a profile as one archive that "unbundle" can check.

    Its bytes depend on its content alone. The report is made anew from it, so that no page travels.
    """
    session = open_session(profile)
    made = bundle(session.root, session.parameters.profile, target, f"dira-bench {_version()}")
    size = sum(member.size for member in made.members)
    console.print(
        shown(
            f"{target}: {many(len(made.members), 'file')} of profile {made.profile}, {size / 1e6:.1f} MB, "
            f"{target.stat().st_size / 1e6:.1f} MB packed"
        )
    )


def unbundle_command(
    source: Annotated[Path, typer.Argument(help='What "bundle" wrote.')],
    target: Annotated[Path, typer.Argument(help="A new or empty folder.")],
) -> None:
    """Check an archive of results and write its files into a folder, all of them or none."""
    session = open_session()
    made = unbundle(source, target, _own_metrics(session))
    console.print(
        shown(
            f"{target}: {many(len(made.members), 'file')} of profile {made.profile}, made by {made.made_by}; "
            f'"dira-bench compare-results results/{made.profile} {target}" compares them with yours.'
        )
    )


def _version() -> str:
    try:
        return version("dira-bench")
    except PackageNotFoundError:
        return "(a checkout that is not installed)"
