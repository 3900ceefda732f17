"""``data fetch``: a data root of real images, from public repositories or from clones of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.session import console, shown
from harness.cli.watching import watched
from harness.dotted import import_dotted
from harness.errors import DataError, unknown

COLLECTIONS = {"radiographs": "tasks.fetching:fetch"}


def fetch(
    what: Annotated[str, typer.Argument(help="What to fetch: radiographs.", metavar="WHAT")],
    into: Annotated[Path, typer.Option("--into", help="Folder to write the data set into.")] = Path("data/radiographs"),
    mirror: Annotated[
        Path | None,
        typer.Option("--from", help="A folder with clones of the repositories; then nothing is downloaded."),
    ] = None,
) -> None:
    """Make a data root of real images from public repositories at fixed commits; verify one that is there."""
    if what not in COLLECTIONS:
        raise unknown("collection", what, COLLECTIONS, "data fetch")
    if mirror is not None and not mirror.is_dir():
        raise DataError(f"no folder {mirror}; expected one with clones of the repositories; correct --from.")
    with watched() as watch:
        made: bool = import_dotted(COLLECTIONS[what])(into, mirror, watch)
    console.print(shown(f"{into} is {'made' if made else 'whole'}; sources: SOURCES.csv, terms: LICENCES.md"))
    console.print(shown(f"next: nox -s {what} -- --data-root {into}"))
